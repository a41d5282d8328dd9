import numpy as np
import pytest

from pipelines.choose import Answers, Decision, IntArray, decide
from pipelines.params import Choose
from training.behaviour import BehaviourReport, suite
from training.behaviour import judge as judge_behaviour

RULE = Choose(baseline="linear", significance=0.05, max_drop_points=0.5)
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
    theirs = None if champion is None else Answers(champion, behaviour())
    return decide(LABELS, wrong(baseline, start=5_000), Answers(candidate, behaviour(failing)), theirs, rule)


def test_the_first_one_has_to_beat_the_linear_baseline_significantly() -> None:
    accepted = judged(wrong(3_000))
    assert accepted.promoted
    assert accepted.figures["baseline_difference_points"] == pytest.approx(10.0)
    by_chance = judged(wrong(3_990))
    assert not by_chance.promoted
    assert "not significant at 0.05, which is not enough" in by_chance.reasons[0]
    assert not judged(wrong(4_500)).promoted, "significantly worse"


def test_beating_the_majority_by_chance_is_enough_where_the_profile_says_so() -> None:
    rule = Choose(baseline="majority", significance=0.05, max_drop_points=0.5)
    assert judged(wrong(3_990), rule=rule).promoted
    assert not judged(wrong(4_000), rule=rule).promoted


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
    lenient = Choose(baseline="linear", significance=1e-9, max_drop_points=0.5)
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
