import threading
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.engine import ONE, Layout, LogitArray, Rows
from serving.engine.schedule import Cut, Schedule

Lengths = st.lists(st.integers(min_value=3, max_value=60), min_size=1, max_size=80)


class Recorder:
    """Answers each row with its first and last token, and remembers what it was called with."""

    name, precision = "recorder-cpu", "fp32"

    def __init__(self, layout: Layout = ONE) -> None:
        self.layout = layout
        self.calls: list[Rows] = []
        self.threads: set[str] = set()

    def logits(self, rows: Rows) -> LogitArray:
        self.calls.append(rows)
        self.threads.add(threading.current_thread().name)
        return np.array([[row[0], row[-1]] for row in rows], dtype=np.float32)


def padding(lengths: Sequence[int], part: Sequence[int]) -> int:
    return len(part) * max(lengths[row] for row in part) - sum(lengths[row] for row in part)


@given(lengths=Lengths, budget=st.integers(8, 400), call=st.integers(0, 100))
def test_every_row_is_in_one_call_and_no_call_is_over_the_budget(lengths: list[int], budget: int, call: int) -> None:
    parts = Cut(budget, call).parts(lengths)
    assert sorted(row for part in parts for row in part) == list(range(len(lengths)))
    for part in parts:
        assert len(part) == 1 or len(part) * max(lengths[row] for row in part) <= budget


@given(lengths=Lengths)
def test_where_a_call_costs_nothing_there_is_no_padding(lengths: list[int]) -> None:
    for part in Cut(1_000).parts(lengths):
        assert padding(lengths, part) == 0


def test_padding_is_paid_for_up_to_the_cost_of_a_call() -> None:
    lengths = [10, 10, 12, 30]
    assert Cut(1_000, call_tokens=3).parts(lengths) == [[0, 1], [2], [3]]
    assert Cut(1_000, call_tokens=4).parts(lengths) == [[0, 1, 2], [3]]
    assert Cut(1_000, call_tokens=1_000).parts(lengths) == [[0, 1, 2, 3]]
    assert Cut(36, call_tokens=1_000).parts(lengths) == [[0, 1, 2], [3]]


@given(rows=st.integers(1, 20), longest=st.integers(3, 60), more=st.integers(1, 5), length=st.integers(3, 60))
def test_who_may_join_a_call(rows: int, longest: int, more: int, length: int) -> None:
    """The padding of all rows together, counted one by one."""
    cut = Cut(600, call_tokens=40)
    before, after = [longest] * rows, [longest] * rows + [length] * more
    padded = max(after) * len(after)
    allowed = padded <= 600 and padded - sum(after) <= 40
    assert cut.admits(len(before), longest, more, length) == allowed
    assert cut.admits(0, 0, more, length)


@pytest.mark.parametrize("layout", [ONE, Layout(streams=3)])
def test_answers_come_back_in_the_order_of_the_rows(layout: Layout) -> None:
    generator = np.random.default_rng(0)
    rows = [generator.integers(5, 999, size=generator.integers(3, 40)).tolist() for _ in range(200)]
    engine = Recorder(layout)
    schedule = Schedule(engine, Cut(128, 16))
    assert schedule.logits(rows).tolist() == [[row[0], row[-1]] for row in rows]
    assert len(engine.calls) > 20
    schedule.close()
    assert all(name.startswith("engine") for name in engine.threads) == (layout.streams > 1)


def test_no_rows_are_no_calls() -> None:
    engine = Recorder()
    assert Schedule(engine, Cut(64)).logits([]).shape == (0, 2)
    assert engine.calls == []
