"""Both stores, side by side: what one does, the other does."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from data.ledger import LedgerBroken, verify
from serving.errors import RolloutUnreachable
from serving.rollout.observed import Pair
from serving.rollout.redis_store import RedisStore
from serving.rollout.state import State
from serving.rollout.store import Change, FileStore, StateStore
from tests.proxy import Proxy, proxy
from tests.redis_server import RedisServer, redis_server

FIRST = State.beginning("m:1").stage("m:2")
Make = Callable[[], StateStore]


def change(state: State, what: str = "stage m:2") -> Change:
    return Change(state, "kim", what, "because", "m:1", state.live, {"errors": 1.0})


@pytest.fixture(params=["folder", "redis"])
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes stores of one place, as several processes have them."""
    made: list[StateStore] = []

    def one(build: Make) -> StateStore:
        made.append(build())
        return made[-1]

    if request.param == "folder":
        yield lambda: one(lambda: FileStore(tmp_path / "rollout"))
        return
    with redis_server(tmp_path) as server:
        yield lambda: one(lambda: RedisStore(server.url, "fleet"))
        for store in made:
            await store.close()


async def test_nothing_at_first_then_what_was_written(make: Make) -> None:
    writer, reader = make(), make()
    assert await reader.read() is None
    assert await reader.history() == []
    assert await writer.change(change(FIRST), 0)
    assert await reader.read() == FIRST
    (entry,) = await reader.history()
    assert (entry.number, entry.who, entry.what, entry.after, entry.figures) == (
        1, "kim", "stage m:2", "m:1", {"errors": 1.0},
    )  # fmt: skip
    assert abs(entry.at - time.time()) < 5


async def test_of_many_writers_one_wins_and_the_ledger_has_no_other(make: Make) -> None:
    stores = [make() for _ in range(8)]
    won = await asyncio.gather(*(store.change(change(FIRST), 0) for store in stores))
    assert won.count(True) == 1
    following = FIRST.weigh(10)
    won = await asyncio.gather(*(store.change(change(following), 1) for store in stores))
    assert won.count(True) == 1
    assert not await stores[0].change(change(following), 1)
    entries = await stores[0].history()
    assert len(entries) == 2
    verify(entries)


async def test_a_change_is_noticed_at_once_and_silence_after_a_while(make: Make) -> None:
    writer, reader = make(), make()
    await reader.read()
    await reader.changed(0.05)  # Redis subscribes
    await reader.read()
    started = time.monotonic()
    await reader.changed(0.3)
    assert 0.25 < time.monotonic() - started < 1.0
    waiting = asyncio.create_task(reader.changed(5.0))
    await asyncio.sleep(0.1)
    started = time.monotonic()
    await writer.change(change(FIRST), 0)
    await waiting
    assert time.monotonic() - started < 0.5


async def test_workers_report_and_what_they_observed_outlives_them(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one, another = make(), make()
    await one.report("a-1", {"worker": "a-1", "live": "m:1"}, 3, {"pairs": 10, "shift": 0.5})
    await one.report("a-1", {"worker": "a-1", "live": "m:2"}, 3, {"pairs": 12, "shift": 0.25})
    await another.report("b-1", {"worker": "b-1", "live": "m:1"}, 3, {"pairs": 5})
    await another.report("b-1", {"worker": "b-1", "live": "m:1"}, 4, {})
    assert [(report["worker"], report["live"]) for report in await one.reports()] == [("a-1", "m:2"), ("b-1", "m:1")]
    assert await one.observed(3) == {"pairs": 17.0, "shift": 0.25}
    assert await one.observed(4) == {}
    if isinstance(one, FileStore):
        os.utime(tmp_path / "rollout" / "workers" / "a-1.json", (1, 1))
    else:
        monkeypatch.setattr("serving.rollout.redis_store.ALIVE_S", 0.01)
        await one.report("a-1", {"worker": "a-1", "live": "m:2"}, 5, {})
        await asyncio.sleep(0.1)
    assert [report["worker"] for report in await one.reports()] == ["b-1"]
    assert (await one.observed(3))["pairs"] == 17.0


async def test_what_both_models_said_is_logged_and_the_log_has_an_end(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.rollout.store.LOGGED", 5)
    monkeypatch.setattr("serving.rollout.redis_store.LOGGED", 5)
    one, another = make(), make()
    pairs = [Pair(f"{number:024x}", 0.25, 1.0, "부정", "긍정") for number in range(8)]
    assert await one.logged(3) == []
    await one.log("a-1", 3, pairs[:2])
    await another.log("a-1", 3, pairs[2:7])
    await one.log("a-1", 3, pairs[7:])
    await one.log("a-1", 4, pairs[:1])
    logged = await another.logged(3)
    assert logged in (pairs[:5], pairs[:7])
    assert await another.logged(4) == pairs[:1]


async def test_old_trials_are_forgotten(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    for trial in (0, FIRST.trial):
        await store.log("a-1", trial, [Pair("0" * 24, 0.5, 0.5, "중립", "중립")])
        await store.report("a-1", {"worker": "a-1"}, trial, {"pairs": 1})
    for kind in ("shadow", "observed"):
        os.utime(tmp_path / kind / "0", (1, 1))
    await store.change(change(FIRST), 0)
    assert (await store.logged(0), await store.observed(0)) == ([], {})
    assert (len(await store.logged(FIRST.trial)), await store.observed(FIRST.trial)) == (1, {"pairs": 1.0})


async def test_a_log_that_nobody_here_wrote_is_told(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    await store.log("a-1", 3, [Pair("0" * 24, 0.5, 0.5, "중립", "중립")])
    log = tmp_path / "shadow" / "3" / "a-1.jsonl"
    log.write_text('["0", 1]\n["0", 0.5')
    with pytest.raises(RolloutUnreachable, match="it is no line of a shadow log"):
        await store.logged(3)
    log.write_text('["0", 0.5')
    assert await store.logged(3) == [], "a line without an end is still being written"


async def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    store = FileStore(file / "rollout")
    with pytest.raises(RolloutUnreachable, match="the rollout's folder rollout cannot be used: Not a directory"):
        await store.read()
    with pytest.raises(RolloutUnreachable):
        await store.change(change(FIRST), 0)


@pytest.mark.parametrize("text", ["{}", "not json", json.dumps([1])])
async def test_a_state_that_nobody_here_wrote_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(RolloutUnreachable, match="holds what nobody here wrote"):
        await FileStore(tmp_path).read()


async def test_a_changed_ledger_is_found(make: Make, tmp_path: Path) -> None:
    store = make()
    for generation in range(3):
        await store.change(change(replace(FIRST, generation=generation + 1)), generation)
    if isinstance(store, FileStore):
        ledger = tmp_path / "rollout" / "ledger.jsonl"
        ledger.write_text(ledger.read_text().replace("kim", "lee", 1))
        with pytest.raises(LedgerBroken, match="entry 2 does not follow"):
            verify(await store.history())


async def test_a_redis_that_is_gone_is_told_in_time(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    store = RedisStore(server.url, "fleet")
    await store.change(change(FIRST), 0)
    await store.changed(0.01)
    server.stop()
    started = time.monotonic()
    with pytest.raises(RolloutUnreachable, match="Redis, which keeps the rollout, cannot be reached"):
        await store.read()
    with pytest.raises(RolloutUnreachable):
        await store.changed(1.0)
    assert time.monotonic() - started < 5
    await store.close()


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Proxy]:
    """A proxy in front of a Redis."""
    with redis_server(tmp_path) as server, proxy(server.socket) as between:
        yield between


async def test_a_change_whose_connection_is_lost_is_made_once(faulty: Proxy) -> None:
    store = RedisStore(faulty.url, "fleet")
    faulty.cut_before = b"EVAL"
    assert await store.change(change(FIRST), 0)
    faulty.cut_after = b"EVAL"
    assert await store.change(change(FIRST.weigh(10), "weight 10"), 1)
    assert faulty.cuts == 2
    assert await store.read() == FIRST.weigh(10)
    entries = await store.history()
    verify(entries)
    assert [entry.what for entry in entries] == ["stage m:2", "weight 10"]
    await store.close()


async def test_where_redis_goes_in_the_middle_of_a_change_it_says_that_nobody_knows(faulty: Proxy) -> None:
    store = RedisStore(faulty.url, "fleet")
    assert await store.change(change(FIRST), 0)
    faulty.cut_after, faulty.down_after_cut = b"EVAL", True
    with pytest.raises(RolloutUnreachable, match="whether the change was made, `status` says"):
        await store.change(change(FIRST.weigh(10), "weight 10"), 1)
    with pytest.raises(RolloutUnreachable, match=r"cannot be reached: ConnectionError$"):
        await store.read()
    faulty.down = False
    assert await store.read() == FIRST.weigh(10), "it was"
    assert [entry.what for entry in await store.history()] == ["stage m:2", "weight 10"]
    assert not await store.change(change(FIRST.weigh(10), "weight 10"), 1), "given again, it is seen to be old"
    await store.close()


async def test_what_is_just_being_written_is_not_read(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    await store.report("a-1", {"worker": "a-1", "live": "m:1"}, 1, {"pairs": 2})
    for folder in ("workers", "observed/1"):
        (tmp_path / folder / ".b-1-x7.json").touch()
    assert [report["worker"] for report in await store.reports()] == ["a-1"]
    assert await store.observed(1) == {"pairs": 2}
