"""Callers take turns by tokens; one alone is served in its own order."""

from collections import Counter

from serving import fairness
from serving.fairness import FairQueue


def served(queue: FairQueue[tuple[str, int]], count: int) -> list[tuple[str, int]]:
    out = []
    for _ in range(count):
        waiting = queue.take()
        queue.give_back([])
        queue.serve(waiting)
        out.append(waiting.item)
    return out


def test_one_caller_is_served_in_its_own_order() -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for number in range(100):
        queue.add(("a", number), "a", 1 + number % 7)
    assert served(queue, 100) == [("a", number) for number in range(100)]


def test_who_comes_late_does_not_wait_behind_a_flood() -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for number in range(1_000):
        queue.add(("flood", number), "flood", 10)
    served(queue, 50)
    for number in range(3):
        queue.add(("late", number), "late", 10)
    assert [name for name, _ in served(queue, 8)].count("late") == 3
    assert len(queue) == 1_000 + 3 - 58


def test_shares_are_of_tokens_and_not_of_requests() -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for number in range(600):
        queue.add(("short", 10), "short", 10)
        if number < 60:
            queue.add(("long", 100), "long", 100)
    tokens: Counter[str] = Counter()
    for name, cost in served(queue, 330):
        tokens[name] += cost
    assert abs(tokens["short"] - tokens["long"]) <= 100


def test_whoever_has_waited_with_nothing_has_saved_nothing() -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for number in range(100):
        queue.add(("busy", number), "busy", 10)
    served(queue, 100)
    for number in range(20):
        queue.add(("idle", number), "idle", 10)
        queue.add(("busy", number), "busy", 10)
    assert [name for name, _ in served(queue, 10)].count("busy") == 5


def test_what_is_given_back_stands_where_it_stood() -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for number in range(10):
        queue.add(("a", number), f"{number % 3}", 5)
    order = list(queue)
    taken = [queue.take() for _ in range(6)]
    assert list(queue) == order[6:]
    assert queue.first == order[6]
    queue.give_back(taken[1:3] + taken[4:])
    assert list(queue) == [*order[1:3], *order[4:]]
    assert len(queue) == 8


def test_callers_that_are_gone_are_forgotten() -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for number in range(100):
        queue.add(("flood", number), "flood", 5)
    for number in range(10 * fairness.REMEMBERED):
        queue.add(("a", number), f"caller-{number}", 5)
        served(queue, 1)
    assert len(queue._ends) <= fairness.REMEMBERED
    assert "flood" in queue._ends, "who waits most is not forgotten"
    served(queue, len(queue))
    assert not queue._ends
