"""A training that is ended at random moments, by SIGKILL or SIGTERM, and taken up again each time."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml
from mlflow.tracking import MlflowClient

from data.files import sha256
from pipelines import artifacts, workspace
from pipelines.serve import environment

ROOT = Path(__file__).parent.parent.parent
WEIGHTS = artifacts.MODEL / "model.safetensors"
CHECKPOINTS = artifacts.CACHE / "checkpoints"
EVERY_STEPS = 4
"""Between two checkpoints."""
PAUSE_S = 0.8
"""At most so long after a checkpoint stands does a signal come: the next steps, and into the next checkpoint."""
WRITING_S = 0.03
"""At most so long after the next checkpoint begins to be written, of every other signal."""
LIMIT_S = 120.0
SEED = 20


class TrainingFailed(RuntimeError):
    """A training that ends otherwise than it was told to."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When to send which signal: ``after_s`` the checkpoint of ``step`` (0: the beginning) stands.

    With ``writing``, ``after_s`` the next one begins to be written.
    """

    step: int
    writing: bool
    after_s: float
    number: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """What came of a training that was ended so many times."""

    by: tuple[int, ...]
    """The signals."""
    writing: int
    """How many came while a checkpoint was being written."""
    beginning: int
    """How many came before the first checkpoint stood."""
    steps: tuple[int, ...]
    """Of the checkpoint that was there after each."""
    same: bool
    """The weights are those of a training that nobody interrupted."""
    runs: tuple[str, ...]
    """How the runs stand in MLflow, the first started first."""
    left: tuple[str, ...]
    """What is there that no finished training leaves."""

    @property
    def holds(self) -> bool:
        """The same weights, one run that finished, none that seems to go on, and nothing left behind."""
        *killed, last = self.runs
        apart = len(killed) <= self.beginning and set(killed) <= {"KILLED"}
        return self.same and last == "FINISHED" and apart and not self.left

    @property
    def row(self) -> str:
        """Of a table under ``HEAD``."""
        kinds = ", ".join(f"{self.by.count(each)} {each.name}" for each in (signal.SIGKILL, signal.SIGTERM))
        runs = ", ".join(f"{self.runs.count(each)} {each}" for each in sorted(set(self.runs)))
        same, held = ("yes" if holds else "NO" for holds in (self.same, self.holds))
        return (
            f"| {len(self.by)}: {kinds} | {self.writing} | {self.beginning} | {len(set(self.steps))} | {same} | {runs} "
            f"| {', '.join(self.left) or 'nothing'} | {held} |"
        )


HEAD = (
    "| interrupted | while a checkpoint was written | before the first stood | taken up at so many steps "
    "| same weights | runs in MLflow | left behind | all |\n|---|---:|---:|---:|---|---|---|---|"
)


def moments(times: int, total_steps: int, seed: int = SEED) -> list[Moment]:
    """So many, drawn from the whole training: of each equal part one, so that none comes after its end."""
    chance = random.Random(seed)
    checkpoints = total_steps // EVERY_STEPS
    kinds = [(writing, each) for writing in (True, False) for each in (signal.SIGKILL, signal.SIGTERM)]
    kinds *= -(-times // len(kinds))
    chance.shuffle(kinds)
    found = []
    for part, (writing, number) in zip(range(times), kinds, strict=False):
        step = int((part + chance.random()) * (checkpoints - 2) / times) * EVERY_STEPS
        found.append(Moment(step, writing, chance.uniform(0.0, WRITING_S if writing else PAUSE_S), number))
    return found


def copied(source: Path, folder: Path) -> None:
    """Make a folder in which the stage ``train`` can run, with what it needs from ``source``, and many checkpoints."""
    for each in (artifacts.PREPARED, artifacts.BACKBONE):
        shutil.copytree(source / each, folder / each)
    shutil.copyfile(source / artifacts.LESSONS, folder / artifacts.LESSONS)
    params = yaml.safe_load((source / "params.yaml").read_text(encoding="utf-8"))
    params["train"]["checkpoint_every_steps"] = EVERY_STEPS
    (folder / "params.yaml").write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")


@contextmanager
def training(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], threading.Event]]:
    """A process that trains in ``folder``, and what is set once it has begun to; it is gone when the block ends."""
    variables = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    begun = threading.Event()
    with subprocess.Popen(
        [sys.executable, "-m", "pipelines.train"],
        cwd=folder,
        env=variables | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:

        def listen() -> None:
            assert process.stderr is not None
            while said := process.stderr.read1(4096):  # type: ignore[attr-defined]
                if b"step/s" in said:  # the bar
                    begun.set()

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield process, begun
        finally:
            process.kill()
            thread.join()


def trained(folder: Path) -> str:
    """Train to the end; the digest of the weights. Raises TrainingFailed."""
    with training(folder) as (process, _):
        if process.wait(timeout=LIMIT_S):
            raise TrainingFailed(f"the training ended with {process.returncode}")
    return sha256(folder / WEIGHTS)


def interrupted(folder: Path, plan: Sequence[Moment], expected: str) -> Interrupted:
    """Train in ``folder``, which ``copied`` made, be ended at each moment of ``plan``, and then no more.

    ``expected`` is the digest of the right weights.
    """
    steps, writing, beginning = [], 0, 0
    for moment in plan:
        writing += _ended(folder, moment)
        if (folder / artifacts.MODEL).exists():
            raise TrainingFailed("a model stands where none was finished")
        stands = step_of(folder)
        steps.append(stands)
        beginning += stands == 0
    same = trained(folder) == expected
    found = tuple(moment.number for moment in plan), writing, beginning, tuple(steps)
    return Interrupted(*found, same, runs(folder), left_behind(folder))


def runs(folder: Path) -> tuple[str, ...]:
    """How each run in the folder's MLflow stands, the first started first."""
    client = MlflowClient(f"sqlite:///{folder.resolve() / 'mlruns' / 'mlflow.db'}")
    experiments = [each.experiment_id for each in client.search_experiments()]
    found = client.search_runs(experiments, order_by=["attributes.start_time ASC"])
    return tuple(run.info.status for run in found)


def step_of(folder: Path) -> int:
    """Of the checkpoint that a training would go on from; 0 without one."""
    for file in folder.glob(f"{CHECKPOINTS}/*/progress.json"):
        if file.parent.suffix != ".new":
            with suppress(FileNotFoundError):
                return int(json.loads(file.read_text(encoding="utf-8"))["step"])
    return 0


def left_behind(folder: Path) -> tuple[str, ...]:
    """Checkpoints, and temporary files beside what is put away."""
    found = [*folder.glob(f"{CHECKPOINTS}/*"), *(folder / artifacts.ROOT).rglob(".*")]
    return tuple(sorted(str(each.relative_to(folder)) for each in found))


def _ended(folder: Path, moment: Moment) -> bool:
    """Train, and end it at that moment; says whether a checkpoint was being written."""
    deadline, before = time.monotonic() + LIMIT_S, _unfinished(folder)
    with training(folder) as (process, begun):
        while process.poll() is None and not (begun.is_set() and _reached(folder, moment, before)):
            if time.monotonic() > deadline:
                raise TrainingFailed(f"the checkpoint of step {moment.step} was not there after {LIMIT_S:.0f} s")
            time.sleep(0.002)
        time.sleep(moment.after_s)
        process.send_signal(moment.number)
        status = process.wait(timeout=LIMIT_S)
    if status not in (-signal.SIGKILL, 128 + signal.SIGTERM):
        raise TrainingFailed(f"the training ended with {status} before it was ended at step {moment.step}")
    return bool(_unfinished(folder) - before)


def _reached(folder: Path, moment: Moment, before: set[tuple[str, int]]) -> bool:
    return step_of(folder) >= moment.step and (not moment.writing or bool(_unfinished(folder) - before))


def _unfinished(folder: Path) -> set[tuple[str, int]]:
    """What a save that is not over has made, each time another."""
    found = set()
    for each in ("new", "old"):
        for path in folder.glob(f"{CHECKPOINTS}/*.{each}"):
            with suppress(FileNotFoundError):
                found.add((str(path), path.stat().st_mtime_ns))
    return found


def at_random(folder: Path, times: int) -> Interrupted:
    """Make the small pipeline of the demo in ``folder``, train once undisturbed, and once ended ``times`` times."""
    source = folder / "demo"
    workspace.make("demo", source, ROOT)
    line = [sys.executable, "-m", "dvc", "repro", "--quiet", "compose", "backbone"]
    subprocess.run(line, cwd=source, env=environment(source), check=True, stdout=subprocess.DEVNULL)
    undisturbed, disturbed = folder / "undisturbed", folder / "disturbed"
    for each in (undisturbed, disturbed):
        each.mkdir()
        copied(source, each)
    expected = trained(undisturbed)
    return interrupted(disturbed, moments(times, total_steps(undisturbed)), expected)


def total_steps(folder: Path) -> int:
    """Of the training that was finished in ``folder``."""
    *_, last = (folder / artifacts.STEPS_PLOT).read_text(encoding="utf-8").splitlines()
    return int(last.partition(",")[0])
