"""Whom to believe: never one alone, never where callers disagree, and one caller never much."""

import pytest

from data.errors import SettingError
from data.feedback import Decided, Trust, Vote, decide


def votes(digest: str, label: int, *callers: str) -> list[Vote]:
    return [Vote(digest, caller, label) for caller in callers]


def decided(
    given: list[Vote], trust: Trust | None = None, rows: int = 10_000, texts: str = "abcdefgh"
) -> dict[str, str]:
    found = decide(given, trust or Trust(), held_out=(), learned={}, texts=set(texts), rows=rows)
    return {each.digest: each.outcome for each in found}


def test_enough_callers_of_one_opinion_are_believed() -> None:
    given = votes("a", 1, "x", "y", "z") + votes("b", 0, "x", "y")
    assert decide(given, Trust(), held_out=(), learned={}, texts={"a"}, rows=1_000) == [
        Decided("a", 1, 0, 3, "taken"),
        Decided("b", 0, 2, 0, "too_few"),
    ]


def test_a_caller_has_one_vote_on_a_review_and_may_change_it() -> None:
    again = votes("a", 1, "x", "x", "x", "x")
    assert decided(again) == {"a": "too_few"}
    changed = votes("a", 1, "x", "y", "z") + votes("a", 0, "z")
    assert decided(changed) == {"a": "disputed"}
    assert decided(changed + votes("a", 1, "z")) == {"a": "taken"}


@pytest.mark.parametrize(("against", "outcome"), [(1, "taken"), (2, "disputed")])
def test_hardly_anybody_may_say_otherwise(against: int, outcome: str) -> None:
    given = votes("a", 1, *(f"for-{n}" for n in range(10))) + votes("a", 0, *(f"against-{n}" for n in range(against)))
    assert decided(given) == {"a": outcome}


def test_what_models_are_judged_on_and_what_is_learned_already_stay_as_they_are() -> None:
    given = [vote for digest in "abcde" for vote in votes(digest, 1, "x", "y", "z")]
    found = decide(given, Trust(), held_out={"a"}, learned={"b": 1, "c": 0, "d": None}, texts={"a"}, rows=1_000)
    assert {each.digest: each.outcome for each in found} == {
        "a": "held_out", "b": "known", "c": "against_train", "d": "against_train", "e": "without_text",
    }  # fmt: skip


def test_one_gang_of_callers_is_behind_a_bounded_share() -> None:
    gang = [vote for n in range(200) for vote in votes(f"g{n}", 0, "x", "y", "z")]
    honest = [vote for n in range(50) for vote in votes(f"h{n}", 1, *(f"{name}{n}" for name in "abc"))]
    found = decide(
        gang + honest,
        Trust(caller_share=0.2),
        held_out=(),
        learned={},
        texts={vote.digest for vote in gang + honest},
        rows=10_000,
    )
    taken = [each.digest for each in found if each.outcome == "taken"]
    assert sum(digest.startswith("h") for digest in taken) == 50
    assert sum(digest.startswith("g") for digest in taken) == 40, "a fifth of the 200 places that there are"


def test_all_together_are_a_bounded_share_and_the_most_agreed_come_first() -> None:
    given = [vote for n in range(8) for vote in votes("abcdefgh"[n], 1, *(f"c{n}-{m}" for m in range(3 + n)))]
    outcomes = decided(given, Trust(share=0.02), rows=150)
    assert [digest for digest, outcome in outcomes.items() if outcome == "taken"] == ["h", "g", "f"]
    assert set(outcomes.values()) == {"taken", "over_share"}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"callers": 0}, "callers is 0; it must be at least 1"),
        ({"share": 0.0}, r"share is 0\.0; it must be above 0 and at most 1"),
        ({"caller_share": 1.5}, r"caller_share is 1\.5"),
        ({"agreement": 0.5}, r"agreement is 0\.5; it must be above 0\.5, or both labels could have it"),
    ],
)
def test_trust_has_bounds(setting: dict[str, float], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        Trust(**setting)  # type: ignore[arg-type]
