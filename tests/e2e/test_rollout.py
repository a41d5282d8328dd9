"""Rollouts through real processes: two services of two workers, a real Redis, real load, and models that are broken."""

import asyncio
import json
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest

from benchmarks.fleet import Fleet, Load, fill_store, running
from data.bundle import MANIFEST_FILE
from data.encode import Encoder
from data.files import sha256
from data.ledger import verify
from pipelines.sign import sign
from serving.errors import RolloutRefused, RolloutUnreachable
from serving.model import Model
from tests.keys import key_pair
from tests.models import lively, write_bundle
from tests.redis_server import RedisServer, redis_server
from training.predict import logits

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

OLD, NEW, RANDOM = "tiny:1", "tiny:2", "tiny:random"
FLIPPED, WORDS, CRASHING, SLOW = "tiny:flipped", "tiny:words", "tiny:crashing", "tiny:slow"
UNSIGNED, FORGED = "tiny:unsigned", "tiny:forged"
TEXTS = [
    f"{start} {end}"
    for start in ("정말", "그냥", "배우가", "이야기가")
    for end in ("좋아요", "별로", "최고 ㅋㅋ", "아쉽다")
]
SERVICES, WORKERS = 2, 2


def flip(folder: Path) -> None:
    """One bit of the graph is another one."""
    graph = folder / "model.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)


def other_words(folder: Path) -> None:
    """Another vocabulary, and a manifest that knows its digest: only the preprocessing tells."""
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    words = tokenizer["model"]["vocab"]
    special = {token["content"] for token in tokenizer["added_tokens"]}
    plain = [word for word in words if word not in special]
    words |= dict(zip(plain, [words[word] for word in reversed(plain)], strict=True))
    file.write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    manifest["files"][file.name] = sha256(file)
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest, ensure_ascii=False), encoding="utf-8")


def slow_down(folder: Path) -> None:
    """The same answers after a hundred products that nobody needs, in a manifest that is right."""
    graph = onnx.load(folder / "model.onnx")
    wide, ids, (logits,) = 256, graph.graph.input[0].name, graph.graph.output
    spread = np.full((1, wide), 1e-3, np.float32)
    product = np.random.default_rng(0).normal(0, 0.5 / wide**0.5, (wide, wide)).astype(np.float32)
    axes = {"last": np.array([-1], np.int64), "all": np.array([1, 2], np.int64)}
    constants: dict[str, Any] = {"spread": spread, "product": product, **axes}
    graph.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())
    for node in graph.graph.node:
        node.output[:] = ["quick" if name == logits.name else name for name in node.output]
    make = onnx.helper.make_node
    nodes = [
        make("Cast", [ids], ["number"], to=onnx.TensorProto.FLOAT),  # (B, T)
        make("Unsqueeze", ["number", "last"], ["column"]),
        make("MatMul", ["column", "spread"], ["step0"]),  # (B, T, wide)
        *(make("MatMul", [f"step{step}", "product"], [f"step{step + 1}"]) for step in range(100)),
        make("ReduceSum", ["step100", "all"], ["nothing"], keepdims=0),  # (B,), and next to 0
        make("Unsqueeze", ["nothing", "last"], ["nothings"]),
        make("Add", ["quick", "nothings"], [logits.name]),
    ]
    graph.graph.node.extend(nodes)
    onnx.save(graph, folder / "model.onnx")
    manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    manifest["files"]["model.onnx"] = sha256(folder / "model.onnx")
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest, ensure_ascii=False), encoding="utf-8")


def sides(seed: int) -> list[bool]:
    """Which texts an untrained model calls positive."""
    model, tokenizer = lively(seed)
    encoder = Encoder(tokenizer, 512)
    found = logits(model, encoder.encode(TEXTS), encoder.pad_id)  # (N, 2)
    return [bool(positive > negative) for negative, positive in found]


def guessing() -> int:
    """The seed of a model that says something else of about every other text."""
    first = sides(1)
    for seed in range(2, 50):
        if 6 <= sum(one != other for one, other in zip(first, sides(seed), strict=True)) <= 10:
            return seed
    raise AssertionError("no untrained model disagrees with another")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Bento home with a good model, one as good, one that guesses, one that is slow, and five that are refused."""
    folder = tmp_path_factory.mktemp("rollout")
    private, _ = key_pair(folder)
    old = write_bundle(folder / "old", seed=1).folder
    made = {OLD: old}
    for tag in (NEW, FLIPPED, WORDS, SLOW, UNSIGNED, FORGED):
        made[tag] = folder / tag.replace(":", "-")
        shutil.copytree(old, made[tag])
    made[RANDOM] = write_bundle(folder / "random", seed=guessing()).folder
    made[CRASHING] = write_bundle(folder / "crashing", seed=3).folder  # one that this machine has not served before
    flip(made[FLIPPED])
    other_words(made[WORDS])
    slow_down(made[SLOW])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGNING_KEY", str(private))
        for tag, bundle in made.items():
            assert tag == UNSIGNED or sign(bundle)  # those that are broken, too: their digests have to tell
    other_words(made[FORGED])
    (folder / "home").mkdir()
    fill_store(folder / "home", made)
    # stands for a runtime that crashes on a graph: the probe's process is ended by a signal
    (folder / "home" / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if 'serving.rollout.probe' in ' '.join(sys.orig_argv) and 'crashing' in sys.orig_argv[-1]:\n"
        "    os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    return folder / "home"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
async def fleet(home: Path, server: RedisServer) -> AsyncIterator[Fleet]:
    surroundings = {"PYTHONPATH": str(home), "SIGNING_PUBLIC_KEY": str(home.parent / "signing.pub")}
    async with running(home, OLD, server.url, services=SERVICES, workers=WORKERS, surroundings=surroundings) as fleet:
        yield fleet


def expected(home: Path, asked: set[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """By tag and text, what the model says of it alone."""
    said = {}
    for tag in {tag for tag, _ in asked}:
        name, version = tag.split(":")
        model = Model.load(home / "models" / name / version, tag)
        for text in {text for by, text in asked if by == tag}:
            positive = float(model.positive_of([text])[0])
            said[tag, text] = max(positive, 1 - positive)
    return said


def check(load: Load, home: Path) -> None:
    """Nothing failed, and every answer is what its model says alone."""
    assert load.answers
    assert [answer for answer in load.answers if answer.status != 200] == []
    said = expected(home, {(answer.tag, answer.text) for answer in load.answers})
    wrong = [a for a in load.answers if abs(a.score - said[a.tag, a.text]) > 2e-4]
    assert wrong == []


async def failing(fleet: Fleet, name: str) -> dict[str, Any]:
    """The status once that gate, among others or not, fails."""
    for _ in range(300):
        status = await fleet.operator.status()
        if any(gate["passed"] is False for gate in status["gates"] if gate["name"] == name):
            return status
        await asyncio.sleep(0.1)
    raise AssertionError(status["gates"])


async def test_switches_and_shares_under_load_fail_nobody(fleet: Fleet, home: Path) -> None:
    load = Load(fleet.bases, TEXTS, callers=8)
    asking = asyncio.create_task(load.run())
    await fleet.order("stage", RANDOM)
    assert await fleet.staged(RANDOM) == {}
    loop = asyncio.get_running_loop()
    slowest = 0.0
    for _ in range(4):
        for command in ("promote", "rollback"):
            began = loop.time()
            await fleet.order(command, force=command == "promote")
            await fleet.settled()
            slowest = max(slowest, loop.time() - began)
            await asyncio.sleep(0.1)
    chance = random.Random(1)
    for _ in range(20):
        await fleet.order("weight", chance.randint(0, 100))
    await fleet.order("weight", 30)
    await fleet.settled()
    await asyncio.sleep(0.3)
    before = len(load.answers)
    await asyncio.sleep(3.0)
    load.stop()
    await asking
    check(load, home)
    assert slowest < 1.0, "each switch is complete on all workers within a second"
    at_30 = load.answers[before:]
    share = sum(answer.tag == RANDOM for answer in at_30) / len(at_30)
    assert abs(share - 0.3) < 4 * (0.3 * 0.7 / len(at_30)) ** 0.5 + 0.01
    assert {answer.tag for answer in load.answers} == {OLD, RANDOM}
    verify(await fleet.store.history())


async def test_what_is_broken_is_stopped_with_its_reason(fleet: Fleet, home: Path) -> None:
    load = Load(fleet.bases, [f"{text} {number}" for number in range(500) for text in TEXTS], callers=4)
    asking = asyncio.create_task(load.run())
    reasons = {
        FLIPPED: "model.onnx",
        WORDS: "fingerprint",
        CRASHING: "ended by SIGSEGV",
        UNSIGNED: "is not signed (model.sig is missing), and SIGNING_PUBLIC_KEY is set",
        FORGED: "the signature of the bundle does not hold: Signature mismatch",
        "tiny:nothing": "the model store has no tiny:nothing; of tiny it has tiny:1",
    }
    for tag, reason in reasons.items():
        await fleet.order("stage", tag)
        problems = await fleet.staged(tag)
        assert len(problems) == SERVICES * WORKERS, tag
        assert all(reason in problem for problem in problems.values()), problems
        with pytest.raises(RolloutRefused, match="4 of 4 workers are not ready"):
            await fleet.order("promote", force=True)
        await fleet.order("release")
    # what guesses, and what is slow: loaded like any other, and found in the dark
    for tag, at in ((RANDOM, "disagreement"), (SLOW, "cost")):
        await fleet.order("stage", tag)
        assert await fleet.staged(tag) == {}
        await fleet.order("shadow", 100)
        status = await failing(fleet, at)
        assert (await fleet.store.observed(status["trial"]))["pairs"] <= 2_000
        with pytest.raises(RolloutRefused, match=f"gates fail: .*{at}"):
            await fleet.order("promote")
        await fleet.order("release")
    load.stop()
    await asking
    check(load, home)
    assert {answer.tag for answer in load.answers} == {OLD}, "the live slot was never touched"


def largest_worker(fleet: Fleet) -> psutil.Process:
    """Of the first service."""
    return max(psutil.Process(fleet.processes[0].pid).children(recursive=True), key=lambda p: p.memory_info().rss)


async def test_a_worker_that_is_killed_while_a_model_is_staged(fleet: Fleet, home: Path) -> None:
    load = Load(fleet.bases, TEXTS, callers=4)
    asking = asyncio.create_task(load.run())
    await asyncio.sleep(0.5)
    await fleet.order("stage", RANDOM)
    victim = largest_worker(fleet)
    killed = time.perf_counter()
    victim.send_signal(signal.SIGKILL)
    await asyncio.sleep(6.0)  # it counts as alive for five seconds
    await fleet.workers(SERVICES * WORKERS)
    assert await fleet.staged(RANDOM) == {}
    await fleet.order("promote", force=True)
    status = await fleet.settled()
    assert len(status["workers"]) == SERVICES * WORKERS
    promoted = time.perf_counter()
    await asyncio.sleep(0.5)
    load.stop()
    await asking
    broken = [answer for answer in load.answers if answer.status != 200]
    assert len(broken) <= load.callers, "what was in flight in the worker that died"
    assert all(answer.began <= killed + 0.2 <= answer.ended + 0.5 for answer in broken)
    assert {answer.tag for answer in load.answers if answer.began > promoted} == {RANDOM}
    load.answers = [answer for answer in load.answers if answer.status == 200]
    check(load, home)


async def test_a_worker_that_comes_back_never_answers_with_what_its_bento_embeds(fleet: Fleet, home: Path) -> None:
    await fleet.order("stage", RANDOM)
    await fleet.staged(RANDOM)
    await fleet.order("promote", force=True)
    await fleet.settled()
    largest_worker(fleet).send_signal(signal.SIGKILL)
    load = Load(fleet.bases, TEXTS, callers=4)
    asking = asyncio.create_task(load.run())
    await asyncio.sleep(6.0)
    await fleet.workers(SERVICES * WORKERS)
    await fleet.settled()
    load.stop()
    await asking
    check(load, home)
    assert {answer.tag for answer in load.answers} == {RANDOM}


async def test_two_operators_at_once_and_a_state_that_is_deleted(home: Path, server: RedisServer, fleet: Fleet) -> None:
    load = Load(fleet.bases, TEXTS, callers=4)
    asking = asyncio.create_task(load.run())
    await fleet.order("stage", RANDOM)
    await fleet.staged(RANDOM)
    refused = 0
    for share in range(10):
        both = (fleet.order("weight", share), fleet.order("weight", 50 + share))
        done = await asyncio.gather(*both, return_exceptions=True)
        told = [each for each in done if isinstance(each, RolloutRefused)]
        assert len(told) <= 1
        assert all("somebody else changed the rollout meanwhile" in str(each) for each in told)
        refused += len(told)
    state = await fleet.store.read()
    history = await fleet.store.history()
    verify(history)
    assert refused > 0, "they never met"
    assert state is not None
    assert len(history) == state.generation == 1 + 20 - refused
    assert history[-1].what == f"weight {state.weight:g}"
    await fleet.settled()

    with server.client() as redis:
        redis.delete("nsmc:rollout:fleet:state")
    for _ in range(500):
        if (restored := await fleet.store.read()) is not None:
            break
        await asyncio.sleep(0.01)
    assert restored == replace(state, generation=state.generation + 1)
    await fleet.settled()
    history = await fleet.store.history()
    verify(history)
    assert [entry.what for entry in history].count("restore") == 1

    server.stop()  # and comes back with nothing
    await asyncio.sleep(1.0)
    with pytest.raises(RolloutUnreachable, match="cannot be reached"):
        await fleet.order("weight", 1)
    server.start()
    await fleet.workers(SERVICES * WORKERS)
    await fleet.settled()
    again = await fleet.store.read()
    assert again is not None
    assert (again.live, again.other, again.weight) == (state.live, state.other, state.weight)
    load.stop()
    await asking
    check(load, home)


async def test_redis_that_is_gone_changes_nothing(home: Path, server: RedisServer, fleet: Fleet) -> None:
    await fleet.order("stage", RANDOM)
    await fleet.staged(RANDOM)
    await fleet.order("promote", force=True)
    await fleet.settled()
    load = Load(fleet.bases, TEXTS, callers=4)
    asking = asyncio.create_task(load.run())
    server.stop()
    await asyncio.sleep(3.0)
    load.stop()
    await asking
    check(load, home)
    assert {answer.tag for answer in load.answers} == {RANDOM}
