"""Try a grid of settings: ``python -m pipelines.sweep "train.learning_rate=3e-4,5e-4 train.seed=1,2"``.

Each combination is a DVC experiment that ends with ``evaluate``: nothing is registered or promoted, and dev decides.
All are queued first, from the workspace as it is then, and run one after the other in folders of DVC's own; what did
not change comes from DVC's cache. In MLflow they are the children of one run.
"""

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from pipelines import artifacts
from pipelines.environment import with_this_python
from pipelines.errors import PipelineError
from pipelines.experiments import FINAL, Experiment, Queue, starting_point
from pipelines.fetch import CRAWL_VARIABLE, SOURCE_VARIABLE
from pipelines.grid import EXAMPLE, Trial, parse, trials, word
from pipelines.launch import CONFIG_VARIABLE
from pipelines.lineage import git_commit
from pipelines.params import PARAMS_FILE, Fetch, Params
from pipelines.registry import PARENT_VARIABLE, URI_VARIABLE, Registry, local_uri
from pipelines.stage import run
from pipelines.table import text_table

LAST_STAGE = "evaluate"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 15.0
MOST_FAILED_LOOKS = 5


@dataclass(frozen=True, slots=True)
class Figures:
    """What is shown of a trial: how it did on dev, and how long it was trained."""

    accuracy: float
    log_loss: float
    ece: float
    seconds: float

    @classmethod
    def of(cls, experiment: Experiment | None) -> "Figures | None":
        """From an experiment's metrics; None where it did not come that far."""
        if experiment is None or experiment.state != "success":
            return None
        evaluation, training = (
            experiment.metrics.get(path.as_posix()) for path in (artifacts.EVALUATION_REPORT, artifacts.TRAIN_REPORT)
        )
        if not evaluation or not training:
            return None
        dev = evaluation["dev"]
        return cls(dev["accuracy"], dev["log_loss"], dev["ece"], training["seconds"])


def environment(fetch: Fetch) -> dict[str, str]:
    """The environment of experiments, which run in other folders: paths and the MLflow store made absolute."""
    variables = {
        **with_this_python(),
        URI_VARIABLE: _absolute_store(os.environ.get(URI_VARIABLE) or local_uri()),
    }
    settings = {SOURCE_VARIABLE: fetch.source, CRAWL_VARIABLE: fetch.crawl.source, CONFIG_VARIABLE: None}
    for variable, setting in settings.items():
        named = os.environ.get(variable) or setting
        if named and Path(named).exists():
            variables[variable] = str(Path(named).resolve())
    return variables


def _absolute_store(uri: str) -> str:
    scheme = "sqlite:///"
    if uri.startswith(scheme):
        return f"{scheme}{Path(uri.removeprefix(scheme)).resolve()}"
    return uri if ":" in uri else str(Path(uri).resolve())


def follow(queue: Queue, planned: Sequence[Trial], commit: str) -> dict[str, Experiment]:
    """Have the queue worked off and say how it goes; returns what became of the experiments, by name.

    An experiment that fails does not stop the others. Raises PipelineError where DVC does not say how it goes.
    """
    started, pause, failed_looks = time.monotonic(), FIRST_PAUSE_S, 0
    states: dict[str, str] = {}
    with queue.worker() as worker:
        while True:
            working = worker.poll() is None
            try:
                found = queue.look(commit)
                failed_looks = 0
            except PipelineError:  # an experiment's folder may vanish under its eyes
                failed_looks += 1
                if failed_looks == MOST_FAILED_LOOKS:
                    raise
            else:
                _tell(planned, found, states, time.monotonic() - started)
                if not working or all(states.get(trial.name) in FINAL for trial in planned):
                    return found
            time.sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE_S)


def _tell(planned: Sequence[Trial], found: Mapping[str, Experiment], states: dict[str, str], seconds: float) -> None:
    """Print what changed since ``states``, which is brought up to date."""
    for trial in planned:
        experiment = found.get(trial.name)
        if experiment is None or states.get(trial.name, "queued") == experiment.state:
            continue
        states[trial.name] = experiment.state
        figures = Figures.of(experiment)
        done = sum(state in FINAL for state in states.values())
        print(
            f"[{done}/{len(planned)} done, {seconds:.0f} s] {trial.name} {trial}: {experiment.state}"
            + (f", dev accuracy {figures.accuracy:.4f}" if figures else ""),
            flush=True,
        )


def ranked(planned: Sequence[Trial], found: Mapping[str, Experiment]) -> list[tuple[Trial, Figures]]:
    """The trials that succeeded, best on dev first: by accuracy, then by log loss."""
    judged = [(trial, figures) for trial in planned if (figures := Figures.of(found.get(trial.name)))]
    return sorted(judged, key=lambda pair: (-pair[1].accuracy, pair[1].log_loss))


def summary(best_first: Sequence[tuple[Trial, Figures]], runs: Mapping[str, str]) -> str:
    """The table, with the MLflow run of each experiment, and how to go on with the best."""
    if not best_first:
        return "no experiment succeeded"
    keys = list(best_first[0][0].settings)
    rows = [
        (
            trial.name,
            *(word(value) for value in trial.settings.values()),
            *(f"{value:.4f}" for value in (figures.accuracy, figures.log_loss, figures.ece)),
            f"{figures.seconds:.0f}",
            runs.get(trial.name, "known before")[:12],
        )
        for trial, figures in best_first
    ]
    table = text_table(("experiment", *keys, "dev/accuracy", "dev/log_loss", "dev/ece", "seconds", "run"), rows)
    if any(key.startswith("prepare.") for key in keys):
        table += "\n\nprepare.* changes dev itself: these figures are not of the same reviews"
    best = best_first[0][0]
    return (
        f"{table}\n\nTake over the best / 가장 좋은 설정 적용:  dvc exp apply {best.name}\n"
        "Then register it / 그다음 등록:  make repro\n"
        "Where nothing was exported yet, the first ends with an error about artifacts/bundle: all else is there, "
        "and make repro makes it."
    )


def _record(registry: Registry, parent: str, best_first: Sequence[tuple[Trial, Figures]]) -> dict[str, str]:
    """Give each child run its figures on dev, and the parent those of the best; returns the children by experiment."""
    runs = registry.children(parent)
    if not best_first:
        return runs
    owners = [(runs[trial.name], figures) for trial, figures in best_first if trial.name in runs]
    for run_id, figures in [(parent, best_first[0][1]), *owners]:
        figures_of_dev = {"accuracy": figures.accuracy, "log_loss": figures.log_loss, "ece": figures.ece}
        registry.log_metrics(run_id, {f"dev/{name}": value for name, value in figures_of_dev.items()})
    registry.tag_run(parent, {"best_experiment": best_first[0][0].name})
    return runs


def sweep(text: str) -> None:
    """Run the grid ``text``. Raises SettingsError before anything is begun, PipelineError if an experiment failed."""
    params = Params.load()
    prefix = time.strftime("sweep-%m%d-%H%M%S")
    planned = trials(parse(text), yaml.safe_load(PARAMS_FILE.read_text(encoding="utf-8")), prefix)
    commit, variables = starting_point(), environment(params.fetch)
    Queue(variables).claim()
    registry = Registry(params.register_, variables[URI_VARIABLE])
    parent = registry.start_run(prefix, {"grid": text, "trials": len(planned)}, [], git_commit())
    queue = Queue(variables | {PARENT_VARIABLE: parent})
    with registry.finishing(parent):
        with queue.tidied():
            for trial in planned:
                queue.put(trial.name, trial.settings, LAST_STAGE)
                print(f"queued {trial.name} {trial}", flush=True)
            print("`dvc queue logs NAME --follow` shows what one of them prints", flush=True)
            found = follow(queue, planned, commit)
        best_first = ranked(planned, found)
        print(f"\n{summary(best_first, _record(registry, parent, best_first))}")
    succeeded = {trial.name for trial, _ in best_first}
    failed = [trial for trial in planned if trial.name not in succeeded]
    for trial in failed:
        print(f"\n{trial.name} {trial} did not succeed; it ended with\n{queue.log(trial.name)}")
    if failed:
        raise PipelineError(f"{len(failed)} of {len(planned)} experiments failed: {', '.join(t.name for t in failed)}")


def main() -> None:
    """Command line: the grid."""
    parser = argparse.ArgumentParser(prog="pipelines.sweep", description=__doc__)
    parser.add_argument("grid", nargs="+", help=EXAMPLE)
    sweep(" ".join(parser.parse_args().grid))


if __name__ == "__main__":
    run(main)
