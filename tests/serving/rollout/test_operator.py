"""Commands against a folder, with workers that report what they are told to."""

from pathlib import Path
from typing import Any

import pytest

from serving.errors import RolloutRefused
from serving.rollout.gates import Limits
from serving.rollout.operator import Operator, Order
from serving.rollout.state import State
from serving.rollout.store import Change, FileStore
from tests.serving.rollout.test_gates import conduct, like, reviews, seen

OLD, NEW = "m:1", "m:2"


class Fleet:
    """A folder, an operator, and workers."""

    def __init__(self, folder: Path) -> None:
        self.store = FileStore(folder)
        self.operator = Operator(self.store, Limits(), 60.0)

    async def worker(self, name: str, *ready: str, live: str = OLD, **problems: str) -> None:
        state = await self.store.read()
        report = {"worker": name, "generation": state.generation if state else 0, "live": live, "ready": list(ready)}
        told = {tag.replace("_", ":"): problem for tag, problem in problems.items()}
        behaviour = {tag: conduct(number).as_dict() for number, tag in enumerate(ready)}
        await self.store.report(name, report | {"problems": told, "behaviour": behaviour}, 0, {})

    async def order(self, command: str, value: Any = None, *, force: bool = False) -> State:
        return await self.operator.carry_out(
            Order(command, "kim", "why not", None if value is None else str(value), force)
        )


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


async def test_a_rollout_that_is_good(fleet: Fleet) -> None:
    await fleet.worker("a", OLD)
    await fleet.order("stage", NEW)
    await fleet.worker("a", OLD, NEW)
    await fleet.order("weight", 10)
    await fleet.order("shadow", 100)
    old = reviews(2_000, 1)
    trial = (await fleet.operator.status())["trial"]
    (report,) = await fleet.store.reports()
    await fleet.store.report("a", report, trial, seen(old, like(old, 2)))
    assert (await fleet.operator.status())["gates_passed"] is True
    state = await fleet.order("promote")
    assert (state.live, state.other) == (NEW, OLD)
    status = await fleet.operator.status()
    assert (status["behind"], status["gates_passed"]) == (["a"], None)
    assert (await fleet.order("rollback")).live == OLD
    entries = await fleet.operator.history()
    assert [entry.what for entry in entries] == [f"stage {NEW}", "weight 10", "shadow 100", "promote", "rollback"]
    assert [(entry.before, entry.after) for entry in entries[-2:]] == [(OLD, NEW), (NEW, OLD)]
    assert entries[3].figures["disagreement"] == 1.0
    assert {entry.who for entry in entries} == {"kim"}


async def test_what_is_live_at_first_is_what_workers_say(fleet: Fleet) -> None:
    with pytest.raises(RolloutRefused, match="no worker is alive to say what it serves"):
        await fleet.order("stage", NEW)
    await fleet.worker("a", OLD)
    await fleet.worker("b", NEW, live=NEW)
    with pytest.raises(RolloutRefused, match=rf"workers serve different models \({OLD}, {NEW}\)"):
        await fleet.order("stage", NEW)


async def test_no_traffic_before_all_workers_are_ready(fleet: Fleet) -> None:
    await fleet.worker("a", OLD)
    await fleet.worker("b", OLD)
    await fleet.order("stage", NEW)
    await fleet.worker("a", OLD, NEW)
    for command, value in (("weight", 10), ("promote", None)):
        with pytest.raises(RolloutRefused, match=r"1 of 2 workers are not ready for m:2: b: still loading"):
            await fleet.order(command, value, force=True)
    await fleet.worker("b", OLD, m_2="model.onnx was changed")
    with pytest.raises(RolloutRefused, match=r"b: model\.onnx was changed"):
        await fleet.order("weight", 10)
    await fleet.order("weight", 0)


async def test_gates_hold_a_promotion_back_unless_it_is_forced(fleet: Fleet) -> None:
    await fleet.worker("a", OLD)
    await fleet.order("stage", NEW)
    await fleet.worker("a", OLD, NEW)
    with pytest.raises(RolloutRefused, match=r"too little was seen.*disagreement: 0 of 0"):
        await fleet.order("promote")
    old = reviews(2_000, 1)
    await fleet.store.report("b", {"worker": "b", "generation": 1, "live": OLD, "ready": [OLD, NEW], "problems": {}},
                             1, seen(old, 1 - old))  # fmt: skip
    with pytest.raises(RolloutRefused, match=r"gates fail: disagreement: 2,000 of 2,000 \(100.0%\)"):
        await fleet.order("promote")
    assert (await fleet.order("promote", force=True)).live == NEW
    (*_, entry) = await fleet.operator.history()
    assert (entry.what, entry.figures["disagreement"]) == ("promote --force", 0.0)


async def test_of_two_operators_at_once_one_is_told(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    await fleet.worker("a", OLD)
    await fleet.order("stage", NEW)
    staged = await fleet.store.read()
    assert staged is not None
    gates = fleet.operator.gates

    async def somebody_else(state: State) -> Any:
        await fleet.store.change(Change(staged.release(), "lee", "release", "", OLD, OLD, {}), staged.generation)
        return await gates(state)

    monkeypatch.setattr(fleet.operator, "gates", somebody_else)
    with pytest.raises(RolloutRefused, match=r"somebody else changed the rollout meanwhile \(it was generation 1\)"):
        await fleet.order("shadow", 10)


@pytest.mark.parametrize(
    ("command", "value", "message"),
    [
        ("stage", None, "stage takes the tag of a model"),
        ("weight", "many", "weight takes a share in percent, from 0 to 100, not 'many'"),
        ("shadow", None, "shadow takes a share"),
        ("destroy", None, "there is no command 'destroy'; there are stage, weight"),
    ],
)
async def test_commands_that_are_none(fleet: Fleet, command: str, value: str | None, message: str) -> None:
    await fleet.worker("a", OLD)
    with pytest.raises(RolloutRefused, match=message):
        await fleet.order(command, value)


async def test_a_tag_that_the_store_lacks_is_told_before_anything_moves(tmp_path: Path) -> None:
    def known(tag: str) -> None:
        raise RolloutRefused(f"the model store has no {tag}")

    fleet = Fleet(tmp_path)
    fleet.operator = Operator(fleet.store, Limits(), 60.0, known)
    await fleet.worker("a", OLD)
    with pytest.raises(RolloutRefused, match="has no m:9"):
        await fleet.order("stage", "m:9")
    assert await fleet.store.read() is None
