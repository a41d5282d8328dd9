"""The gate: the candidate becomes champion only if it deserves to, and why is written down."""

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

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


def decide(
    labels: IntArray, candidate: IntArray, champion: IntArray | None, majority_accuracy: float, rule: Choose
) -> Decision:
    """Judge the predictions (N,) of a candidate on test labels (N,), beside those of the champion if there is one."""
    accuracy = float((candidate == labels).mean())
    figures = {"candidate_accuracy": accuracy, "majority_accuracy": majority_accuracy}
    above_majority = accuracy > majority_accuracy
    reasons = [
        f"accuracy {accuracy:.4f} is {'above' if above_majority else 'not above'} "
        f"the majority baseline's {majority_accuracy:.4f}"
    ]
    if champion is None:
        reasons.append("there is no champion yet")
        return Decision(above_majority, tuple(reasons), figures)
    paired = mcnemar(labels, candidate, champion)
    points = 100 * paired.difference
    figures |= {
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
    return Decision(above_majority and not worse and not dropped, tuple(reasons), figures)


def champion_predictions(registry: Registry, champion: Version, test_rows: str) -> IntArray:
    """The champion's classes on the present test rows: as recorded, or, for other rows, from running its bundle."""
    with tempfile.TemporaryDirectory(prefix="champion-") as name:
        folder = Path(name)
        if champion.test_rows == test_rows:
            recorded = registry.download(champion, EVALUATION, folder) / artifacts.PREDICTIONS.name
            return _classes(pd.read_parquet(recorded))[1]
        model = Model.load(registry.download(champion, BUNDLE, folder), tag=str(champion.number))
        texts = read_split("test")["text"][:]
        return (model.positive(model.bundle.encoder.encode(texts, truncate=True)) >= 0.5).astype(int)


def _classes(predictions: pd.DataFrame) -> tuple[IntArray, IntArray]:
    test = predictions[predictions["split"] == "test"]
    return test["label"].to_numpy(), (test["positive"] >= 0.5).astype(int).to_numpy()


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
    evaluation = artifacts.read_json(artifacts.EVALUATION_REPORT)
    test_rows = artifacts.read_json(artifacts.DATA_REPORT)["splits"]["test"]["sha256"]
    labels, predicted = _classes(pd.read_parquet(artifacts.PREDICTIONS))
    theirs = None if champion is None else champion_predictions(registry, champion, test_rows)
    decision = decide(labels, predicted, theirs, float(evaluation["majority_accuracy"]), params.choose)
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
        registry.promote(candidate)
    artifacts.write_json(artifacts.DECISION, record)
    print(f"version {candidate.number} {'is champion' if decision.promoted else 'was refused'}: {reasons}")


if __name__ == "__main__":
    stage.run(main)
