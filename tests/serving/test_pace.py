"""What the queue is said to be worked off at, and that it is said of a queue alone."""

import math

import pytest

from serving.pace import Pace


def worked(pace: Pace, began: float, calls: int, tokens: int, each_s: float, *, waiting: bool = True) -> float:
    """So many calls one after the other; returns when the last was over."""
    for _ in range(calls):
        began += each_s
        pace.done(tokens, began, waiting=waiting)
    return began


def test_nothing_is_said_before_enough_was_seen() -> None:
    pace = Pace()
    worked(pace, 0.0, 20, 100, 0.01)
    assert pace.tokens_per_s == math.inf
    assert pace.seconds(1_000_000) == 0.0


def test_what_comes_out_while_something_waits() -> None:
    pace = Pace()
    worked(pace, 0.0, 100, 100, 0.01)
    assert pace.tokens_per_s == pytest.approx(10_000)
    assert pace.seconds(5_000) == pytest.approx(0.5)


def test_small_calls_of_which_none_waits_say_nothing() -> None:
    pace = Pace()
    now = worked(pace, 0.0, 100, 100, 0.01)
    worked(pace, now, 1_000, 5, 0.01, waiting=False)
    assert pace.tokens_per_s == pytest.approx(10_000, rel=0.05), "one call began while something waited"


def test_short_spells_say_nothing() -> None:
    pace, now = Pace(), 0.0
    for _ in range(200):
        now = worked(pace, now, 5, 5, 0.01)
        now = worked(pace, now, 1, 5, 0.01, waiting=False)
    assert pace.tokens_per_s == math.inf


def test_what_was_is_forgotten_in_seconds() -> None:
    pace = Pace()
    now = worked(pace, 0.0, 1_000, 100, 0.01)
    worked(pace, now, 1_500, 10, 0.01)
    assert pace.tokens_per_s == pytest.approx(1_000, rel=0.5), "three times its memory later"
