"""The container, tried for real: ``python -m deploy.smoke [--workspace FOLDER]``; prints a transcript.

Builds the image where it is not there, runs it without rights and with everything read-only but ``/tmp``, calls every
route of its OpenAPI document with a key and without, rolls a second model tag out from a mounted store under load, and
stops it. Ends with 1 if a request failed, or something is not as it was promised.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fleet import fill_store
from deploy.engine import ContainerEngine
from deploy.image import build, make_base
from deploy.sbom import bill, summary, unlocked
from pipelines import artifacts
from pipelines.demo import free_port
from pipelines.serve import environment
from serving.access.keys import SCOPES, issue
from serving.access.store import FileKeys
from serving.api import PREFIX
from serving.app import OPEN
from serving.image import BASE

MOST_MB = 550
READY_S, STAGED_S, STOP_S = 60.0, 60.0, 30.0
HOME = "/tmp/bentoml"
KEYS = "keys.json"
LOCK = "requirements/serve.txt"
TEXTS = ("정말 재미있어요", "최악의 영화", "그냥 그래요", "시간이 아깝다", "배우들 연기가 훌륭하다")
SECOND = "koelectra-nsmc:smoke-second"


class SmokeFailed(RuntimeError):
    """Something is not as it was promised."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who asks the service, with a key or without."""

    base: str
    key: str = ""

    def call(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and content."""
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(self.request(path, data), timeout=20) as response:
                content = response.read()
                return response.status, json.loads(content) if "json" in response.headers["content-type"] else content
        except urllib.error.HTTPError as error:
            content = error.read()
            return error.code, json.loads(content) if "json" in error.headers.get("content-type", "") else {}

    def request(self, path: str, data: bytes | None, media_type: str = "application/json") -> urllib.request.Request:
        """What ``call`` sends."""
        headers = {"Content-Type": media_type} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        return urllib.request.Request(self.base + path, data, headers)


@dataclass
class Load:
    """Callers that ask one after the other, as long as the service wants requests."""

    caller: Caller
    callers: int = 4
    answers: list[tuple[float, int, str]] = field(default_factory=list)
    """When it was asked, the status (0: no answer), and who answered."""
    _done: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Begin."""
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(self.callers)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, after what is under way."""
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        turn = number
        while not self._done.is_set():
            began, turn = time.monotonic(), turn + 1
            try:
                status, content = self.caller.call(f"{PREFIX}/analyze", {"text": f"{TEXTS[turn % 5]} {turn}"})
                self.answers.append((began, status, content.get("data", {}).get("model_tag", "")))
            except OSError:
                self.answers.append((began, 0, ""))


def make_key(folder: Path) -> str:
    """A key for everything, good for a day; what is kept of it goes into a file in ``folder``, for the container."""
    key, reads = issue("smoke", SCOPES, 1.0, time.time())
    file = folder / KEYS
    asyncio.run(FileKeys(file).add(key))
    # for its owner alone, who is not the container's user; there is but a digest in it
    file.chmod(0o644)
    folder.chmod(0o755)
    return reads


@contextmanager
def container(engine: ContainerEngine, image: str, models: Path, keys: Path) -> Iterator[tuple[str, str]]:
    """A container that runs as it should: its name and its base address."""
    port, name = free_port(), f"nsmc-smoke-{time.time_ns()}"
    network = ["--network", "host"] if engine.nested else ["--publish", f"127.0.0.1:{port}:{port}"]
    rights = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    variables = {
        "BENTOML_HOME": HOME, "PORT": str(port), "KEYS_FILE": f"/keys/{KEYS}", "DRAIN_S": "1.5",
        "ROLLOUT_WATCH_S": "0", "JOURNAL_FOLDER": "/tmp/journal",
    }  # fmt: skip
    settings = [part for key, value in variables.items() for part in ("--env", f"{key}={value}")]
    mounts = ["--volume", f"{models}:/models:ro", "--volume", f"{keys}:/keys:ro"]
    engine.command("run", "--detach", "--name", name, *rights, *network, *settings, *mounts, image)
    try:
        yield name, f"http://127.0.0.1:{port}"
    finally:
        engine.command("rm", "--force", name, check=False)


def wait_until(holds: Any, limit_s: float, what: str) -> float:
    """How long it took. Raises SmokeFailed."""
    began = time.monotonic()
    while time.monotonic() - began < limit_s:
        try:
            if holds():
                return time.monotonic() - began
        except OSError:
            pass
        time.sleep(0.05)
    raise SmokeFailed(f"{what}: not after {limit_s:.0f} s")


def every_route(caller: Caller) -> list[str]:
    """Call all that the OpenAPI document names, with its own examples. Raises SmokeFailed."""
    stranger = Caller(caller.base)
    _, document = stranger.call(f"{PREFIX}/openapi.json")
    lines, refused = [], 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path not in OPEN:
                status, _ = stranger.call(path, {} if method == "post" else None)
                if status != 401:
                    raise SmokeFailed(f"{method.upper()} {path} without a key: {status}")
                refused += 1
            if method == "post" and ("/rollout/" in path or path.endswith("/stream")):
                continue  # the former are called in earnest, the latter takes no JSON
            body = None
            if method == "post":
                content = operation["requestBody"]["content"]["application/json"]
                body = next(iter(content["examples"].values()))["value"]
            status, _ = caller.call(path, body)
            if str(status) not in operation["responses"] or status >= 300:
                raise SmokeFailed(f"{method.upper()} {path}: {status}")
            lines.append(f"{method.upper():<5}{path}: {status}")
    stream = caller.request(f"{PREFIX}/stream", b'{"text": "a"}\n' * 3, "application/x-ndjson")
    with urllib.request.urlopen(stream, timeout=20) as response:
        lines.append(f"POST {PREFIX}/stream, {len(response.readlines())} lines: {response.status}")
    lines.append(f"POST /predict: {caller.call('/predict', {'texts': list(TEXTS)})[0]}")
    probes = ("/", "/rollout", "/livez", "/readyz", "/metrics")
    lines += [f"GET  {path}, without a key: {stranger.call(path)[0]}" for path in probes]
    if not all(line.endswith((" 200", " 202")) for line in lines):
        raise SmokeFailed(f"not every route answers: {lines}")
    for path, body in (("/predict", {"texts": list(TEXTS)}), (f"{PREFIX}/analyze", {"text": TEXTS[0]})):
        status, problem = stranger.call(path, body)
        if status != 401:
            raise SmokeFailed(f"POST {path} without a key: {status}")
        lines.append(f"POST {path}, without a key: {status}, {problem['title']!r}")
    lines.append(f"without a key, all {refused} operations of the document that need one: 401")
    return lines


def order(caller: Caller, command: str, **fields: Any) -> dict[str, Any]:
    """A command of a rollout. Raises SmokeFailed."""
    status, content = caller.call(f"{PREFIX}/rollout/{command}", {"who": "smoke", **fields})
    if status != 200:
        raise SmokeFailed(f"{command}: {status} {content.get('detail')}")
    return dict(content)


def roll_out(caller: Caller, load: Load) -> list[str]:
    """The second tag goes live under load, and the first again. Raises SmokeFailed."""
    lines = []
    order(caller, "stage", value=SECOND)

    def staged() -> bool:
        _, status = caller.call(f"{PREFIX}/rollout")
        problems = [worker["problems"] for worker in status["workers"] if worker["problems"]]
        if problems:
            raise SmokeFailed(f"{SECOND} cannot be served: {problems}")
        return all(SECOND in worker["ready"] for worker in status["workers"])

    lines.append(f"{SECOND} staged after {wait_until(staged, STAGED_S, 'staging'):.1f} s")
    for command, live in (("promote", SECOND), ("rollback", None)):
        order(caller, command, force=command == "promote")
        began = time.monotonic()
        time.sleep(1.5)
        answered = {tag for at, status, tag in load.answers if at > began + 1.0 and status == 200}
        if (live and answered != {live}) or (not live and SECOND in answered):
            raise SmokeFailed(f"a second after {command}, {answered} answered")
        lines.append(f"{command}: a second later all requests are answered by {', '.join(answered)}")
    return lines


def smoke(engine: ContainerEngine, image: str, workspace: Path) -> Iterator[str]:
    """The transcript, line by line. Raises SmokeFailed."""
    megabytes = int(engine.command("image", "inspect", "--format", "{{.Size}}", image)) / 1e6
    user = engine.command("image", "inspect", "--format", "{{.Config.User}}", image)
    yield f"{image}: {megabytes:,.0f} MB (at most {MOST_MB}), user {user}"
    if megabytes > MOST_MB or user in ("", "root", "0"):
        raise SmokeFailed("the image is too large, or runs as root")
    materials = bill(engine, image)
    foreign = unlocked(materials, (workspace / LOCK).read_text(encoding="utf-8"))
    yield f"{len(materials.components)} components: {summary(materials)}"
    if foreign:
        raise SmokeFailed(f"{', '.join(foreign)} came along unlocked, and so unchecked")
    yield f"every Python package of the service is one of {LOCK}"
    tag = artifacts.read_json(workspace / artifacts.PACKAGE)["model_tag"]
    name, version = tag.split(":")
    with tempfile.TemporaryDirectory(prefix="smoke-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        stored = Path(environment(workspace).get("BENTOML_HOME", Path.home() / "bentoml")) / "models" / name / version
        fill_store(home, {SECOND: stored})
        key = make_key(home / "keys")
        began = time.monotonic()
        with container(engine, image, home / "models", home / "keys") as (running, base):
            caller = Caller(base, key)
            wait_until(lambda: caller.call("/readyz")[0] == 200, READY_S, "ready")
            yield f"ready {time.monotonic() - began:.1f} s after `run`, read-only but for /tmp, without capabilities"
            yield from every_route(caller)
            for command in (("serving.rollout", "status"), ("serving.access", "list")):
                engine.command("exec", running, "python", "-m", *command)
                yield f"python -m {' '.join(command)}, in the container: done"
            load = Load(caller)
            load.start()
            try:
                yield from roll_out(caller, load)
                stopping = subprocess.Popen(
                    [engine.run, "stop", "--time", str(round(STOP_S)), running], stdout=subprocess.DEVNULL
                )
                began = time.monotonic()
                # as a load balancer does: no more requests once the probe says so
                wait_until(lambda: caller.call("/readyz")[0] == 503, 5.0, "not ready after SIGTERM")
            finally:
                load.stop()
            stopping.wait()
            code = engine.command("inspect", "--format", "{{.State.ExitCode}}", running)
            yield f"stopped {time.monotonic() - began:.1f} s after SIGTERM, exit status {code}"
            failed = [answer for answer in load.answers if answer[1] != 200]
            yield f"{len(load.answers):,} requests while it rolled out and stopped, {len(failed)} failed"
            if failed or code != "0":
                raise SmokeFailed(f"{failed[:3]}; exit status {code}")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="deploy.smoke", description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path("workspaces") / "demo")
    arguments = parser.parse_args()
    engine = ContainerEngine.found()
    print(f"engine: {engine.run}, built by {engine.build}{', nested' if engine.nested else ''}", flush=True)
    if engine.nested and not engine.has(BASE):
        make_base(engine)
    image = build(engine, arguments.workspace, "localhost/nsmc-sentiment")
    try:
        for line in smoke(engine, image, arguments.workspace):
            print(line, flush=True)
    except SmokeFailed as error:
        print(f"FAILED: {error}", flush=True)
        return 1
    print("all as promised")
    return 0


if __name__ == "__main__":
    sys.exit(main())
