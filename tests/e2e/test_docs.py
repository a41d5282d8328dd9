"""The commands of the documents, as they stand there, where a reader would give them."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.fleet import fill_store
from data.nsmc import read
from pipelines import artifacts
from pipelines.demo import PREFIX, call, free_port, serving
from pipelines.serve import STORE_FOLDER, environment
from tests.docs.documents import PLACES, ROOT, RUN, command_blocks
from tests.e2e.conftest import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

SAMPLE = ROOT / "data" / "sample"
EXAMPLE_TAG, STAGED_TAG = "koelectra-nsmc:v1-0123abcd", "koelectra-nsmc:v7-3f2a9c1d"
ADDRESS = "localhost:3000"
OUTSIDE = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "SIGNING_KEY")
"""What make and git leave in the environment of what they run, and what the documents set themselves."""
SPARED = {
    "REMEMBER_ENGINE": "true",
    "ENGINE": "onnxruntime",
    "PRECISION": "fp32",
    "THREADS": "1",
    "BATCH_TOKENS": "1024",
}
"""Nothing is left to be timed at start."""


@dataclass(frozen=True)
class Task:
    """Commands of one block that are run in one place, in their order, and the documents that have them."""

    place: str
    commands: tuple[str, ...]
    where: str


def tasks() -> list[Task]:
    """What is to be run; what two documents say alike is run once."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for block in command_blocks():
        for mark in block.marks:
            if mark.kind == RUN:
                commands = tuple(block.commands[mark.first - 1 : mark.last])
                found.setdefault((mark.value, commands), []).append(str(block))
    return [Task(place, commands, "+".join(where)) for (place, commands), where in found.items()]


def of(place: str) -> pytest.MarkDecorator:
    """The tasks of one place."""
    mine = [task for task in tasks() if task.place == place]
    return pytest.mark.parametrize("task", mine, ids=[task.where for task in mine])


def shell(command: str, folder: Path, variables: Mapping[str, str]) -> str:
    """Run a command as a reader does; what it printed. Fails with that where the command fails."""
    done = subprocess.run(
        ["sh", "-ec", command], cwd=folder, env=variables, capture_output=True, timeout=200, stdin=subprocess.DEVNULL
    )
    said = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == 0, f"{command}\n{said}"
    return done.stdout.decode(errors="replace")


def around(folder: Path) -> dict[str, str]:
    """The environment of somebody who has activated ``.venv`` in the checkout ``folder``."""
    variables = {key: value for key, value in environment(folder).items() if key not in OUTSIDE}
    return variables | SPARED | {"DVC_NO_ANALYTICS": "1"}


def tables(folder: Path) -> None:
    """The files that the documents name, a few reviews each."""
    texts = [review.text for review in read(SAMPLE / "ratings_test.txt") if review.text]
    more = texts + [review.text for review in read(SAMPLE / "ratings_train.txt") if review.text]
    for name, column in (("reviews.parquet", texts), ("new.parquet", more)):
        pq.write_table(pa.table({"id": range(len(column)), "text": column}), folder / name)
    lines = "".join(f"{number}\t{text}\n" for number, text in enumerate(texts))
    (folder / "reviews.tsv.gz").write_bytes(gzip.compress(f"id\ttext\n{lines}".encode()))
    quoted = "".join(f'{number},"{text.replace(chr(34), "")}"\n' for number, text in enumerate(texts))
    (folder / "reviews.csv").write_text(f"id,text\n{quoted}", encoding="utf-8")
    shutil.copy(SAMPLE / "ratings_test.txt", folder)
    stream = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    (folder / "reviews.ndjson").write_text(stream, encoding="utf-8")


@pytest.fixture(scope="module")
def checkout(reproduced: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which the demo has been made, committed, with this Python as its ``.venv``."""
    folder = tmp_path_factory.mktemp("docs") / "checkout"
    shutil.copytree(reproduced.folder, folder, symlinks=True)
    for name in ("Makefile", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv").mkdir()
    for path in Path(sys.prefix).iterdir():
        if path.name != ".ready":
            (folder / ".venv" / path.name).symlink_to(path)
    (folder / ".venv" / ".ready").touch()
    variables = around(folder)
    own = "-c user.name=tests -c user.email=tests@localhost"
    shell("dvc config core.no_scm false && git init --quiet && git add params.yaml dvc.yaml", folder, variables)
    shell(f"git {own} commit --quiet --message 'the demo'", folder, variables)
    tables(folder)
    return folder


def given(command: str, folder: Path) -> str:
    """``command`` with the demo's names for those of the example."""
    tag = str(artifacts.read_json(folder / artifacts.PACKAGE)["model_tag"])
    return command.replace(EXAMPLE_TAG, tag).replace("workspaces/demo", ".")


def test_every_place_has_a_test() -> None:
    assert {task.place for task in tasks()} == set(PLACES)


@of("workspace")
def test_in_a_workspace(task: Task, checkout: Path) -> None:
    for command in task.commands:
        shell(given(command, checkout), checkout, around(checkout))


def end(group: subprocess.Popen[bytes]) -> None:
    """End a process and those that it started: politely, and where that does not help, at once."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(group.pid, number)
        with suppress(subprocess.TimeoutExpired):
            group.wait(20)
            return


@contextmanager
def started(command: str, folder: Path) -> Iterator[str]:
    """A command that serves, on a free port; yields its base address once that answers."""
    port = str(free_port())
    variables = around(folder) | {"PORT": port, "MLFLOW_PORT": port, "MLFLOW_WORKERS": "1"}
    log = folder / "started.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-ec", command], cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT, process_group=0
        )
    base = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{base}/", timeout=2).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text(errors="replace")
                time.sleep(0.1)
        else:
            raise AssertionError(f"{command} does not answer\n{log.read_text(errors='replace')}")
        yield base
    finally:
        end(process)


@of("server")
def test_what_serves(task: Task, checkout: Path) -> None:
    for command in task.commands:
        with started(given(command, checkout), checkout) as base:
            if " serve" in command:
                assert call(f"{base}{PREFIX}/health")["status"] == "healthy"


@of("service")
def test_beside_a_service(task: Task, service: str, tmp_path: Path) -> None:
    tables(tmp_path)
    (tmp_path / ".curlrc").write_text("fail-with-body\nmax-time = 60\n")
    variables = around(tmp_path) | {"CURL_HOME": str(tmp_path)}
    for command in task.commands:
        assert ADDRESS in command
        said = shell(command.replace(ADDRESS, service.removeprefix("http://")), tmp_path, variables)
        assert all(json.loads(line) for line in said.splitlines())
        assert said


def judged_by_both(base: str) -> None:
    """Send reviews until no gate is open any more."""
    texts = [review.text for review in read(SAMPLE / "ratings_train.txt") if review.text]
    for turn in range(40):
        for start in range(0, len(texts), 50):
            some = [f"{text} {turn}" for text in texts[start : start + 50]]
            call(f"{base}{PREFIX}/batch", {"texts": some})
        gates = call(f"{base}{PREFIX}/rollout")["gates"]
        if all(gate["passed"] is not None for gate in gates):
            return
    raise AssertionError(gates)


@of("rollout")
def test_a_rollout(task: Task, checkout: Path) -> None:
    bundle = checkout / STORE_FOLDER / "models" / given(EXAMPLE_TAG, checkout).replace(":", "/")
    fill_store(checkout / STORE_FOLDER, {STAGED_TAG: bundle})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SPARED.items():
            patch.setenv(name, value)
        patch.setenv("ROLLOUT_LIMITS", '{"cost": 10.0}')  # it is the same model; the processor is not ours alone
        with serving(checkout) as base:
            for command in task.commands:
                if "promote" in command:
                    judged_by_both(base)
                shell(command, checkout, around(checkout) | {"ROLLOUT_LIMITS": '{"cost": 10.0}'})
            shell("python -m serving.rollout status && python -m serving.rollout history", checkout, around(checkout))


@pytest.mark.parametrize(
    ("document", "command"),
    [
        ("README.md", "make audit"),
        (
            "docs/operations.md",
            "model_signing verify key FOLDER --signature FOLDER/model.sig --public_key signing.pub",
        ),
    ],
)
def test_within_a_sentence(document: str, command: str, checkout: Path) -> None:
    assert f"`{command}`" in (ROOT / document).read_text(encoding="utf-8")
    bundle = checkout / STORE_FOLDER / "models" / given(EXAMPLE_TAG, checkout).replace(":", "/")
    if "signing" in command and not (bundle / "model.sig").exists():
        pytest.skip("what signs was not run before")
    shell(command.replace("FOLDER", str(bundle)), checkout, around(checkout))
