"""A behaviour suite: what a model of Korean reviews must be able to say, whatever its accuracy.

Capabilities are tested in three kinds, in the manner of CheckList (Ribeiro et al., 2020, "Beyond Accuracy: Behavioral
Testing of NLP Models with CheckList"), on cases written for this project, one a line in ``behaviour_cases/``:

- ``minimum``: a text has one label for any reader, and the model must give it.
- ``invariance``: a change that means nothing must neither flip the label nor move P(positive) far.
- ``direction``: a change that means something must move P(positive) its way, or at least not the other.

A probability is that of the positive class; the label is positive from 0.5.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from data.errors import SettingError
from data.labels import NAMES, POSITIVE

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.floating]
Kind = Literal["minimum", "invariance", "direction"]
Direction = Literal["up", "down", "not up", "not down"]

CASES = Path(__file__).parent / "behaviour_cases"
INVARIANCE_TOLERANCE = 0.2
"""The furthest that P(positive) may move between two texts that mean the same."""
DIRECTION_TOLERANCE = 0.05
"""A move of P(positive) no larger than this counts as none: less is no move ``up``, and does not break ``not down``."""
EXAMPLES = 5
"""So many failing cases of a capability are written out in its report."""
WHOLE = "suite"
"""The name under which ``regressions`` speaks of all capabilities together."""

_ASKED: dict[Kind, list[str]] = {"minimum": ["label"], "invariance": ["changed"], "direction": ["changed", "direction"]}


@dataclass(frozen=True, slots=True)
class Case:
    """One text with its label (``minimum``), or a text and a changed one (``invariance``, ``direction``).

    What does not belong to the kind is None. Raises SettingError, with the case in its message, for anything else.
    """

    capability: str
    kind: Kind
    text: str
    label: str | None = None
    changed: str | None = None
    direction: Direction | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("label", "changed", "direction") if getattr(self, name) is not None]
        if given != _ASKED.get(self.kind):
            raise SettingError(f"{self} has {given}; by kind, a case has one of {_ASKED}")
        if not re.fullmatch("[a-z][a-z_]*", self.capability) or self.capability == WHOLE:
            raise SettingError(f"capability of {self} must be of a-z and _, and other than {WHOLE!r}")
        if not all(text.strip() for text in self.texts) or self.text == self.changed:
            raise SettingError(f"texts of {self} must hold something, and differ")
        for value, allowed in ((self.label, NAMES), (self.direction, get_args(Direction))):
            if value is not None and value not in allowed:
                raise SettingError(f"{value!r} of {self} must be one of {list(allowed)}")

    @property
    def texts(self) -> tuple[str, ...]:
        """The one text or the two that the model is asked about."""
        return (self.text,) if self.changed is None else (self.text, self.changed)

    def fails(self, positive: Sequence[float]) -> bool:
        """Whether P(positive) of ``texts``, in their order, breaks what the case asks for."""
        before, after = positive[0], positive[-1]
        move = after - before
        if self.kind == "minimum":
            return (before >= 0.5) != (self.label == NAMES[POSITIVE])
        if self.kind == "invariance":
            return (before >= 0.5) != (after >= 0.5) or abs(move) > INVARIANCE_TOLERANCE
        return {
            "up": move <= DIRECTION_TOLERANCE,
            "down": move >= -DIRECTION_TOLERANCE,
            "not up": move > DIRECTION_TOLERANCE,
            "not down": move < -DIRECTION_TOLERANCE,
        }[str(self.direction)]


@dataclass(frozen=True, slots=True)
class Example:
    """A failing case: each text with the P(positive) that the model gave it, and what was asked for."""

    texts: tuple[str, ...]
    positive: tuple[float, ...]
    expected: str


@dataclass(frozen=True, slots=True)
class CapabilityReport:
    """How a model did on one capability.

    ``failed`` numbers the failing cases, from 0 in the order of the suite; ``examples`` are the first of them.
    """

    name: str
    kind: Kind
    cases: int
    failed: tuple[int, ...]
    examples: tuple[Example, ...]

    def __post_init__(self) -> None:
        ascending = all(first < second for first, second in pairwise((-1, *self.failed, self.cases)))
        if self.cases < 1 or not ascending:
            raise SettingError(f"failed of {self.name} must ascend within its {self.cases} cases: {list(self.failed)}")

    @property
    def failures(self) -> int:
        """How many cases failed."""
        return len(self.failed)

    @property
    def failure_rate(self) -> float:
        """The share of cases that failed, in [0, 1]."""
        return self.failures / self.cases


@dataclass(frozen=True, slots=True)
class BehaviourReport:
    """How a model did on a suite; ``suite_digest`` is the SHA-256 of its cases and of the tolerances."""

    suite_digest: str
    capabilities: tuple[CapabilityReport, ...]

    @property
    def cases(self) -> int:
        """How many cases the suite has."""
        return sum(capability.cases for capability in self.capabilities)

    @property
    def failures(self) -> int:
        """How many of them failed."""
        return sum(capability.failures for capability in self.capabilities)

    @property
    def failure_rate(self) -> float:
        """The share of all cases that failed, in [0, 1]; large capabilities weigh more than small ones."""
        return self.failures / self.cases

    def as_dict(self) -> dict[str, Any]:
        """Values as JSON has them; counts and rates are there for readers, ``from_dict`` works them out again."""
        value = asdict(self)
        for report, written in zip((self, *self.capabilities), (value, *value["capabilities"]), strict=True):
            written |= {name: getattr(report, name) for name in ("cases", "failures", "failure_rate")}
        return dict(json.loads(json.dumps(value)))

    def brief(self) -> "BehaviourReport":
        """The report without examples."""
        return replace(self, capabilities=tuple(replace(each, examples=()) for each in self.capabilities))

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "BehaviourReport":
        """The report that ``as_dict`` made ``value`` of; raises SettingError where it cannot have been one."""
        try:
            capabilities = tuple(
                CapabilityReport(
                    each["name"],
                    each["kind"],
                    each["cases"],
                    tuple(each["failed"]),
                    tuple(Example(tuple(e["texts"]), tuple(e["positive"]), e["expected"]) for e in each["examples"]),
                )
                for each in value["capabilities"]
            )
            return cls(value["suite_digest"], capabilities)
        except (KeyError, TypeError) as error:
            raise SettingError(f"this is no behaviour report: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Regression:
    """Where a candidate is worse: cases that only it fails, that only the champion fails, and Holm's adjusted p."""

    capability: str
    only_candidate: int
    only_champion: int
    p_value: float


def suite(folder: Path = CASES) -> tuple[Case, ...]:
    """The cases of ``minimum.json``, ``invariance.json`` and ``direction.json``, in that order.

    Each file is an object of lists of cases by capability. Raises SettingError, naming the file and the case, for what
    is none, for a case that is there twice, and for a capability of two kinds.
    """
    cases = [case for kind in _ASKED for case in _read(folder / f"{kind}.json", kind)]
    _by_capability(cases)
    for texts, times in Counter(case.texts for case in cases).items():
        if times > 1:
            raise SettingError(f"{list(texts)} is in the suite {times} times")
    return tuple(cases)


@cache
def suite_digest() -> str:
    """The digest of the suite that this code has, as reports name it."""
    return _digest(suite())


def judge(predict: "Callable[[Sequence[str]], FloatArray]", cases: Sequence[Case] | None = None) -> BehaviourReport:
    """Ask ``predict`` once for P(positive) (N,) of all N distinct raw texts of ``cases``, by default the whole suite.

    ``predict`` cleans the texts itself. Raises SettingError where it answers with anything but N probabilities, for no
    cases at all, and for a capability of two kinds.
    """
    import numpy as np  # an operator's command, which reads reports only, is to start at once

    cases = suite() if cases is None else cases
    capabilities = _by_capability(cases)
    texts = list(dict.fromkeys(text for case in cases for text in case.texts))
    positive = np.asarray(predict(texts), dtype=np.float64)  # (N,)
    if positive.shape != (len(texts),) or not ((positive >= 0.0) & (positive <= 1.0)).all():
        raise SettingError(f"predict gave an array {positive.shape} for {len(texts)} texts; it must be probabilities")
    answers = dict(zip(texts, positive.tolist(), strict=True))
    reports = []
    for name, members in capabilities.items():
        given = [tuple(answers[text] for text in case.texts) for case in members]
        failed = tuple(number for number, case in enumerate(members) if case.fails(given[number]))
        examples = tuple(
            Example(members[n].texts, given[n], members[n].label or members[n].direction or "same")
            for n in failed[:EXAMPLES]
        )
        reports.append(CapabilityReport(name, members[0].kind, len(members), failed, examples))
    return BehaviourReport(_digest(cases), tuple(reports))


def regressions(candidate: BehaviourReport, champion: BehaviourReport, significance: float) -> list[Regression]:
    """Where ``candidate`` fails significantly more often: capabilities, in their order, then ``WHOLE``.

    McNemar's exact test, one-sided, for each capability and for all cases together, with Holm's correction (1979) over
    all of these tests: the chance that anything is said of a candidate that is nowhere worse is ``significance``
    at most, cases being independent. Raises SettingError for different suites and a significance outside (0, 1).
    """
    if not 0.0 < significance < 1.0:
        raise SettingError(f"significance is {significance}; it must be between 0 and 1")
    if candidate.suite_digest != champion.suite_digest:
        digests = f"{candidate.suite_digest} and {champion.suite_digest}"
        raise SettingError(f"reports on different suites cannot be compared, judge both models on one: {digests}")
    pairs = zip(candidate.capabilities, champion.capabilities, strict=True)
    failed = {new.name: (set(new.failed), set(old.failed)) for new, old in pairs}
    counts = {name: (len(new - old), len(old - new)) for name, (new, old) in failed.items()}
    counts[WHOLE] = (sum(new for new, _ in counts.values()), sum(old for _, old in counts.values()))
    adjusted = _holm([_worse(new, old) for new, old in counts.values()])
    tested = [Regression(name, *counts[name], p_value) for name, p_value in zip(counts, adjusted, strict=True)]
    return [each for each in tested if each.p_value <= significance]


def _worse(only_candidate: int, only_champion: int) -> float:
    """P of at least so many failures of the candidate alone, were each as likely to be the champion's."""
    rows = only_candidate + only_champion
    return float(sum(math.comb(rows, failures) for failures in range(only_candidate, rows + 1)) / 2**rows)


def _holm(p_values: Sequence[float]) -> list[float]:
    adjusted, floor = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = floor
    return adjusted


def _read(path: Path, kind: Kind) -> list[Case]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_repetition)
    except (OSError, ValueError) as error:
        raise SettingError(f"{path} cannot be read as cases: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(rows, list) and rows for rows in content.values()):
        raise SettingError(f"{path} must be an object of lists of cases, none empty, by capability")
    fields = ["text", *_ASKED[kind]]
    cases = []
    for capability, rows in content.items():
        for row in rows:
            if not isinstance(row, dict) or row.keys() != set(fields) or {*map(type, row.values())} != {str}:
                raise SettingError(f"{path}, {capability}: {row!r} must be an object of the strings {fields}")
            cases.append(Case(capability, kind, **row))
    return cases


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError(f"a name is given twice among {[name for name, _ in pairs]}")
    return content


def _by_capability(cases: Sequence[Case]) -> dict[str, list[Case]]:
    capabilities: dict[str, list[Case]] = {}
    for case in cases:
        capabilities.setdefault(case.capability, []).append(case)
        if case.kind != capabilities[case.capability][0].kind:
            raise SettingError(f"{case} is of another kind than the cases before it in its capability")
    if not capabilities:
        raise SettingError("a suite must have at least one case")
    return capabilities


def _digest(cases: Sequence[Case]) -> str:
    content = [INVARIANCE_TOLERANCE, DIRECTION_TOLERANCE, [asdict(case) for case in cases]]
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
