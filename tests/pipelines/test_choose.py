import json
import shutil
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from data.behaviour import BehaviourReport, suite
from data.behaviour import judge as judge_behaviour
from data.bundle import GRAPH_FILE, MANIFEST_FILE, Bundle
from data.errors import DigestMismatch
from pipelines.choose import Answers, Decision, IntArray, champion_or_reason, decide
from pipelines.params import Choose
from pipelines.registry import BUNDLE, Registry, Version

RULE = Choose(significance=0.05, max_drop_points=0.5)
LABELS = np.arange(10_000) % 2
CASES = [case for case in suite() if case.label is not None]


def wrong(count: int, start: int = 0) -> IntArray:
    """LABELS with ``count`` errors from row ``start`` on."""
    found = LABELS.copy()
    found[start : start + count] ^= 1
    return found


def behaviour(failing: str = "") -> BehaviourReport:
    """Right about every text, save those of the capability ``failing``."""
    answers = {case.text: 0.99 if case.label == "긍정" else 0.01 for case in CASES}
    answers |= {case.text: 1 - answers[case.text] for case in CASES if case.capability == failing}
    return judge_behaviour(lambda texts: np.array([answers[text] for text in texts]), CASES)


def judged(
    candidate: IntArray,
    champion: IntArray | None = None,
    *,
    baseline: int = 4_000,
    rule: Choose = RULE,
    failing: str = "",
) -> Decision:
    theirs = "there is no champion yet" if champion is None else Answers(champion, behaviour())
    return decide(LABELS, wrong(baseline, start=5_000), Answers(candidate, behaviour(failing)), theirs, rule)


def test_the_first_one_has_to_beat_the_linear_baseline_significantly() -> None:
    accepted = judged(wrong(3_000))
    assert accepted.promoted
    assert accepted.figures["baseline_difference_points"] == pytest.approx(10.0)
    by_chance = judged(wrong(3_990))
    assert not by_chance.promoted
    assert "not significant at 0.05, which is not enough" in by_chance.reasons[0]
    assert not judged(wrong(4_500)).promoted, "significantly worse"


def test_a_better_one_is_promoted_with_figures() -> None:
    decision = judged(wrong(1_000), wrong(1_300, start=5_000))
    assert decision.promoted
    assert decision.figures["difference_points"] == pytest.approx(3.0)
    assert decision.figures["mcnemar_p"] < 0.001
    assert (decision.figures["only_candidate_right"], decision.figures["only_champion_right"]) == (1_300, 1_000)


def test_one_that_is_worse_by_chance_is_promoted() -> None:
    assert judged(wrong(1_010), wrong(1_000, start=5_000)).promoted


def test_one_that_is_significantly_worse_is_refused() -> None:
    decision = judged(wrong(1_040), wrong(1_000))
    assert not decision.promoted, "40 rows that only the champion gets right are no chance, though only 0.4 points"
    assert "significantly worse at 0.05" in decision.reasons[1]


def test_a_drop_beyond_the_limit_is_refused_whatever_the_test_says() -> None:
    lenient = Choose(significance=1e-9, max_drop_points=0.5)
    decision = judged(wrong(1_060), wrong(1_000, start=5_000), rule=lenient)
    assert not decision.promoted
    assert "beyond the 0.5 points" in decision.reasons[2]


def test_beating_the_champion_is_not_enough_without_the_baseline() -> None:
    assert not judged(wrong(4_100), wrong(4_600)).promoted


def test_losing_a_capability_is_refused_though_test_got_better() -> None:
    decision = judged(wrong(1_000), wrong(1_300, start=5_000), failing="negation")
    assert not decision.promoted
    assert "worse in negation" in decision.reasons[-1]
    assert "no capability is worse" in judged(wrong(1_000), wrong(1_300, start=5_000)).reasons[-1]


class OldStore:
    """Keeps one bundle of another format, and nothing else of its version."""

    def __init__(self, bundle: Path) -> None:
        self._bundle = bundle

    def download(self, version: Version, kind: str, folder: Path) -> Path:
        target = folder / kind
        if kind == BUNDLE:
            shutil.copytree(self._bundle, target)
        else:
            target.mkdir()
        return target


def test_a_champion_that_this_code_cannot_run_does_not_stand_in_the_way(bundle: Bundle, tmp_path: Path) -> None:
    old = shutil.copytree(bundle.folder, tmp_path / "old")
    manifest = old / MANIFEST_FILE
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format_version": 1}))
    version = Version(number=7, digest="d", run_id="r", test_rows="rows")
    registry = cast(Registry, OldStore(old))
    found = champion_or_reason(registry, version, "rows", "suite")
    assert found == (
        "the champion, version 7, cannot be run by this version of the code: "
        "bundle.json: format_version is 1; it must be 3"
    )
    decision = decide(LABELS, wrong(4_000), Answers(wrong(3_000), behaviour()), found, RULE)
    assert decision.promoted
    assert found in decision.reasons


def test_a_champion_that_was_tampered_with_is_an_error(bundle: Bundle, tmp_path: Path) -> None:
    broken = shutil.copytree(bundle.folder, tmp_path / "broken")
    (broken / GRAPH_FILE).write_bytes(b"something else")
    version = Version(number=7, digest="d", run_id="r", test_rows="rows")
    with pytest.raises(DigestMismatch):
        champion_or_reason(cast(Registry, OldStore(broken)), version, "rows", "suite")
