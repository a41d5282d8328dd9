from collections.abc import Callable

import pytest

from data.errors import SettingError
from serving.errors import RolloutRefused
from serving.rollout.state import State

OLD, NEW = "koelectra-nsmc:v1", "koelectra-nsmc:v2"
FIRST = State.beginning(OLD)
STAGED = FIRST.stage(NEW)
PROMOTED = STAGED.weigh(10).mirror(50).promote(watched_until=99.0)


def test_a_whole_rollout_and_back() -> None:
    assert (FIRST.live, FIRST.other, FIRST.generation) == (OLD, None, 0)
    assert (STAGED.live, STAGED.other, STAGED.role, STAGED.trial) == (OLD, NEW, "staged", 1)
    assert (PROMOTED.live, PROMOTED.other, PROMOTED.role) == (NEW, OLD, "previous")
    assert (PROMOTED.live_slot, PROMOTED.weight, PROMOTED.shadow, PROMOTED.watched_until) == ("green", 0.0, 50.0, 99.0)
    assert PROMOTED.trial == PROMOTED.generation == 4
    back = PROMOTED.rollback()
    assert (back.live, back.other, back.role, back.shadow, back.watched_until) == (OLD, NEW, "staged", 0.0, 0.0)
    assert back.release() == FIRST.stage(NEW).release().__class__(6, OLD, None, "blue", trial=5)
    assert PROMOTED.release().stage("koelectra-nsmc:v3").blue == "koelectra-nsmc:v3"


def test_rollback_takes_traffic_from_what_is_only_staged() -> None:
    back = STAGED.weigh(30).mirror(5).rollback()
    assert (back.live, back.other, back.weight, back.shadow) == (OLD, NEW, 0.0, 0.0)


@pytest.mark.parametrize(
    ("move", "message"),
    [
        (lambda: FIRST.stage(OLD), f"{OLD} is live already, in blue"),
        (lambda: STAGED.stage(NEW), f"{NEW} is staged already, in green"),
        (lambda: STAGED.stage("x:1"), rf"green still holds {NEW} \(staged\); `release` it"),
        (lambda: PROMOTED.stage("x:1"), rf"blue still holds {OLD} \(previous\); `release` it"),
        (lambda: FIRST.weigh(10), "nothing is staged"),
        (lambda: PROMOTED.weigh(10), "nothing is staged"),
        (lambda: STAGED.weigh(101), "weight is 101; it is a share in percent, from 0 to 100"),
        (lambda: STAGED.mirror(-1), "shadow is -1"),
        (lambda: STAGED.mirror(float("nan")), "shadow is nan"),
        (lambda: FIRST.mirror(10), "the other slot is empty"),
        (lambda: FIRST.promote(0.0), "nothing is staged"),
        (lambda: PROMOTED.promote(0.0), "nothing is staged"),
        (lambda: FIRST.rollback(), f"nothing to go back to: only {OLD}"),
        (lambda: STAGED.rollback(), f"{OLD} is live already, and {NEW} has no traffic"),
        (lambda: FIRST.release(), "the other slot is empty"),
    ],
)
def test_a_move_that_makes_no_sense_is_refused_with_what_to_do(move: Callable[[], State], message: str) -> None:
    with pytest.raises(RolloutRefused, match=message):
        move()


def test_json() -> None:
    assert State.from_json(PROMOTED.to_json()) == PROMOTED
    assert State.from_json(FIRST.to_json().encode()) == FIRST
    for text in ("{}", "[]", PROMOTED.to_json().replace('"generation": 4', '"generation": "4"')):
        with pytest.raises(SettingError):
            State.from_json(text)
