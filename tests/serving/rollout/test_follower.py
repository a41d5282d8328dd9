"""Workers that follow a folder: in this process, with models that are loaded at once, late, or not at all."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data.behaviour import BehaviourReport
from data.ledger import verify
from serving.cache import TieredCache
from serving.errors import ModelUnavailable
from serving.model import Model
from serving.rollout.follower import WATCH, Follower
from serving.rollout.gates import Gate, Limits
from serving.rollout.operator import Operator, Order
from serving.rollout.state import State
from serving.rollout.store import Change, FileStore
from serving.sentiment import Sentiment
from serving.slots import Slots
from serving.telemetry.metrics import Metrics
from tests.serving.conftest import DirectBatcher
from tests.serving.rollout.test_gates import conduct, reviews, seen

OLD, NEW, BROKEN = "m:1", "m:2", "m:3"


class Fleet:
    """A folder, an operator at it, and workers, each with slots of its own."""

    def __init__(self, folder: Path, model: Model, metrics: Metrics) -> None:
        self.folder, self._model, self._metrics = folder, model, metrics
        self.store = FileStore(folder)
        self.operator = Operator(self.store, Limits(), 60.0)
        self.slots: list[Slots] = []
        self.followers: list[Follower] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.loads: list[str] = []
        self.asked: list[str] = []
        self.mute = ""
        self.moved: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def sentiment(self, tag: str) -> Sentiment:
        model = replace(self._model, tag=tag)
        return Sentiment(model, DirectBatcher(model), TieredCache(0, self._metrics), self._metrics)

    async def _load(self, tag: str) -> Sentiment:
        self.loads.append(tag)
        await self.gate.wait()
        if tag == BROKEN:
            raise ModelUnavailable("the process that tried it was ended by SIGSEGV")
        return self.sentiment(tag)

    async def ask(self, tag: str) -> BehaviourReport:
        self.asked.append(tag)
        if tag == self.mute:
            raise ModelUnavailable("it ran out of memory")
        return conduct(*range(40 if tag == NEW else 3))

    def worker(self) -> Slots:
        slots = Slots(self.sentiment(OLD))
        store = FileStore(self.folder)
        operator = Operator(store, Limits(), 60.0)
        follower = Follower(
            slots,
            store,
            operator,
            self._load,
            self.ask,
            f"w-{len(self.slots)}",
            lambda state: self.moved.append(state.generation),
        )
        self.slots.append(slots)
        self.followers.append(follower)
        self.tasks.append(asyncio.create_task(follower.run()))
        return slots

    async def order(self, command: str, value: str | None = None, *, force: bool = False) -> None:
        await self.operator.carry_out(Order(command, "kim", "", value, force))

    async def until(self, holds: Callable[[], bool], limit_s: float = 3.0) -> None:
        for _ in range(round(limit_s / 0.01)):
            if holds():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it did not come to hold in time")

    async def reports(self, hold: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """As soon as what workers report is so."""
        for _ in range(500):
            if hold(found := await self.store.reports()):
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(found)

    async def reported(self, count: int = 1) -> None:
        await self.reports(lambda reports: len(reports) == count)

    async def ready(self, tag: str) -> None:
        await self.reports(lambda reports: all(tag in report["ready"] for report in reports))

    def live(self) -> set[str]:
        return {slots.live.model.tag for slots in self.slots}


@pytest.fixture
async def fleet(tmp_path: Path, model: Model, metrics: Metrics) -> AsyncIterator[Fleet]:
    fleet = Fleet(tmp_path / "rollout", model, metrics)
    yield fleet
    for task in fleet.tasks:
        task.cancel()
    await asyncio.gather(*fleet.tasks, return_exceptions=True)
    for follower in fleet.followers:
        await follower.close()


async def test_all_workers_stage_promote_and_go_back(fleet: Fleet) -> None:
    for _ in range(3):
        fleet.worker()
    await fleet.reported(3)
    await fleet.order("stage", NEW)
    await fleet.ready(NEW)
    assert fleet.live() == {OLD}
    await fleet.order("promote", force=True)
    await fleet.until(lambda: fleet.live() == {NEW}, limit_s=1.0)
    assert {slots.other.model.tag for slots in fleet.slots if slots.other} == {OLD}
    await fleet.order("rollback")
    await fleet.until(lambda: fleet.live() == {OLD}, limit_s=1.0)
    await fleet.order("release")
    await fleet.until(lambda: all(slots.other is None for slots in fleet.slots))
    assert fleet.loads == [NEW] * 3, "each once"
    assert (await fleet.operator.status())["behind"] == []


async def test_a_worker_that_comes_late_comes_up_on_what_the_state_says(fleet: Fleet) -> None:
    fleet.worker()
    await fleet.reported()
    await fleet.order("stage", NEW)
    await fleet.ready(NEW)
    await fleet.order("promote", force=True)
    fleet.worker()
    await fleet.until(lambda: fleet.live() == {NEW})


async def test_a_worker_answers_with_the_live_model_from_its_first_request(fleet: Fleet) -> None:
    fleet.worker()
    await fleet.reported()
    await fleet.order("stage", NEW)
    await fleet.ready(NEW)
    await fleet.order("promote", force=True)
    slots = Slots(fleet.sentiment(OLD))
    late = Follower(slots, fleet.store, fleet.operator, fleet._load, fleet.ask, "late")
    await late.come_up()
    assert slots.live.model.tag == NEW
    alone = Follower(slots, FileStore(fleet.folder / "state.json"), fleet.operator, fleet._load, fleet.ask, "alone")
    await alone.come_up()  # its store cannot be reached; it comes up nevertheless


async def test_a_live_model_that_could_not_be_loaded_is_tried_again(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.rollout.follower.RETRY_S", 0.2)
    fleet.worker()
    await fleet.reported()
    broken = (State.beginning(OLD)).stage(BROKEN).promote(0.0)
    await fleet.store.change(Change(broken, "kim", "promote", "", OLD, BROKEN, {}), 0)
    await fleet.until(lambda: fleet.loads.count(BROKEN) >= 2)
    assert fleet.live() == {OLD}


async def test_a_worker_goes_on_following_whatever_went_wrong(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fleet.worker()
    await fleet.reported()
    with monkeypatch.context() as odd:
        odd.setattr(fleet.followers[0], "_report", lambda: 1 / 0)
        await fleet.until(lambda: "ZeroDivisionError" in caplog.text)
    await fleet.order("stage", NEW)
    await fleet.ready(NEW)


async def test_what_cannot_be_loaded_is_told_and_disturbs_nothing(fleet: Fleet) -> None:
    slots = fleet.worker()
    await fleet.reported()
    await fleet.order("stage", BROKEN)
    (report,) = await fleet.reports(lambda reports: bool(reports[0]["problems"]))
    assert report["problems"] == {BROKEN: "the process that tried it was ended by SIGSEGV"}
    assert (slots.live.model.tag, slots.other) == (OLD, None)
    await asyncio.sleep(1.2)
    assert fleet.loads == [BROKEN], "it is not tried again and again"
    await fleet.order("release")
    await fleet.order("stage", BROKEN)
    await fleet.until(lambda: fleet.loads == [BROKEN, BROKEN])


async def test_a_state_that_was_deleted_is_written_again(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        fleet.worker()
    await fleet.reported(3)
    await fleet.order("stage", NEW)
    await fleet.ready(NEW)
    await fleet.order("promote", force=True)
    await fleet.until(lambda: fleet.live() == {NEW})
    await fleet.until(lambda: fleet.moved.count(2) == 3)
    (fleet.folder / "state.json").unlink()
    await fleet.until(lambda: (fleet.folder / "state.json").exists())
    state = await fleet.store.read()
    assert state is not None
    assert (state.generation, state.live, state.other) == (3, NEW, OLD)
    await asyncio.sleep(0.3)
    assert fleet.live() == {NEW}
    entries = await fleet.operator.history()
    verify(entries)
    assert [entry.what for entry in entries].count("restore") == 1
    assert "the rollout's state was gone" in caplog.text


async def test_a_folder_that_is_gone_changes_nothing_until_it_is_back(fleet: Fleet, tmp_path: Path) -> None:
    fleet.worker()
    await fleet.reported()
    await fleet.order("stage", NEW)
    await fleet.ready(NEW)
    away = tmp_path / "away"
    fleet.folder.rename(away)
    fleet.folder.write_text("")
    await fleet.until(lambda: fleet.followers[0].cut_off)
    assert fleet.live() == {OLD}
    fleet.folder.unlink()
    away.rename(fleet.folder)
    await fleet.until(lambda: not fleet.followers[0].cut_off)
    await fleet.order("promote", force=True)
    await fleet.until(lambda: fleet.live() == {NEW})


async def test_a_promotion_that_turns_out_bad_takes_itself_back(fleet: Fleet) -> None:
    for _ in range(2):
        fleet.worker()
    await fleet.reported(2)
    await fleet.order("stage", NEW)
    await fleet.ready(NEW)
    await fleet.order("promote", force=True)
    await fleet.until(lambda: fleet.live() == {NEW})
    old = reviews(200, 1)
    fleet.slots[0].observed.counts.update(seen(old, 1 - old))
    await fleet.until(lambda: fleet.live() == {OLD}, limit_s=5.0)
    (*_, entry) = await fleet.operator.history()
    assert (entry.who, entry.what, entry.before, entry.after) == (WATCH, "rollback", NEW, OLD)
    assert entry.why.startswith("disagreement: 200 of 200")


async def test_both_models_go_through_the_behaviour_suite_once_they_are_beside_each_other(fleet: Fleet) -> None:
    slots = fleet.worker()
    await fleet.reported()
    assert not fleet.asked, "alone, there is nothing to compare it with"
    await fleet.order("stage", NEW)

    async def gate() -> Gate:
        state = await fleet.store.read()
        assert state is not None
        return (await fleet.operator.gates(state))[-1]

    await fleet.reports(lambda reports: len(reports[0]["behaviour"]) == 2)
    found = await gate()
    assert (found.name, found.passed) == ("behaviour", False)
    assert found.detail.startswith("fails 40 of 100 cases, the other one 3")
    assert sorted(fleet.asked) == [OLD, NEW]

    await fleet.order("promote", force=True)
    await fleet.until(lambda: slots.live.model.tag == NEW)
    assert (await gate()).passed is False, "it is still the new one that is worse"
    await asyncio.sleep(1.2)
    assert slots.live.model.tag == NEW, "what was known before a forced promotion does not take it back"
    await fleet.order("rollback")
    await fleet.order("release")
    await fleet.reports(lambda reports: list(reports[0]["behaviour"]) == [OLD])
    assert sorted(fleet.asked) == [OLD, NEW], "each once"


async def test_a_model_that_cannot_be_asked_leaves_the_gate_open(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    fleet.mute = NEW
    fleet.worker()
    await fleet.reported()
    await fleet.order("stage", NEW)
    await fleet.until(lambda: "could not be asked about its behaviour: it ran out of memory" in caplog.text)
    status = await fleet.operator.status()
    assert status["gates"][-1]["detail"] == "no worker has asked both models yet"


async def test_what_both_said_is_logged_without_a_text(fleet: Fleet) -> None:
    slots = fleet.worker()
    await fleet.reported()
    await fleet.order("stage", NEW)
    await fleet.ready(NEW)
    await fleet.order("shadow", "100")
    await fleet.until(lambda: slots._shadow == 100)
    text = "비밀스러운 리뷰"
    for _ in range(3):
        await slots.turn("").analyze([text])
    await fleet.until(lambda: slots.observed.counts["pairs"] == 3)
    await fleet.until(lambda: not slots.observed.pending)
    pairs = await fleet.store.logged(1)
    assert len(pairs) == 3
    assert len(set(pairs)) == 1
    assert pairs[0].old == pairs[0].new, "it is the same model under two tags"
    everything = b"".join(file.read_bytes() for file in fleet.folder.rglob("*") if file.is_file())
    assert text.encode() not in everything
    assert json.dumps(text).encode() not in everything


async def test_what_was_seen_of_one_trial_is_not_counted_in_the_next(fleet: Fleet) -> None:
    slots = fleet.worker()
    await fleet.reported()
    await fleet.order("stage", NEW)
    await fleet.ready(NEW)
    slots.observed.counts["pairs"] = 7
    await asyncio.sleep(1.2)
    assert (await fleet.store.observed(1)).get("pairs") == 7
    await fleet.order("release")
    await fleet.order("stage", NEW)
    await fleet.until(lambda: not slots.observed.counts)
    assert (await fleet.store.observed(3)).get("pairs") is None
