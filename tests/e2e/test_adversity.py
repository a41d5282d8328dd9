"""A full disk, MLflow that is down, a model store without the model, a clock that is stepped: real processes in it."""

import asyncio
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import psutil
import pytest

from benchmarks.fleet import ANALYZE, DECIDED, Fleet, fill_store, running
from data.files import sha256
from data.ledger import verify
from pipelines import artifacts
from pipelines.demo import PREFIX, free_port, stop
from serving.access.keys import issue
from serving.access.redis_store import RedisKeys
from serving.rollout.gates import Limits
from serving.rollout.operator import Operator, Order
from tests.chaos import interrupted
from tests.e2e.conftest import Workspace
from tests.e2e.test_rollout import TEXTS, guessing
from tests.models import write_bundle
from tests.redis_server import redis_server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

OLD, NEW, OTHER = "tiny:1", "tiny:2", "tiny:3"
PASSWORD = "geheim"  # noqa: S105 - of nobody
NO_ROOM = "File too large"
"""What the kernel says where a file would grow over its limit; of a disk that is full, "No space left on device"."""
HOUR_S = 3_600.0
WITHIN_S = 200.0
"""A command has ended by then on a busy machine, too, if MLflow is down; with MLflow's own patience, after 300 s."""


def limited(size: int) -> Any:
    """No file of this process may become larger, as on a disk that has no more room; needs no rights."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def done(
    folder: Path,
    root: Path,
    *module: str,
    largest: int | None = None,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[str]:
    """A module that was run in ``folder``, and could write files of ``largest`` bytes."""
    return subprocess.run(
        [sys.executable, "-m", *module],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root), **variables},
        preexec_fn=None if largest is None else limited(largest),
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )


def told(ended: subprocess.CompletedProcess[str]) -> str:
    """The one line that it failed with."""
    assert ended.returncode == 1, ended.stderr[-2_000:]
    assert "Traceback" not in ended.stderr, ended.stderr[-2_000:]
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    return line


def temporary_files(folder: Path) -> list[Path]:
    return [*(folder / artifacts.ROOT).rglob(".*"), *folder.glob(".cache/checkpoints/*.new")]


def copied(source: Workspace, folder: Path, *what: Path) -> None:
    """What a stage needs of a pipeline that was run."""
    folder.mkdir(exist_ok=True)
    shutil.copyfile(source.folder / "params.yaml", folder / "params.yaml")
    for each in what:
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        if (source.folder / each).is_dir():
            shutil.copytree(source.folder / each, folder / each, dirs_exist_ok=True)
        else:
            shutil.copyfile(source.folder / each, folder / each)


# Disk full


def test_a_full_disk_while_data_is_prepared(reproduced: Workspace, tmp_path: Path, root: Path) -> None:
    copied(reproduced, tmp_path, Path("artifacts/raw"))
    line = told(done(tmp_path, root, "pipelines.prepare", largest=4_096))
    assert NO_ROOM in line
    assert "free some space and run the same command again" in line
    assert temporary_files(tmp_path) == []
    assert not list((tmp_path / artifacts.PREPARED).iterdir())
    with small_disk(tmp_path / artifacts.PREPARED) as is_small:
        if is_small:  # where this process may mount one
            line = told(done(tmp_path, root, "pipelines.prepare"))
            assert "No space left on device" in line
            assert temporary_files(tmp_path) == []
    assert done(tmp_path, root, "pipelines.prepare").returncode == 0
    names = [file.name for file in (reproduced.folder / artifacts.PREPARED).iterdir()]
    assert names
    for name in names:
        assert sha256(tmp_path / artifacts.PREPARED / name) == sha256(reproduced.folder / artifacts.PREPARED / name)


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of 16 KiB at ``folder``; says whether it could be had."""
    line = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    mounted = subprocess.run(line, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_while_a_checkpoint_is_written(reproduced: Workspace, tmp_path: Path, root: Path) -> None:
    interrupted.copied(reproduced.folder, tmp_path)
    line = told(done(tmp_path, root, "pipelines.train", largest=8 << 20))
    assert f"the checkpoint of step {interrupted.EVERY_STEPS} cannot be written to .cache/checkpoints" in line
    assert "free some space there and run the same command again" in line
    assert temporary_files(tmp_path) == []
    assert not (tmp_path / artifacts.MODEL).exists()
    assert interrupted.runs(tmp_path) == ("FAILED",)
    interrupted.trained(tmp_path)
    assert sha256(tmp_path / interrupted.WEIGHTS) == sha256(reproduced.folder / interrupted.WEIGHTS)
    assert interrupted.runs(tmp_path) == ("FAILED", "FINISHED")
    assert interrupted.left_behind(tmp_path) == ()


def test_a_full_disk_while_the_model_is_exported(reproduced: Workspace, tmp_path: Path, root: Path) -> None:
    what = (artifacts.MODEL, artifacts.PREPARED, artifacts.PREDICTIONS, artifacts.CALIBRATION, artifacts.RUN)
    copied(reproduced, tmp_path, *what, artifacts.REPORTS)
    assert NO_ROOM in told(done(tmp_path, root, "pipelines.export", largest=8 << 20))
    assert temporary_files(tmp_path) == []
    assert not (tmp_path / artifacts.BUNDLE).exists()
    assert done(tmp_path, root, "pipelines.export").returncode == 0
    assert (tmp_path / artifacts.BUNDLE / "model.onnx").exists()


# MLflow down


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[str]:
    """A tracking server; everything that it keeps is in ``folder``."""
    line = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "kept")]
    base = f"http://127.0.0.1:{port}"
    with (folder / "server.log").open("ab") as output:
        process = subprocess.Popen(
            line + stores,
            cwd=folder,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until = time.monotonic() + 60
        while not answers(base):
            assert process.poll() is None, (folder / "server.log").read_text()[-2_000:]
            assert time.monotonic() < until
            time.sleep(0.1)
        yield base
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()


def answers(base: str) -> bool:
    try:
        return httpx.get(f"{base}/health", timeout=2.0).status_code == 200
    except httpx.HTTPError:
        return False


def test_mlflow_that_is_down_is_said_at_once_and_without_its_password(
    reproduced: Workspace, tmp_path: Path, root: Path
) -> None:
    """Of each that asks it, at the same time; with the patience that comes with the pipeline."""
    where = f"127.0.0.1:{free_port()}"
    commands = {
        "pipelines.train": (),
        "pipelines.register": (),
        "pipelines.compare": ("candidate", "champion"),
        "pipelines.audit": (),
    }
    for module in commands:
        copied(reproduced, tmp_path / module, artifacts.ROOT)

    def ended(module: str) -> subprocess.CompletedProcess[str]:
        address = f"http://kim:{PASSWORD}@{where}"
        return done(tmp_path / module, root, module, *commands[module], variables={"MLFLOW_TRACKING_URI": address})

    with ThreadPoolExecutor(len(commands)) as pool:
        found = dict(zip(commands, pool.map(ended, commands), strict=True))
    for module, each in found.items():
        line = told(each)
        assert f"MLflow at http://{where} cannot be used" in line, module
        assert PASSWORD not in each.stderr + each.stdout, module
        for file in (path for path in (tmp_path / module / artifacts.ROOT).rglob("*") if path.is_file()):
            assert sha256(file) == sha256(reproduced.folder / file.relative_to(tmp_path / module)), "nothing is written"


def test_mlflow_that_dies_during_a_training_is_gone_on_with(reproduced: Workspace, tmp_path: Path, root: Path) -> None:
    interrupted.copied(reproduced.folder, tmp_path)
    port = free_port()
    variables = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    with ThreadPoolExecutor(1) as pool:
        with mlflow_server(tmp_path, port):
            training = pool.submit(done, tmp_path, root, "pipelines.train", variables=variables)
            while not interrupted.step_of(tmp_path):
                assert not training.done(), training.result().stderr[-2_000:]
                time.sleep(0.01)
        assert f"MLflow at http://127.0.0.1:{port} cannot be used" in told(training.result())
    reached = interrupted.step_of(tmp_path)
    assert reached > 0, "the checkpoint is still there"
    assert not (tmp_path / artifacts.MODEL).exists()
    with mlflow_server(tmp_path, port) as base:
        ended = done(tmp_path, root, "pipelines.train", variables=variables)
        assert ended.returncode == 0, ended.stderr[-2_000:]
        found = httpx.post(f"{base}/api/2.0/mlflow/runs/search", json={"experiment_ids": ["1"]}).json()["runs"]
    assert [run["info"]["status"] for run in found] == ["FINISHED"], "it went on as the same run"
    assert sha256(tmp_path / interrupted.WEIGHTS) == sha256(reproduced.folder / interrupted.WEIGHTS)
    assert interrupted.left_behind(tmp_path) == ()


# The service


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Bento home with a model, one that says the same, and one that does not."""
    folder = tmp_path_factory.mktemp("adversity")
    old = write_bundle(folder / "old", seed=1).folder
    other = write_bundle(folder / "other", seed=guessing()).folder
    (folder / "home").mkdir()
    fill_store(folder / "home", {OLD: old, NEW: old, OTHER: other})
    return folder / "home"


@contextmanager
def started(home: Path, tag: str, **settings: str) -> Iterator[tuple[str, subprocess.Popen[bytes], Path]]:
    """A service of one worker: its address, its process, its log. It need not become ready."""
    port, log = free_port(), home / "service.log"
    line = [sys.executable, "-m", "bentoml", "serve", "serving.service:SentimentService", "--arg", f"model_tag={tag}"]
    environment = {
        **os.environ, **DECIDED, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "DRAIN_S": "0",
        "XDG_CACHE_HOME": str(home / "cache"), **settings,
    }  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*line, "--host", "127.0.0.1", "--port", str(port)], env=environment, stdout=output, stderr=output
        )
    try:
        yield f"http://127.0.0.1:{port}", process, log
    finally:
        stop(process)


@contextmanager
def ready(home: Path, tag: str, **settings: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with started(home, tag, **settings) as (base, process, log):
        until = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"{base}/readyz").status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            assert process.poll() is None, log.read_text()[-2_000:]
            assert time.monotonic() < until, log.read_text()[-2_000:]
            time.sleep(0.1)
        yield base, process


def judged(base: str, text: str) -> dict[str, Any]:
    answer = httpx.post(base + ANALYZE, json={"text": text})
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def files_up_to(process: subprocess.Popen[bytes], size: int) -> None:
    """From now on no file of the service may become larger."""
    parent = psutil.Process(process.pid)
    for each in [parent, *parent.children(recursive=True)]:
        _, most = resource.prlimit(each.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(each.pid, resource.RLIMIT_FSIZE, (size, most))


def test_a_full_disk_below_the_service(home: Path, tmp_path: Path) -> None:
    """Where there is room for 40 bytes: corrections are refused, reviews are judged, and no line is cut off."""
    corrections, others = tmp_path / "corrections-1.ndjson", tmp_path / "judged-1.ndjson"

    def correct() -> httpx.Response:
        body = {"label": "부정", "text": "이건 남겨도 됩니다", "keep_text": True}
        return httpx.post(f"{base}{PREFIX}/feedback", json=body)

    with ready(home, OLD, JOURNAL_FOLDER=str(tmp_path), ROLLOUT_FOLDER=str(tmp_path / "rollout")) as (base, process):
        for _ in range(5):
            assert correct().status_code == 202
        kept = corrections.read_bytes()
        files_up_to(process, len(kept) + 40)
        for number in range(20):
            judged(base, f"리뷰 {number}")
            refused = correct()
            assert refused.status_code == 503
            assert refused.headers["Content-Type"] == "application/problem+json"
            assert refused.json()["detail"] == f"the correction could not be kept: {NO_ROOM}"
            assert corrections.read_bytes() == kept
        time.sleep(1.5)  # what was judged is written once a second
        files_up_to(process, resource.RLIM_INFINITY)
        assert correct().status_code == 202
        judged(base, "다시 쓸 수 있다")
    lines = corrections.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 6
    assert all(json.loads(line)["text"] == "이건 남겨도 됩니다" for line in lines)
    assert json.loads(others.read_text(encoding="utf-8").splitlines()[-1])["request"]


def test_a_full_disk_below_commands_leaves_state_and_keys_as_they_were(home: Path, tmp_path: Path, root: Path) -> None:
    folder, keys = tmp_path / "rollout", tmp_path / "keys.json"
    surroundings = {"BENTOML_HOME": str(home), "ROLLOUT_FOLDER": str(folder), "KEYS_FILE": str(keys)}

    def order(*command: str, largest: int | None = None) -> subprocess.CompletedProcess[str]:
        return done(root, root, "serving.rollout", *command, largest=largest, variables=surroundings)

    def key(*command: str, largest: int | None = None) -> subprocess.CompletedProcess[str]:
        return done(root, root, "serving.access", *command, largest=largest, variables=surroundings)

    assert key("create", "kim").returncode == 0
    known = keys.read_bytes()
    assert told(key("create", "lee", largest=40)) == f"error: KEYS_FILE cannot be written: {NO_ROOM}"
    assert keys.read_bytes() == known
    assert [file.name for file in tmp_path.iterdir() if file != folder and file != keys] == [".keys.json.lock"]

    with ready(home, OLD, **surroundings) as (base, _):
        assert order("stage", NEW).returncode == 0
        assert order("shadow", "10").returncode == 0
        state, ledger = (folder / "state.json").read_bytes(), (folder / "ledger.jsonl").read_bytes()
        line = told(order("shadow", "20", largest=len(ledger) + 40))
        assert line == f"error: the rollout's folder rollout cannot be used: {NO_ROOM}"
        assert (folder / "state.json").read_bytes() == state
        assert (folder / "ledger.jsonl").read_bytes() == ledger, "no half of an entry"
        assert not list(folder.glob(".*"))
        assert judged(base, "정말 좋아요")["score"]
        assert order("shadow", "30").returncode == 0, "as soon as there is room again"
        assert order("history").stdout.count("shadow") == 2


def test_a_model_that_the_store_does_not_have(home: Path, tmp_path: Path, root: Path) -> None:
    """At start, from a store that is not there, and one that goes away between staging and promoting."""
    with started(home, "tiny:nothing") as (_, process, log):
        assert process.wait(timeout=60) == 1
        said = log.read_text()
        assert "Model tiny:nothing could not be found" in said
        assert "Traceback" not in said

    folder, place = tmp_path / "rollout", home / "models" / "tiny" / "2"
    surroundings = {"BENTOML_HOME": str(home), "ROLLOUT_FOLDER": str(folder), "MODEL_STORE": str(tmp_path / "nothing")}

    def order(*command: str) -> subprocess.CompletedProcess[str]:
        return done(root, root, "serving.rollout", *command, variables=surroundings)

    def live() -> str:
        return str(httpx.post(base + ANALYZE, json={"text": "정말 좋아요"}).headers["X-Model-Tag"])

    with ready(home, OLD, **surroundings) as (base, _):
        missing = order("stage", "tiny:nothing")
        assert missing.returncode == 1
        assert "the model store has no tiny:nothing; of tiny it has tiny:1, tiny:2, tiny:3" in missing.stderr
        assert order("release").returncode == 0

        assert order("stage", NEW).returncode == 0
        shutil.move(place, tmp_path / "away")
        try:
            assert order("promote", "--force").returncode == 0, "all workers have it in memory"
            assert live() == NEW
            assert order("rollback").returncode == 0
            assert order("release").returncode == 0
            gone = order("stage", NEW)
            assert gone.returncode == 1
            assert f"the model store has no {NEW}; of tiny it has tiny:1, tiny:3" in gone.stderr
            assert f"are not ready for {NEW}: " in told(order("promote", "--force"))
            assert live() == OLD, "the live slot was not touched"
        finally:
            shutil.move(tmp_path / "away", place)


# The clock

CLOCK = """
import datetime, os, time
from pathlib import Path

file, clock, clock_ns, real = Path(os.environ["CLOCK_FILE"]), time.time, time.time_ns, datetime.datetime

def stepped():
    return float(file.read_text() or 0)

class Datetime(real):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)

time.time = lambda: clock() + stepped()
time.time_ns = lambda: clock_ns() + int(stepped() * 1e9)
datetime.datetime = Datetime
"""
"""Of a process that is started with it: a wall clock that is stepped by what a file says; others are as they were."""


class Clock:
    """Steps the wall clock of processes that run."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        (folder / "sitecustomize.py").write_text(CLOCK, encoding="utf-8")
        self.step(0.0)
        self.surroundings = {"PYTHONPATH": str(folder), "CLOCK_FILE": str(self._file)}

    def step(self, by_s: float) -> None:
        """So far from the right time, from now on."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(str(by_s))
        fresh.replace(self._file)


@asynccontextmanager
async def asking(base: str, key: str, texts: Sequence[str]) -> AsyncIterator[list[httpx.Response]]:
    """Somebody who asks with a key, one thing after the other; what was answered until the block ends."""
    answers: list[httpx.Response] = []

    async def ask() -> None:
        async with httpx.AsyncClient(base_url=base, headers=bearing(key), timeout=30.0) as client:
            for text in itertools.cycle(texts):
                answers.append(await client.post(ANALYZE, json={"text": text}))
                await asyncio.sleep(0.01)

    task = asyncio.create_task(ask())
    try:
        yield answers
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def bearing(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def status(base: str, key: str) -> int:
    async with httpx.AsyncClient(timeout=30.0) as client:
        return (await client.post(base + ANALYZE, json={"text": TEXTS[0]}, headers=bearing(key))).status_code


@dataclass(frozen=True, slots=True)
class Stepped:
    """A service whose clock can be stepped, and keys for it."""

    fleet: Fleet
    clock: Clock
    keys: RedisKeys

    async def key(self, owner: str, days: float) -> tuple[str, str]:
        """A new one's id, and how it reads."""
        key, reads = issue(owner, ("predict",), days, time.time())
        await self.keys.add(key)
        return key.id, reads

    async def promoted(self, tag: str, watch_s: float) -> None:
        """All requests are mirrored."""
        await self.fleet.order("stage", tag)
        await self.fleet.settled()
        assert await self.fleet.staged(tag) == {}
        await self.fleet.order("shadow", 100)
        operator = Operator(self.fleet.store, Limits(), watch_s)
        await operator.carry_out(Order("promote", "test", force=True))
        await self.fleet.settled()

    async def live(self) -> str:
        """What the state says."""
        state = await self.fleet.store.read()
        assert state is not None
        return state.live


@pytest.fixture
async def stepped(home: Path, tmp_path: Path) -> AsyncIterator[Stepped]:
    clock = Clock(tmp_path)
    surroundings = {**clock.surroundings, "ACCESS": "keys", "QUOTA_KEY_TEXTS": "100000"}
    with redis_server(tmp_path) as server:
        async with running(home, OLD, server.url, services=1, workers=1, surroundings=surroundings) as fleet:
            keys = RedisKeys(server.url, "fleet")
            yield Stepped(fleet, clock, keys)
            await keys.close()


async def test_a_clock_that_is_stepped_an_hour_back_and_forth(stepped: Stepped) -> None:
    """Requests, cache, quotas, keys and a promotion in its watch are as they were; only what expires is the clock's."""
    (base,), clock = stepped.fleet.bases, stepped.clock
    (key, reads), (_, short) = await stepped.key("kim", 1.0), await stepped.key("lee", 0.5 / 24)
    _, lasting = await stepped.key("park", 1.0)
    await until_known(base, lasting)
    await stepped.promoted(NEW, 60.0)
    before = await stepped.fleet.store.read()
    async with asking(base, reads, TEXTS) as answers:
        for by_s in (0.0, -HOUR_S, HOUR_S, 0.0):
            clock.step(by_s)
            await asyncio.sleep(1.5)
            assert await status(base, short) == (401 if by_s > 0 else 200), "a key expires by the wall clock"
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.json()["data"]["cached"] for answer in answers[2 * len(TEXTS) :])
    assert await stepped.fleet.store.read() == before, "nobody took the promotion back"

    clock.step(-HOUR_S)
    await stepped.keys.revoke(key, time.time())
    began = time.monotonic()
    while await status(base, reads) == 200:
        assert time.monotonic() - began < 5.0
        await asyncio.sleep(0.1)
    clock.step(0.0)

    await stepped.fleet.order("rollback")
    for watch_s, by_s, live in ((60.0, HOUR_S, OLD), (1.0, -HOUR_S, OTHER)):
        await stepped.fleet.order("release")
        await stepped.promoted(OTHER, watch_s)  # which disagrees
        clock.step(by_s)
        await asyncio.sleep(2.0)
        async with asking(base, lasting, [f"{text} {number}" for number in range(100) for text in TEXTS]):
            for _ in range(50):
                if await stepped.live() == OLD:
                    break
                await asyncio.sleep(0.1)
        assert await stepped.live() == live, "a promotion is watched as long as was said, whatever the clock says"
        clock.step(0.0)
    verify(await stepped.fleet.store.history())


async def until_known(base: str, key: str) -> None:
    """A key that was made just now is known within seconds."""
    began = time.monotonic()
    while await status(base, key) != 200:
        assert time.monotonic() - began < 5.0
        await asyncio.sleep(0.1)
