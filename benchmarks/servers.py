"""Servers of the same weights: how each is started, when it is ready, and how it is stopped whatever happens."""

import hashlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.dialects import DIALECTS
from benchmarks.weights import Weights
from pipelines import artifacts
from pipelines.demo import free_port
from pipelines.environment import with_this_python
from pipelines.serve import command, environment

PEERS = Path("benchmarks") / "peers"
START_LIMIT_S, STOP_LIMIT_S = 180.0, 10.0
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "INFINITY_ANONYMOUS_USAGE_STATS": "0",
    "DO_NOT_TRACK": "1",
    "BENTOML_DO_NOT_TRACK": "True",
}


class ServerFailed(RuntimeError):
    """A server that cannot be installed, or does not come up."""


@dataclass(frozen=True, slots=True)
class Server:
    """A way to serve. ``packages`` names the environment of its own, ``peers/NAME.txt``, where it has one."""

    name: str
    title: str
    dialect: str
    start: Callable[[Weights, int, str], list[str]]
    packages: str | None = None
    surrounding: Callable[[Weights], Mapping[str, str]] = field(default=lambda _: {})
    within: Callable[[Weights], Path | None] = field(default=lambda _: None)
    """The folder in which it is started."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    server: Server
    pid: int
    port: int

    def get(self, path: str) -> bytes:
        """The body of a GET."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as response:
            body: bytes = response.read()
        return body

    def metric(self, name: str) -> float | None:
        """The sum over all labels of a metric at /metrics; None where there is none of this name."""
        lines = self.get("/metrics").decode().splitlines()
        found = [line for line in lines if line.replace("{", " ").partition(" ")[0] == name]
        return sum(float(line.rpartition(" ")[2]) for line in found) if found else None


def _ours(weights: Weights, port: int, _: str) -> list[str]:
    return command(weights.workspace, port)


def _fastapi(_: Weights, port: int, python: str) -> list[str]:
    return [python, "-m", "uvicorn", "benchmarks.peers.fastapi_transformers:app", "--port", str(port)]


def _bento(_: Weights, port: int, python: str) -> list[str]:
    return [python, "-m", "bentoml", "serve", "benchmarks.peers.bento_stock:Classifier", "--port", str(port)]


def _litserve(_: Weights, port: int, python: str) -> list[str]:
    return [python, str(PEERS / "litserve_api.py"), str(port)]


def _infinity(engine: str, *options: str) -> Callable[[Weights, int, str], list[str]]:
    """The command line of infinity's README, with an engine."""

    def start(_: Weights, port: int, python: str) -> list[str]:
        line = [str(Path(python).parent / "infinity_emb"), "v2", "--model-id", ".", "--served-model-name", "sentiment"]
        return [*line, "--engine", engine, "--port", str(port), *options]

    return start


def _instant(_: Weights, port: int, python: str) -> list[str]:
    return [python, "-m", "benchmarks.peers.instant", str(port)]


def _folder(weights: Weights) -> Path:
    return weights.transformers


def _hub_of_its_own(weights: Weights) -> dict[str, str]:
    """Where infinity keeps the graph that it optimized."""
    return {"HF_HOME": str((weights.folder / "hub").resolve())}


def _store_of_its_own(weights: Weights) -> dict[str, str]:
    folder = weights.folder / "bento_stock"
    folder.mkdir(exist_ok=True)
    return {"BENTOML_HOME": str(folder.resolve())}


OURS = Server("ours", "ours", "contract", _ours, surrounding=lambda weights: environment(weights.workspace))
INSTANT = Server("instant", "a server that answers at once", "contract", _instant)
PEER_SERVERS = (
    Server("fastapi", "FastAPI + transformers", "fastapi", _fastapi),
    Server("bento", "BentoML, batchable=True", "bento", _bento, surrounding=_store_of_its_own),
    Server("litserve", "LitServe", "litserve", _litserve, packages="litserve"),
    Server("infinity", "infinity, torch", "infinity", _infinity("torch"), "infinity", _hub_of_its_own, _folder),
    # what infinity recommends on a CPU; its warm-up sends it texts that are too long for the model, and ends it
    Server(
        "infinity-onnx",
        "infinity, optimum",
        "infinity",
        _infinity("optimum", "--no-model-warmup"),
        "infinity",
        _hub_of_its_own,
        _folder,
    ),
)


def python_of(server: Server) -> str:
    """The Python that runs ``server``; where it has packages of its own, they are installed first, once."""
    if server.packages is None:
        return sys.executable
    listed = PEERS / f"{server.packages}.txt"
    place = artifacts.CACHE / "peers" / server.packages
    folder = place.resolve()
    python, ready = folder / "bin" / "python", folder / ".ready"
    wanted = hashlib.sha256(listed.read_bytes()).hexdigest()
    if not ready.exists() or ready.read_text() != wanted:
        print(f"installing {server.title} into {place}", file=sys.stderr, flush=True)
        make = [sys.executable, "-m", "venv", "--clear", str(folder)]
        install = [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(listed)]
        for step in (make, install):
            done = subprocess.run(step, check=False, capture_output=True, text=True)
            if done.returncode:
                raise ServerFailed(f"it cannot be installed: {' '.join(done.stderr.split())[-500:]}")
        ready.write_text(wanted)
    return str(python)


@contextmanager
def running(server: Server, weights: Weights) -> Iterator[Running]:
    """Start ``server`` and wait until it judges a review; stop it and all that it started.

    Raises ServerFailed with the end of its log.
    """
    port, log = free_port(), weights.log(server.name)
    surrounding = {**with_this_python(), **server.surrounding(weights), **OFFLINE}
    line = server.start(weights, port, python_of(server))
    with log.open("ab") as output:
        process = subprocess.Popen(
            line,
            env=surrounding | {"MODEL_FOLDER": str(weights.transformers.resolve())},
            cwd=server.within(weights),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_ready(server, process, port, log)
        yield Running(server, process.pid, port)
    finally:
        _stop(process)


def _wait_until_ready(server: Server, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    dialect = DIALECTS[server.dialect]
    head, _, body = dialect.request(["정말 재미있어요"], batch=False).partition(b"\r\n\r\n")
    address = f"http://127.0.0.1:{port}{head.split()[1].decode()}"
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        with suppress(OSError, ValueError, KeyError):
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - loopback
                dialect.read(response.read())
            return
        time.sleep(0.2)
    tail = " | ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
    raise ServerFailed(f"it does not come up: {tail}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    started: list[Any] = []
    with suppress(psutil.NoSuchProcess):
        started = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=STOP_LIMIT_S)
    if process.poll() is None:
        process.kill()
        process.wait()
    for left in started:
        with suppress(psutil.NoSuchProcess):
            left.kill()
    psutil.wait_procs(started, timeout=5)
