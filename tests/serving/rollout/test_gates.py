"""What the gates say of simulated models, and how often they are wrong."""

import numpy as np
import pytest

from data.behaviour import BehaviourReport, CapabilityReport
from data.labels import NeutralBand, Verdict
from serving.rollout.gates import ERROR_RATE, MEANS_FROM, Limits, behaves, judge, sequential, verdict
from serving.rollout.observed import Observed

BAND = NeutralBand(0.4, 0.6)


def conduct(*failed: int, suite: str = "a") -> BehaviourReport:
    """What a model made of a suite of 100 cases."""
    return BehaviourReport(suite, (CapabilityReport("negation", "minimum", 100, failed, ()),))


def verdicts(positive: np.ndarray) -> list[Verdict]:
    return [Verdict.of(float(p), BAND) for p in positive]


def reviews(count: int, seed: int) -> np.ndarray:
    """P(positive) as a good model gives it: mostly sure."""
    return np.random.default_rng(seed).beta(0.25, 0.25, count)


def like(old: np.ndarray, seed: int, share: float = 0.07) -> np.ndarray:
    """A model as good as another: it differs on some reviews, with no preference."""
    random = np.random.default_rng(seed)
    return np.where(random.random(len(old)) < share, 1 - old, np.clip(old + random.normal(0, 0.01, len(old)), 0, 1))


def seen(old: np.ndarray, new: np.ndarray, *, errors: int = 0, slowness: float = 1.0) -> dict[str, float]:
    observed = Observed()
    observed.pairs([""] * len(old), verdicts(old), verdicts(new))
    observed.inferred(10 * len(old), 1.0, new=False)
    observed.inferred(10 * len(old), slowness, new=True)
    observed.failed(errors, new=True)
    return dict(observed.counts)


def failing(counts: dict[str, float]) -> set[str]:
    return {gate.name for gate in judge(counts) if gate.passed is False}


def test_a_model_as_good_as_the_other_passes() -> None:
    old = reviews(2_000, 1)
    gates = judge(seen(old, like(old, 2)))
    assert [gate.name for gate in gates if not gate.passed] == []
    assert verdict(gates) is True


def test_while_little_was_seen_nothing_is_said() -> None:
    old = reviews(30, 1)
    assert all(gate.passed is None for gate in judge(seen(old, like(old, 2))))
    assert verdict(judge({})) is None


@pytest.mark.parametrize(
    ("new", "gate"),
    [
        (lambda old: np.random.default_rng(5).random(len(old)), "disagreement"),
        (lambda old: 1 - old, "disagreement"),
        (lambda old: np.clip(old + 0.12, 0, 1), "score shift"),
        (lambda old: np.where(np.arange(len(old)) % 5 == 0, 0.5 + (old - 0.5) * 0.1, old), "neutral share"),
        (lambda old: 0.5 + (old - 0.5) * 0.7, "estimated accuracy"),
    ],
)  # fmt: skip
def test_what_is_bad_fails_at_the_gate_that_is_there_for_it(new: object, gate: str) -> None:
    old = reviews(2_000, 1)
    assert gate in failing(seen(old, new(old)))  # type: ignore[operator]


def test_errors_and_slowness_fail() -> None:
    old = reviews(2_000, 1)
    assert failing(seen(old, like(old, 2), errors=100)) == {"errors"}
    assert failing(seen(old, like(old, 2), slowness=1.6)) == {"cost"}
    assert failing(seen(old, like(old, 2), slowness=1.4)) == set()


def test_the_behaviour_suite_is_a_gate() -> None:
    assert behaves(conduct(1, 2, 3), conduct(2, 3, 4)).passed is True
    worse = behaves(conduct(*range(20)), conduct(1, 2))
    assert (worse.passed, worse.detail) == (
        False,
        "fails 20 of 100 cases, the other one 2; significantly worse in negation, suite",
    )
    assert behaves(conduct(1, 2), conduct(*range(20))).passed is True
    assert behaves(conduct(1), None).passed is None
    assert "different suites" in behaves(conduct(1), conduct(1, suite="b")).detail


def first_failure(old: np.ndarray, new: np.ndarray, every: int = 20) -> int | None:
    """After how many reviews any gate fails, read again and again."""
    observed = Observed()
    observed.inferred(1_000, 1.0, new=False)
    observed.inferred(1_000, 1.0, new=True)
    for count in range(every, len(old) + 1, every):
        chunk = slice(count - every, count)
        observed.pairs([""] * every, verdicts(old[chunk]), verdicts(new[chunk]))
        if failing(dict(observed.counts)):
            return count
    return None


def test_a_model_that_guesses_is_found_long_before_2000_reviews() -> None:
    found = []
    for seed in range(40):
        old = reviews(400, seed)
        found.append(first_failure(old, np.random.default_rng(1_000 + seed).random(400)))
    assert all(count is not None and count <= 200 for count in found), found


def test_the_sequential_test_errs_as_seldom_as_it_says() -> None:
    """Read after every review, up to 2,000, in 4,000 trials: of a share that is allowed, and of one that is not."""
    limits, random = Limits(), np.random.default_rng(3)

    def ever(share: float, wanted: bool) -> float:
        events = (random.random((4_000, 2_000)) < share).cumsum(axis=1)
        trials = np.arange(1, 2_001)
        bound = np.log((1 - ERROR_RATE) / ERROR_RATE)
        allowed, refused = limits.disagreement_allowed, limits.disagreement_refused
        evidence = events * np.log(refused / allowed) + (trials - events) * np.log((1 - refused) / (1 - allowed))
        decided = np.abs(evidence) >= bound
        first = decided.argmax(axis=1)
        said = evidence[np.arange(4_000), first] <= -bound
        place = 7
        assert sequential(int(events[place, first[place]]), int(first[place]) + 1, allowed, refused) is bool(
            said[place]
        )
        return float((said[decided.any(axis=1)] != wanted).sum() / 4_000)

    assert ever(limits.disagreement_allowed, wanted=True) <= 1.5 * ERROR_RATE
    assert ever(limits.disagreement_refused, wanted=False) <= 1.5 * ERROR_RATE


def test_false_alarms_of_all_gates_together_are_rare() -> None:
    """A model as good as the other, read every 100 of 2,000 reviews, 200 times."""
    alarms = 0
    for seed in range(200):
        old = reviews(2_000, seed)
        alarms += first_failure(old, like(old, 10_000 + seed), every=100) is not None
    assert alarms <= 2, "at most one in a hundred"
    assert MEANS_FROM <= 2_000
