"""A training as the stages run it: resumable, shown on the terminal, and recorded as an MLflow run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from pipelines.params import Params
from pipelines.progress import Progress
from pipelines.registry import Registry
from pipelines.resumption import Resumption
from training.config import Schedule
from training.loop import Task, train
from training.processes import this_process
from training.reports import Outcome, Silent


@dataclass(frozen=True, slots=True)
class Learned:
    """What a training came to, the MLflow run that shows it, and how long it took since it was last taken up."""

    run_id: str
    outcome: Outcome
    seconds: float


@contextmanager
def learning(
    task: Task, schedule: Schedule, resumption: Resumption, params: Params, prefix: str = ""
) -> Iterator[Learned | None]:
    """Train ``task``; the block puts the outcome away, and only then is the checkpoint forgotten.

    Yields None on all processes but the main one, which alone has a run. Raises what ``train`` raises.
    """
    learn = partial(train, task, schedule, checkpoint=resumption.folder)
    if not this_process().is_main_process:
        learn(listener=Silent())
        yield None
        return
    registry = Registry(params.register_)
    run_id = resumption.open_run(registry, params)
    progress = Progress(registry, run_id, schedule.epochs, prefix)
    with registry.finishing(run_id), registry.watching(run_id):
        started = time.monotonic()
        try:
            outcome = learn(listener=progress)
        finally:
            progress.close()  # what is said next has a line of its own
        yield Learned(run_id, outcome, round(time.monotonic() - started, 1))
    resumption.forget()
