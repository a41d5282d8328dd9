"""Whether what was observed of two models side by side speaks against the new one.

Counts come in, gates come out; nothing here knows where they were counted. Three kinds of test decide, and all may
also say that too little was seen:

- Shares of events (answers on the other side, errors) are put to Wald's sequential test of two hypotheses ("Sequential
  Tests of Statistical Hypotheses", 1945), which may be read as often as one likes: with a true share of at most
  ``allowed`` it fails in at most one of a hundred trials, and with one of at least ``refused`` it passes in at most
  one of a hundred.
- Means (of differences between the two models) are held against a limit by their 99 % interval. Read often, it errs
  more often than once in a hundred, so nothing is said before ``MEANS_FROM`` reviews.
- The behaviour suite is the one that training's gate knows, and so is the test: McNemar's, see ``data.behaviour``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from data.behaviour import BehaviourReport, regressions
from data.errors import SettingError

ERROR_RATE = 0.01
"""Of the sequential tests, on both sides; and of the behaviour suite, to find a model worse that is not."""
MEANS_FROM = 500
COST_FROM = 1_000
"""Tokens that both must have inferred; what came from the cache cost nothing."""
_Z = 2.576
Counts = Mapping[str, float]


@dataclass(frozen=True)
class Limits:
    """By how much the new model may differ. Shares are from 0 to 1. Raises ValueError for what makes no sense."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    disagreement_allowed: float = 0.10
    disagreement_refused: float = 0.20
    """Reviews that the two models put on different sides: of two good models, about one in thirteen."""
    errors_allowed: float = 0.002
    errors_refused: float = 0.02
    shift: float = 0.05
    """Of the mean of P(positive)."""
    neutral: float = 0.05
    """Of the share of 중립."""
    confidence: float = 0.03
    """By so much may the estimated accuracy, which is the mean calibrated confidence, be lower."""
    cost: float = 1.5
    """Inference time of a token, in that of the old model."""

    def __post_init__(self) -> None:
        for what in ("disagreement", "errors"):
            allowed, refused = getattr(self, f"{what}_allowed"), getattr(self, f"{what}_refused")
            if not 0.0 < allowed < refused < 1.0:
                raise ValueError(
                    f"{what}_allowed is {allowed:g} and {what}_refused is {refused:g}; it must hold "
                    "0 < allowed < refused < 1"
                )
        for name in ("shift", "neutral", "confidence", "cost"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} is {getattr(self, name):g}; it must be above 0")


@dataclass(frozen=True, slots=True)
class Gate:
    """One question, and whether it is answered well; None while too little was seen."""

    name: str
    passed: bool | None
    detail: str


def judge(counts: Counts, limits: Limits = Limits()) -> list[Gate]:
    """All gates. ``counts`` are those of ``serving.rollout.observed``."""
    pairs = int(counts.get("pairs", 0))
    return [
        _share(
            "errors",
            int(counts.get("new_errors", 0)),
            int(counts.get("new_errors", 0)) + pairs,
            limits.errors_allowed,
            limits.errors_refused,
            "of the reviews it could not judge",
        ),
        _share(
            "disagreement",
            int(counts.get("disagreements", 0)),
            pairs,
            limits.disagreement_allowed,
            limits.disagreement_refused,
            "of the reviews it puts on the other side",
        ),
        _mean("score shift", counts, "shift", limits.shift, "of P(positive)", both=True),
        _mean("neutral share", counts, "neutral", limits.neutral, "of reviews called 중립", both=True),
        _mean("estimated accuracy", counts, "doubt", limits.confidence, "of confidence lost", both=False),
        _cost(counts, limits.cost),
    ]


def behaves(new: BehaviourReport | None, old: BehaviourReport | None) -> Gate:
    """Whether the new model fails significantly more of the suite than the old one; None where it was not asked."""
    name = "behaviour"
    if new is None or old is None:
        return Gate(name, None, "no worker has asked both models yet")
    try:
        worse = regressions(new, old, ERROR_RATE)
    except SettingError as error:
        return Gate(name, None, str(error))
    detail = f"fails {new.failures} of {new.cases} cases, the other one {old.failures}"
    if worse:
        detail += f"; significantly worse in {', '.join(each.capability for each in worse)}"
    return Gate(name, not worse, detail)


def verdict(gates: list[Gate]) -> bool | None:
    """Of all gates together: False where one fails, None while one is undecided."""
    if any(gate.passed is False for gate in gates):
        return False
    return None if any(gate.passed is None for gate in gates) else True


def sequential(events: int, trials: int, allowed: float, refused: float) -> bool | None:
    """Wald's test: True for a share of at most ``allowed``, False for one of at least ``refused``, None: go on."""
    evidence = events * math.log(refused / allowed) + (trials - events) * math.log((1 - refused) / (1 - allowed))
    bound = math.log((1 - ERROR_RATE) / ERROR_RATE)
    if evidence >= bound:
        return False
    return True if evidence <= -bound else None


def _share(name: str, events: int, trials: int, allowed: float, refused: float, what: str) -> Gate:
    passed = sequential(events, trials, allowed, refused)
    seen = f"{events:,} of {trials:,}" + (f" ({events / trials:.1%})" if trials else "")
    state = {True: f"at most {allowed:.1%}", False: f"at least {refused:.1%}", None: "too little was seen to tell"}
    return Gate(name, passed, f"{seen} {what}; {state[passed]}")


def _mean(name: str, counts: Counts, key: str, limit: float, what: str, *, both: bool) -> Gate:
    """The mean of a difference, of which ``counts`` has the sum and the sum of squares."""
    pairs = int(counts.get("pairs", 0))
    if pairs < MEANS_FROM:
        return Gate(name, None, f"{pairs:,} reviews were seen; {MEANS_FROM:,} are needed to tell")
    mean = counts.get(key, 0.0) / pairs
    deviation = math.sqrt(max(counts.get(f"{key}_squared", 0.0) / pairs - mean * mean, 0.0))
    error = _Z * deviation / math.sqrt(pairs)
    size = abs(mean) if both else mean
    passed = True if size + error <= limit else False if size - error > limit else None
    allowed = f"within {limit:g}" if both else f"at most {limit:g}"
    return Gate(name, passed, f"{mean:+.4f} ± {error:.4f} {what}; {allowed} is allowed")


def _cost(counts: Counts, limit: float) -> Gate:
    """Inference seconds of a token, of both models."""
    old, new = (int(counts.get(f"{which}_tokens", 0)) for which in ("old", "new"))
    if min(old, new) < COST_FROM:
        return Gate("cost", None, f"{new:,} and {old:,} tokens were inferred; {COST_FROM:,} of each are needed to tell")
    ratio = (counts["new_seconds"] / new) / (counts["old_seconds"] / old)
    return Gate("cost", ratio <= limit, f"a token takes {ratio:.2f} x as long; {limit:g} x is allowed")
