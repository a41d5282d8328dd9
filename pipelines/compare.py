"""Two registered versions beside each other: ``python -m pipelines.compare A B``, each a number or an alias.

Everything comes from what was recorded when they were registered, on the same test rows and the same behaviour suite.
Differences are A minus B. It is there to understand versions: what is chosen by a look at test is not tested any more.

``--shadow`` compares the two models of a rollout instead, on what callers sent to them; see ``pipelines.shadow``.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from data.behaviour import BehaviourReport, Regression, regressions
from pipelines import artifacts, shadow
from pipelines.errors import RegistryError
from pipelines.params import Params
from pipelines.registry import EVALUATION, Registry, Version
from pipelines.stage import run
from pipelines.table import text_table
from serving.rollout.settings import RolloutSettings
from training.metrics import Scores, mcnemar, paired_interval
from training.slices import by_length

IntArray = npt.NDArray[np.integer]
Mask = npt.NDArray[np.bool_]

COLUMNS = ("split", "id", "label", "positive", "characters", "leaked")
LOWER_IS_BETTER = ("log_loss", "brier", "ece")


@dataclass(frozen=True, slots=True)
class Judged:
    """A version with what is recorded of it: a row of ``COLUMNS`` for each test review, and its behaviour."""

    version: Version
    test: pd.DataFrame
    behaviour: BehaviourReport

    @property
    def classes(self) -> IntArray:
        """Its answers (N,)."""
        return np.asarray(self.test["positive"] >= 0.5, dtype=int)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Both accuracies on the same rows; their difference in points with its 95 % bootstrap interval and McNemar's p."""

    rows: int
    first: float
    second: float
    points: float
    points_low: float
    points_high: float
    p_value: float

    @classmethod
    def of(cls, labels: IntArray, first: IntArray, second: IntArray) -> "Accuracy":
        """From labels (N,) and both models' classes (N,)."""
        paired = mcnemar(labels, first, second)
        low, high = paired_interval(labels, first, second)
        right = float((first == labels).mean()), float((second == labels).mean())
        return cls(paired.rows, *right, 100 * paired.difference, 100 * low, 100 * high, paired.p_value)


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of both, and the first minus the second."""

    first: float
    second: float
    difference: float


@dataclass(frozen=True, slots=True)
class Capability:
    """Failing cases of both in one capability."""

    cases: int
    first: int
    second: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions, the first against the second; slices without a row are left out.

    ``worse`` holds the capabilities in which the first is significantly worse, ``better`` those in which it is better.
    """

    versions: tuple[int, int]
    accuracy: Accuracy
    figures: Mapping[str, Figure]
    slices: Mapping[str, Accuracy]
    behaviour: Mapping[str, Capability]
    worse: tuple[Regression, ...]
    better: tuple[Regression, ...]


def compare(first: Judged, second: Judged, significance: float) -> Comparison:
    """Compare what is recorded of both. Raises RegistryError where it was not judged on the same."""
    _check_same(first, second)
    labels = first.test["label"].to_numpy()
    leaked = first.test["leaked"].to_numpy(dtype=bool)
    masks: dict[str, Mask] = by_length(first.test["characters"].to_numpy()) | {"leaked": leaked, "clean": ~leaked}
    ours, theirs = (Scores.of(labels, each.test["positive"].to_numpy()).as_dict() for each in (first, second))
    capabilities = zip(first.behaviour.capabilities, second.behaviour.capabilities, strict=True)
    return Comparison(
        (first.version.number, second.version.number),
        Accuracy.of(labels, first.classes, second.classes),
        {name: Figure(ours[name], theirs[name], ours[name] - theirs[name]) for name in ours if name != "accuracy"},
        {
            name: Accuracy.of(labels[mask], first.classes[mask], second.classes[mask])
            for name, mask in masks.items()
            if mask.any()
        },
        {one.name: Capability(one.cases, one.failures, other.failures) for one, other in capabilities},
        tuple(regressions(first.behaviour, second.behaviour, significance)),
        tuple(regressions(second.behaviour, first.behaviour, significance)),
    )


def _check_same(first: Judged, second: Judged) -> None:
    names = f"versions {first.version.number} and {second.version.number}"
    rows = first.version.test_rows
    if not rows or rows != second.version.test_rows or not _same_rows(first.test, second.test):
        digests = " and ".join(each.version.test_rows[:12] or "unknown ones" for each in (first, second))
        raise RegistryError(f"{names} were judged on different test rows, {digests}; their figures do not compare")
    if first.behaviour.suite_digest != second.behaviour.suite_digest:
        digests = " and ".join(each.behaviour.suite_digest[:12] for each in (first, second))
        raise RegistryError(f"{names} were judged on different behaviour suites, {digests}; register one of them again")


def _same_rows(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    return len(first) == len(second) and all((first[name] == second[name]).all() for name in ("id", "label"))


def judged(registry: Registry, name: str) -> Judged:
    """What the store keeps of version ``name``. Raises RegistryError where that is not enough to compare."""
    version = registry.version(name)
    with tempfile.TemporaryDirectory(prefix="compare-") as folder:
        recorded = registry.download(version, EVALUATION, Path(folder))
        predictions, behaviour = recorded / artifacts.PREDICTIONS.name, recorded / artifacts.BEHAVIOUR_REPORT.name
        missing = [file.name for file in (predictions, behaviour) if not file.exists()]
        table = pd.DataFrame() if missing else pd.read_parquet(predictions)
        missing = missing or [column for column in COLUMNS if column not in table]
        if missing:
            raise RegistryError(
                f"version {version.number} was registered without {', '.join(missing)}, by an older pipeline; "
                "evaluate and register its model again"
            )
        test = table.loc[table["split"] == "test", list(COLUMNS)].reset_index(drop=True)
        return Judged(version, test, BehaviourReport.from_dict(artifacts.read_json(behaviour)))


def report(comparison: Comparison, model: str) -> str:
    """The comparison for a person at a terminal."""
    a, b = comparison.versions
    whole = comparison.accuracy
    parts = [
        f"{model}: version {a} (A) against version {b} (B) on {whole.rows:,} test reviews",
        f"accuracy {whole.first:.2%} against {whole.second:.2%}: {_points(whole)}, McNemar p = {whole.p_value:.2g}",
        text_table(
            ("accuracy", "rows", "A", "B", "A - B in points (95 %)", "p"),
            [_row(name, each) for name, each in {"test": whole, **comparison.slices}.items()],
        ),
        text_table(
            ("figure", "A", "B", "A - B"),
            [
                (_label(name), f"{each.first:.4f}", f"{each.second:.4f}", f"{each.difference:+.4f}")
                for name, each in comparison.figures.items()
            ],
        ),
        text_table(
            ("behaviour", "cases", "A fails", "B fails"),
            [(name, *map(str, asdict(each).values())) for name, each in comparison.behaviour.items()],
        ),
    ]
    for side, found in (("worse", comparison.worse), ("better", comparison.better)):
        said = "; ".join(f"{each.capability} (p = {each.p_value:.2g})" for each in found) or "nowhere"
        parts.append(f"A is significantly {side} in behaviour: {said}")
    return "\n\n".join(parts)


def _row(name: str, each: Accuracy) -> tuple[str, ...]:
    return name, f"{each.rows:,}", f"{each.first:.2%}", f"{each.second:.2%}", _points(each), f"{each.p_value:.2g}"


def _points(accuracy: Accuracy) -> str:
    return f"{accuracy.points:+.2f} [{accuracy.points_low:+.2f}, {accuracy.points_high:+.2f}]"


def _label(name: str) -> str:
    return f"{name} (lower is better)" if name in LOWER_IS_BETTER else name


def as_json(comparison: Comparison, model: str) -> dict[str, Any]:
    """The comparison for a machine."""
    return {"model": model, **asdict(comparison)}


def main() -> None:
    """Command line: two versions or ``--shadow``, and ``--json``."""
    parser = argparse.ArgumentParser(prog="pipelines.compare", description=__doc__)
    parser.add_argument("first", metavar="A", nargs="?", default="candidate", help="a number or an alias")
    parser.add_argument("second", metavar="B", nargs="?", default="champion")
    parser.add_argument("--shadow", action="store_true", help="the two models of a rollout, on mirrored requests")
    parser.add_argument("--trial", type=int, help="of the rollout; by itself, the one that goes on")
    parser.add_argument("--json", action="store_true", help="for machines")
    arguments = parser.parse_args()
    if arguments.shadow:
        observed = shadow.read(RolloutSettings.from_environment().store(), arguments.trial)
        print(json.dumps(asdict(observed), ensure_ascii=False, indent=2) if arguments.json else shadow.report(observed))
        return
    params = Params.load()
    registry = Registry(params.register_)
    comparison = compare(
        judged(registry, arguments.first), judged(registry, arguments.second), params.choose.significance
    )
    model = params.register_.model
    if arguments.json:
        print(json.dumps(as_json(comparison, model), ensure_ascii=False, indent=2))
    else:
        print(report(comparison, model))


if __name__ == "__main__":
    run(main)
