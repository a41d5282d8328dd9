"""The child process that tries a bundle, and the turns of workers that load one."""

import asyncio
import shutil
from pathlib import Path

import pytest

from data.bundle import Bundle
from serving.engine.choose import Wanted
from serving.engine.remembered import default_folder, remembers
from serving.errors import ModelUnavailable
from serving.rollout import probe as probing
from serving.rollout.probe import probe, turn


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"ENGINE": "onnxruntime", "PRECISION": "fp32", "THREADS": "1", "BATCH_TOKENS": "512"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


async def test_a_good_bundle_passes_and_what_was_found_out_is_remembered(bundle: Bundle) -> None:
    from serving.settings import Settings

    wanted = Settings.from_environment().wanted
    assert not remembers(bundle.manifest, wanted, default_folder())
    await probe(bundle.folder)
    assert remembers(bundle.manifest, wanted, default_folder())
    assert not remembers(bundle.manifest, Wanted(), default_folder()), "other circumstances"


async def test_a_broken_one_is_told_with_its_reason(bundle: Bundle, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bundle.folder, broken)
    (broken / "model.onnx").write_bytes(b"\0" * 100)
    with pytest.raises(ModelUnavailable, match=r"'model\.onnx' has SHA-256"):
        await probe(broken)


async def test_what_crashes_the_process_crashes_nobody_else(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ModelUnavailable, match="the process that tried it was ended by SIGSEGV"):
        await probe(bundle.folder)


async def test_what_takes_for_ever_is_ended(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(probing, "LIMIT_S", 0.3)
    with pytest.raises(ModelUnavailable, match="trying it took longer than"):
        await probe(bundle.folder)


async def test_turns_come_one_after_the_other_and_the_patience_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = most = 0

    async def one() -> None:
        nonlocal at_once, most
        async with turn():
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.05)
            at_once -= 1

    await asyncio.gather(*(one() for _ in range(4)))
    assert most == 1
    monkeypatch.setattr(probing, "TURN_LIMIT_S", 0.1)
    async with turn():
        await asyncio.wait_for(one(), 2.0)
