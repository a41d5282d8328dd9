"""What the tables of ``make chaos`` say of answers that are known."""

import math

from tests.chaos.load import Answer
from tests.chaos.measure import OPENING_S, RUN, Spell, again, outcome
from tests.chaos.workers import CALLERS, DYING_S, judged


def answer(
    began: float, took: float = 0.01, *, known: bool = True, status: int = 200, cached: bool = True, score: float = 0.9
) -> Answer:
    return Answer(began, began + took, "http://a", f"text {began}", known, status, "", cached, score)


def test_the_cache_is_in_use_again_with_the_first_of_many_in_a_row() -> None:
    early = [answer(1.0 + 0.01 * number) for number in range(RUN - 1)]
    missed = answer(2.0, cached=False)
    late = [answer(3.0 + 0.01 * number) for number in range(RUN)]
    new = [answer(3.001 + 0.01 * number, known=False, cached=False) for number in range(RUN)]
    found = again([*late, missed, *early, *new], 1.0)
    assert found is not None
    assert math.isclose(found, 2.01)
    assert again([*early, missed], 1.0) is None
    assert again(late, 3.005) is None  # what was asked before it was mended says nothing


def test_times_leave_out_what_began_before_breakers_could_open() -> None:
    spell = Spell(began=0.0, broken=10.0, mending=20.0, mended=21.0, ended=30.0)
    answers = [
        answer(1.0, 0.010),
        answer(10.0 + OPENING_S / 2, 5.0),
        answer(11.0, 0.025),
        answer(20.5, 5.0),
        *(answer(22.0 + 0.01 * number) for number in range(RUN)),
        answer(40.0, status=500),
    ]
    found = outcome("slow", answers, spell)
    assert (found.requests, found.failures, found.unlike) == (4 + RUN, (), 0)
    assert math.isclose(found.added_ms, 15.0)
    assert found.holds == (True, True, True)
    assert "| slow | 24 | 0 | 0 | yes | 10.0 | 25.0 | +15.0 | yes | 1.0 | yes |" in found.row


def test_marks_that_are_missed() -> None:
    spell = Spell(began=0.0, broken=10.0, mending=20.0, mended=21.0, ended=40.0)
    other = Answer(12.0, 12.5, "http://b", "text 11.0", known=True, status=200, cached=True, score=0.8)
    answers = [answer(1.0), answer(11.0), other]
    late = [answer(27.0 + 0.01 * number) for number in range(RUN)]
    found = outcome("hung", [*answers, *late], spell)
    assert (found.unlike, found.holds) == (1, (False, False, False))
    assert outcome("hung", [answer(1.0), answer(11.0, status=0), *late], spell).holds[0] is False
    never = outcome("hung", answers, spell)
    assert never.holds[2] is False
    assert "| never | NO |" in never.row


def test_what_was_in_flight_when_a_worker_was_killed_may_fail_and_nothing_else() -> None:
    under_way = [answer(9.99, 0.02, status=0), answer(10.0 + DYING_S / 2, status=0)]
    before, after = answer(9.9, status=0), answer(10.0 + 2 * DYING_S, status=500)
    assert judged("SIGKILL", [answer(1.0), *under_way], [10.0], 1).holds
    found = judged("SIGKILL", [*under_way, before, after], [10.0], 1)
    assert (found.in_flight, found.others, found.holds) == (2, (before, after), False)
    assert not judged("SIGKILL", under_way * CALLERS, [10.0], 1).holds, "a caller has one request in flight"
    assert not judged("SIGTERM", under_way, [], 1).holds
