"""The retry policy: pure, with a clock and random numbers that the tests set."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from nsmc_sentiment import calls
from nsmc_sentiment.calls import Flags
from nsmc_sentiment.course import Course, Done, Pause
from nsmc_sentiment.errors import (
    ConnectionFailed,
    CorrectionNotKept,
    DeadlineExceeded,
    Overloaded,
    RequestRejected,
    SentimentError,
    ServiceUnavailable,
    UnexpectedAnswer,
)
from nsmc_sentiment.outcomes import Answered, Broken
from nsmc_sentiment.retry import RetryBudget, RetryPolicy, retry_after_s

NOW = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)
BROKEN = Broken(ConnectionFailed, "no connection")
HEALTH = b'{"status":"unhealthy","model_loaded":false,"redis_connected":false,"timestamp":"2024-12-15T10:30:00Z"}'


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def course(
    policy: RetryPolicy | None = None,
    *,
    timeout_s: float = 30.0,
    budget: RetryBudget | None = None,
    clock: Clock | None = None,
    draw: float = 0.5,
    call: calls.Call[Any] | None = None,
) -> Course[Any]:
    return Course(
        call or calls.analyze("비밀리뷰", Flags(), "mine-1"),
        timeout_s,
        policy or RetryPolicy(),
        budget or RetryBudget(0.1, 10),
        clock=clock or Clock(),
        draw=lambda: draw,
    )


def answered(status: int, **headers: str) -> Answered:
    return Answered(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


def paused_s(step: Done[Any] | Pause) -> float:
    assert isinstance(step, Pause)
    return step.wait_s


@pytest.mark.parametrize(
    ("value", "date", "expected"),
    [
        (None, None, None),
        ("7", None, 7.0),
        (" 7 ", None, 7.0),
        ("0", None, 0.0),
        ("-1", None, None),
        ("1.5", None, None),
        ("soon", None, None),
        ("", None, None),
        ("9" * 5_000, None, None),
        ("Mon, 23 Nov 2026 13:00:05 GMT", None, 5.0),
        ("Monday, 23-Nov-26 13:00:05 GMT", None, 5.0),
        ("Mon Nov 23 13:00:05 2026", None, 5.0),
        ("Mon, 23 Nov 2026 12:59:00 GMT", None, 0.0),
        # the service's clock is an hour ahead of ours
        ("Mon, 23 Nov 2026 14:00:05 GMT", "Mon, 23 Nov 2026 14:00:00 GMT", 5.0),
        ("Mon, 23 Nov 2026 13:00:05 GMT", "yesterday", 5.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, date: str | None, expected: float | None) -> None:
    assert retry_after_s(value, date, NOW) == expected
    assert retry_after_s(value, date, NOW.astimezone(timezone(timedelta(hours=9)))) == expected


def test_waits_grow_to_a_ceiling_and_jitter_is_full() -> None:
    policy = RetryPolicy(first_wait_s=0.2, longest_wait_s=1.0)
    assert [policy.wait_s(retry, None, lambda: 1.0) for retry in range(1, 6)] == [0.2, 0.4, 0.8, 1.0, 1.0]
    assert policy.wait_s(3, None, lambda: 0.0) == 0.0
    assert policy.wait_s(3, None, lambda: 0.25) == pytest.approx(0.2)


def test_no_wait_is_shorter_than_was_asked_for() -> None:
    policy = RetryPolicy(first_wait_s=0.2, longest_wait_s=1.0)
    assert policy.wait_s(1, 7.0, lambda: 0.0) == 7.0
    assert policy.wait_s(1, 7.0, lambda: 0.5) == pytest.approx(7.1), "and its callers do not all come back at once"


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"first_wait_s": -1.0},
        {"first_wait_s": 2.0, "longest_wait_s": 1.0},
        {"longest_wait_s": float("nan")},
        {"budget_ratio": 1.5},
        {"budget_reserve": -1},
    ],
)
def test_a_policy_outside_its_ranges_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetryPolicy(**wrong)


@pytest.mark.parametrize(("ratio", "reserve"), [(0.1, 10), (0.2, 0), (0.0, 3), (0.0, 0), (1.0, 1)])
def test_the_budget_bounds_retries_over_time(ratio: float, reserve: int) -> None:
    budget = RetryBudget(ratio, reserve)
    retries = 0
    for number in range(1, 1_001):
        budget.deposit()
        while budget.withdraw():
            retries += 1
        assert retries <= reserve + ratio * number + 1e-6
    assert retries >= ratio * 1_000 - 1, "and what it allows can be used"


def test_quiet_hours_save_up_no_storm() -> None:
    budget = RetryBudget(0.1, 10)
    for _ in range(100_000):
        budget.deposit()
    assert sum(budget.withdraw() for _ in range(1_000)) == 10


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_passing_statuses_are_retried_until_the_attempts_are_used_up(status: int) -> None:
    run = course(RetryPolicy(max_attempts=3, first_wait_s=0.2))
    assert paused_s(run.after(answered(status))) == pytest.approx(0.1)
    assert paused_s(run.after(answered(status))) == pytest.approx(0.2)
    with pytest.raises(
        ServiceUnavailable, match=r"after 3 attempts: that is max_attempts \(request mine-1\)"
    ) as caught:
        run.after(answered(status))
    assert caught.value.status == status
    assert isinstance(caught.value, Overloaded) is (status == 429)


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, UnexpectedAnswer), (404, UnexpectedAnswer), (302, UnexpectedAnswer), (500, ServiceUnavailable)],
)
def test_other_statuses_end_the_call_at_once(status: int, error: type[SentimentError]) -> None:
    with pytest.raises(error):
        course().after(answered(status))


@pytest.mark.parametrize("error", [DeadlineExceeded, UnexpectedAnswer])
def test_of_broken_attempts_only_connections_are_retried(error: type[SentimentError]) -> None:
    assert isinstance(course().after(BROKEN), Pause)
    with pytest.raises(error):
        course().after(Broken(error, "so it is"))


def test_what_only_an_operator_can_change_is_not_retried_and_costs_nothing() -> None:
    budget = RetryBudget(0.0, 1)
    call = calls.correct("부정", text="비밀리뷰")
    headers = {"content-type": "application/problem+json", "retry-after": "1"}
    body = b'{"type":"urn:nsmc-sentiment:problem:%s"}'
    with pytest.raises(CorrectionNotKept):
        course(call=call, budget=budget).after(Answered(503, headers, body % b"no-journal"))
    assert paused_s(course(call=call, budget=budget).after(Answered(503, headers, body % b"no-model"))) >= 1.0


def test_no_attempt_begins_after_the_deadline() -> None:
    clock = Clock()
    run = course(timeout_s=2.0, clock=clock)
    assert run.left_s == 2.0
    clock.now += 1.0
    with pytest.raises(ServiceUnavailable, match=r"after the deadline of 2\.0 s") as caught:
        run.after(answered(503, retry_after="5"))
    assert caught.value.retry_after_s == 5.0
    assert paused_s(run.after(answered(503, retry_after="0"))) == pytest.approx(0.2)
    run.check()
    clock.now += 1.0
    assert run.left_s == 0.0
    with pytest.raises(DeadlineExceeded, match=r"no answer within 2.0 s \(request mine-1\)"):
        run.check()


def test_retries_that_cannot_be_made_cost_nothing() -> None:
    budget = RetryBudget(0.0, 1)
    for impossible in (
        course(RetryPolicy(max_attempts=1), budget=budget),
        course(timeout_s=0.01, budget=budget, draw=0.99),
    ):
        with pytest.raises(ConnectionFailed):
            impossible.after(BROKEN)
    assert isinstance(course(budget=budget).after(BROKEN), Pause)
    with pytest.raises(ConnectionFailed, match="the retry budget is spent"):
        course(budget=budget).after(BROKEN)


def test_every_call_brings_a_part_of_a_retry() -> None:
    budget = RetryBudget(0.5, 0)
    with pytest.raises(ConnectionFailed, match="the retry budget is spent"):
        course(budget=budget).after(BROKEN)
    assert isinstance(course(budget=budget).after(BROKEN), Pause)


def test_an_answer_ends_the_call() -> None:
    body = '{"data": {"text": "비밀리뷰", "sentiment": "중립", "score": 0.5}}'.encode()
    step = course().after(Answered(200, {"content-type": "application/json; charset=utf-8"}, body))
    assert isinstance(step, Done)
    assert (step.value.sentiment, step.value.score) == ("중립", 0.5)


def test_an_unhealthy_service_answers_but_a_gateway_does_not() -> None:
    health = calls.health(None)
    json_headers = {"content-type": "application/json"}
    step = course(call=health).after(Answered(503, json_headers, HEALTH))
    assert isinstance(step, Done)
    assert step.value.status == "unhealthy"
    for headers, body in (
        (json_headers, b'{"message":"no upstream"}'),
        ({"content-type": "text/html"}, b"<h1>503</h1>"),
        ({"content-type": "application/problem+json"}, b"{}"),
    ):
        assert isinstance(course(call=health).after(Answered(503, headers, body)), Pause)
    with pytest.raises(UnexpectedAnswer):
        course(call=health).after(Answered(200, json_headers, b'{"message":"hello"}'))


@pytest.mark.parametrize("field", ["texts[3]", "texts[3].more", "text", "", None, "texts[x]"])
def test_a_rejected_text_is_found_among_the_callers(field: str | None) -> None:
    call = calls.batch(["a"] * 8, Flags(), None, first=64)
    body = b'{"type":"t","title":"T","detail":"D"%s}' % (b"" if field is None else b',"field":"%s"' % field.encode())
    with pytest.raises(RequestRejected) as caught:
        course(call=call).after(Answered(422, {"content-type": "application/problem+json"}, body))
    assert caught.value.index == (67 if (field or "").startswith("texts[3]") else None)
    assert caught.value.field == (field or None)
