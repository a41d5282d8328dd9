import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data.files import replacing, writing

CODE = """
from pipelines import stage
from pipelines.errors import SourceError
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # what starts a background job may have it ignored
def main():
    print("ready", flush=True)
    if sys.argv[1] == "expected": raise SourceError("the source is gone")
    if sys.argv[1] == "bug": raise KeyError("x")
    if sys.argv[1] == "wait": time.sleep(30)
stage.run(main)
"""


def start(root: Path, what: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CODE, what], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("what", "status", "message"), [("fine", 0, ""), ("expected", 1, "error: the source is gone\n")]
)
def test_how_a_stage_ends(root: Path, what: str, status: int, message: str) -> None:
    process = start(root, what)
    _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (status, message)


def test_a_bug_shows_its_trace(root: Path) -> None:
    process = start(root, "bug")
    _, error = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Traceback" in error


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_unwind(root: Path, number: int, status: int) -> None:
    process = start(root, "wait")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, number)
    process.communicate(timeout=30)
    assert process.returncode == status


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    with writing(path) as temporary:
        temporary.write_text("old")
    with pytest.raises(RuntimeError, match="cut"), writing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("cut")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.json"]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name in ("first", "second"):
        with replacing(folder) as temporary:
            (temporary / name).touch()
    assert [entry.name for entry in folder.iterdir()] == ["second"]
    with pytest.raises(RuntimeError, match="cut"), replacing(folder) as temporary:
        (temporary / "third").touch()
        raise RuntimeError("cut")
    assert [entry.name for entry in folder.iterdir()] == ["second"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]
