"""When callers' corrections of labels are believed: never one alone, never where they disagree, never too many.

Whoever may correct may lie. So a review's label is taken only if enough callers say the same and hardly any says
something else, one caller is behind a bounded share of all that is taken, and all together are a bounded share of what
is learned from. Reviews that models are chosen and judged on are never touched, and the label of a review that is
learned from already stays what it is; both are told, for people to look at.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from data.errors import SettingError
from data.labels import NEGATIVE, POSITIVE

Outcome = Literal["taken", "held_out", "known", "against_train", "without_text", "too_few", "disputed", "over_share"]


@dataclass(frozen=True, slots=True)
class Vote:
    """What one caller says of one review, in the end."""

    digest: str
    caller: str
    label: int


@dataclass(frozen=True, slots=True)
class Trust:
    """What it takes to be believed.

    At least ``callers`` of one opinion, who are at least ``agreement`` of all that have one. What is taken is at most
    ``share`` of the reviews that are learned from, and a caller is behind at most ``caller_share`` of it, or of 100.
    """

    callers: int = 3
    agreement: float = 0.9
    share: float = 0.02
    caller_share: float = 0.2

    def __post_init__(self) -> None:
        if self.callers < 1:
            raise SettingError(f"callers is {self.callers}; it must be at least 1")
        for name in ("agreement", "share", "caller_share"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be above 0 and at most 1")
        if self.agreement <= 0.5:
            raise SettingError(f"agreement is {self.agreement}; it must be above 0.5, or both labels could have it")


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of the corrections of one review."""

    digest: str
    label: int
    negative: int
    positive: int
    outcome: Outcome


FEWEST_PER_CALLER = 100
"""So that a caller's share is one of something."""


def decide(
    votes: Iterable[Vote],
    trust: Trust,
    *,
    held_out: Collection[str],
    learned: Mapping[str, int | None],
    texts: Collection[str],
    rows: int,
) -> list[Decided]:
    """What becomes of each review that somebody voted on, those with the most votes first.

    ``held_out`` are digests of reviews that models are chosen or judged on, ``learned`` the labels (None: neither) of
    those that are learned from already, of which there are ``rows``, ``texts`` the digests whose texts are at hand. A
    caller's last vote on a review counts.
    """
    of: dict[str, dict[str, int]] = defaultdict(dict)
    for vote in votes:
        of[vote.digest][vote.caller] = vote.label
    places = round(trust.share * rows)
    behind: Counter[str] = Counter()
    most = max(1, round(trust.caller_share * max(places, FEWEST_PER_CALLER)))
    decided = []
    for digest in sorted(of, key=lambda each: (-len(of[each]), each)):
        labels = Counter(of[digest].values())
        label = POSITIVE if labels[POSITIVE] > labels[NEGATIVE] else NEGATIVE
        outcome = _outcome(digest, label, labels[label], labels.total(), trust, held_out, learned, texts)
        if outcome == "taken":
            supporters = [caller for caller, said in of[digest].items() if said == label]
            if not places or any(behind[caller] >= most for caller in supporters):
                outcome = "over_share"
            else:
                places -= 1
                behind.update(supporters)
        decided.append(Decided(digest, label, labels[NEGATIVE], labels[POSITIVE], outcome))
    return decided


def _outcome(
    digest: str,
    label: int,
    agreeing: int,
    voting: int,
    trust: Trust,
    held_out: Collection[str],
    learned: Mapping[str, int | None],
    texts: Collection[str],
) -> Outcome:
    if digest in held_out:
        return "held_out"
    if voting < trust.callers:
        return "too_few"
    if agreeing < trust.callers or agreeing / voting < trust.agreement:
        return "disputed"
    if digest in learned:
        return "known" if learned[digest] == label else "against_train"
    return "taken" if digest in texts else "without_text"
