"""The gate: the candidate becomes champion only if it deserves to, and why is written down."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from data.behaviour import BehaviourReport, judge, regressions
from data.errors import UnknownFormat
from data.text import clean
from pipelines import artifacts, stage
from pipelines.errors import RegistryError
from pipelines.params import Choose, Params
from pipelines.registry import BUNDLE, DECISION_TAG, EVALUATION, Registry, Version
from pipelines.splits import read_split
from serving.model import Model
from training.metrics import mcnemar

IntArray = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the candidate is promoted, the reasons in words, and the figures behind them."""

    promoted: bool
    reasons: tuple[str, ...]
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class Answers:
    """What one model says: its classes (N,) for the test rows, and what it made of the behaviour suite."""

    classes: IntArray
    behaviour: BehaviourReport


def decide(labels: IntArray, baseline: IntArray, candidate: Answers, champion: Answers | str, rule: Choose) -> Decision:
    """Judge a candidate by test labels (N,), beside the classes (N,) of the linear baseline and any champion.

    It has to beat the baseline, and must not be worse than the champion, on test or in any capability of the
    behaviour suite. In place of a champion's answers may stand why there are none.
    """
    against = mcnemar(labels, candidate.classes, baseline)
    significant = against.p_value < rule.significance
    beats_baseline = against.difference > 0 and significant
    figures = {
        "candidate_accuracy": float((candidate.classes == labels).mean()),
        "baseline_accuracy": float((baseline == labels).mean()),
        "baseline_difference_points": 100 * against.difference,
        "baseline_mcnemar_p": against.p_value,
    }
    reasons = [
        f"{100 * against.difference:+.2f} points against the linear baseline, McNemar p = "
        f"{against.p_value:.3g} on {against.rows:,} rows: {'' if significant else 'not '}significant at "
        f"{rule.significance}, which is {'enough' if beats_baseline else 'not enough'}"
    ]
    if isinstance(champion, str):
        reasons.append(champion)
        return Decision(beats_baseline, tuple(reasons), figures)
    worse, more = _worse_on_test(labels, candidate.classes, champion.classes, rule, reasons)
    regressed = _worse_in_behaviour(candidate.behaviour, champion.behaviour, rule, reasons)
    return Decision(beats_baseline and not worse and not regressed, tuple(reasons), figures | more)


def _worse_in_behaviour(
    candidate: BehaviourReport, champion: BehaviourReport, rule: Choose, reasons: list[str]
) -> bool:
    found = regressions(candidate, champion, rule.significance)
    reasons.append(
        f"behaviour failures {candidate.failures} against {champion.failures} of {candidate.cases}: "
        + ("; ".join(f"worse in {r.capability} (p = {r.p_value:.3g})" for r in found) or "no capability is worse")
    )
    return bool(found)


def _worse_on_test(
    labels: IntArray, candidate: IntArray, champion: IntArray, rule: Choose, reasons: list[str]
) -> tuple[bool, dict[str, float]]:
    paired = mcnemar(labels, candidate, champion)
    points = 100 * paired.difference
    figures = {
        "champion_accuracy": float((champion == labels).mean()),
        "difference_points": points,
        "only_candidate_right": paired.only_first,
        "only_champion_right": paired.only_second,
        "mcnemar_p": paired.p_value,
    }
    worse = points < 0 and paired.p_value < rule.significance
    dropped = -points > rule.max_drop_points
    reasons.append(
        f"{points:+.2f} points against the champion, McNemar p = {paired.p_value:.3g} on {paired.rows:,} rows: "
        + ("significantly worse" if worse else "not significantly worse")
        + f" at {rule.significance}"
    )
    if dropped:
        reasons.append(f"the drop is beyond the {rule.max_drop_points} points that are allowed")
    return worse or dropped, figures


def champion_answers(registry: Registry, champion: Version, test_rows: str, suite_digest: str) -> Answers:
    """What the champion says of the present test rows and suite: as recorded, or else from running its bundle."""
    with tempfile.TemporaryDirectory(prefix="champion-") as name:
        folder = Path(name)
        recorded = registry.download(champion, EVALUATION, folder)
        suite_file = recorded / artifacts.BEHAVIOUR_REPORT.name
        suite = BehaviourReport.from_dict(artifacts.read_json(suite_file)) if suite_file.exists() else None
        if champion.test_rows == test_rows and suite is not None and suite.suite_digest == suite_digest:
            return Answers(_classes(pd.read_parquet(recorded / artifacts.PREDICTIONS.name)), suite)
        model = Model.load(registry.download(champion, BUNDLE, folder), tag=str(champion.number))

        def positive(raw: Sequence[str]) -> npt.NDArray[np.float64]:
            return model.positive_of([clean(text) for text in raw])

        return Answers((positive(read_split("test")["text"][:]) >= 0.5).astype(int), judge(positive))


def champion_or_reason(
    registry: Registry, champion: Version | None, test_rows: str, suite_digest: str
) -> Answers | str:
    """The champion's answers, or why there are none.

    One that this code cannot run is none that it could go on serving, and so does not stand in the way.
    """
    if champion is None:
        return "there is no champion yet"
    try:
        return champion_answers(registry, champion, test_rows, suite_digest)
    except UnknownFormat as error:
        return f"the champion, version {champion.number}, cannot be run by this version of the code: {error}"


def _test(predictions: pd.DataFrame) -> pd.DataFrame:
    return predictions[predictions["split"] == "test"]


def _classes(predictions: pd.DataFrame) -> IntArray:
    return np.asarray(_test(predictions)["positive"] >= 0.5, dtype=np.int64)


def _record(decision: Decision, params: Params, candidate: Version, champion: Version | None) -> dict[str, Any]:
    """The decision as it is kept, beside the file in the candidate's tags."""
    live = candidate if decision.promoted else champion
    return {
        **asdict(decision),
        "model": params.register_.model,
        "candidate": candidate.number,
        "champion_before": champion.number if champion else None,
        "champion": live.number if live else None,
        "champion_digest": live.digest if live else None,
    }


def main() -> None:
    """Stage choose."""
    params = Params.load()
    registry = Registry(params.register_)
    registration: dict[str, Any] = artifacts.read_json(artifacts.REGISTRATION)
    candidate = registry.version_by_digest(registration["digest"])
    if candidate is None:
        raise RegistryError(
            f"no version of {params.register_.model} holds bundle {registration['digest'][:12]}; "
            "register it again: dvc repro --force --single-item register choose package"
        )
    champion = registry.champion()
    if champion is not None and champion.digest == candidate.digest:
        # the stage runs again after its promotion: what was decided then still stands
        record = json.loads(champion.decision or "{}")
        if record.get("champion") != champion.number:
            record = _record(Decision(True, ("it was made champion by hand",), {}), params, candidate, champion)
        artifacts.write_json(artifacts.DECISION, record)
        print(f"version {champion.number} is the champion already")
        return
    suite = BehaviourReport.from_dict(artifacts.read_json(artifacts.BEHAVIOUR_REPORT))
    test_rows = artifacts.read_json(artifacts.DATA_REPORT)["splits"]["test"]["sha256"]
    table = pd.read_parquet(artifacts.PREDICTIONS)
    test = _test(table)
    theirs = champion_or_reason(registry, champion, test_rows, suite.suite_digest)
    ours = Answers(_classes(table), suite)
    decision = decide(test["label"].to_numpy(), test["baseline"].to_numpy(), ours, theirs, params.choose)
    record = _record(decision, params, candidate, champion)
    reasons = "; ".join(decision.reasons)
    registry.tag_version(
        candidate,
        {
            "gate": "passed" if decision.promoted else "refused",
            "gate_reasons": reasons,
            DECISION_TAG: json.dumps(record, ensure_ascii=False),
        },
    )
    if decision.promoted:
        registry.promote(candidate, reasons, decision.figures)
    artifacts.write_json(artifacts.DECISION, record)
    print(f"version {candidate.number} {'is champion' if decision.promoted else 'was refused'}: {reasons}")


if __name__ == "__main__":
    stage.run(main)
