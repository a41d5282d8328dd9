"""What was found out at one start is not found out again at the next, unless something has changed."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.bundle import Bundle
from serving.engine import Layout, LogitArray, Rows, choose, remembered
from serving.engine.choose import RUNTIMES, Choice, Trial, Wanted
from serving.engine.onnx import OnnxEngine
from serving.engine.remembered import Decision, choose_again
from serving.engine.schedule import Cut
from tests.models import write_bundle

Decide = Callable[[Bundle, Wanted], Choice]


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[Wanted]:
    """What the engines were timed for."""
    calls: list[Wanted] = []

    def counting(bundle: Bundle, wanted: Wanted) -> Choice:
        calls.append(wanted)
        return choose.choose(bundle, wanted, trial_s=0.01)

    monkeypatch.setattr(remembered, "choose", counting)
    return calls


def test_the_second_start_times_nothing_and_comes_to_the_same(
    bundle: Bundle, tmp_path: Path, timed: list[Wanted]
) -> None:
    first = choose_again(bundle, Wanted(), tmp_path)
    second = choose_again(bundle, Wanted(), tmp_path)
    assert len(timed) == 1
    engines = first.schedule.engine, second.schedule.engine
    assert len({(engine.name, engine.precision, engine.layout) for engine in engines}) == 1
    assert (first.schedule.cut, first.trials) == (second.schedule.cut, second.trials)
    rows = [golden.ids for golden in bundle.manifest.golden]
    assert (first.schedule.logits(rows) == second.schedule.logits(rows)).all()


def test_other_circumstances_are_another_decision(
    bundle: Bundle, tmp_path: Path, timed: list[Wanted], monkeypatch: pytest.MonkeyPatch
) -> None:
    choose_again(bundle, Wanted(), tmp_path / "kept")
    choose_again(bundle, Wanted(precision="fp32"), tmp_path / "kept")
    choose_again(write_bundle(tmp_path / "other", seed=5), Wanted(), tmp_path / "kept")
    assert len(timed) == 3
    for name in ("_processor", "_version"):
        with monkeypatch.context() as patch:
            patch.setattr(remembered, name, lambda *_: "another")
            choose_again(bundle, Wanted(), tmp_path / "kept")
    assert len(timed) == 5


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"trials": [], "taken": null, "cut": {}}'])
def test_what_cannot_be_read_is_found_out_again(
    bundle: Bundle, tmp_path: Path, timed: list[Wanted], content: str, caplog: pytest.LogCaptureFixture
) -> None:
    choose_again(bundle, Wanted(), tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(content)
    choose_again(bundle, Wanted(), tmp_path)
    assert len(timed) == 2
    assert "cannot be read" in caplog.text
    assert set(json.loads(file.read_text())) == {"trials", "taken", "cut"}


@pytest.mark.parametrize(
    "change", [{"engine": "gone-cpu"}, {"precision": "bf16"}, {"engine": "pytorch-cuda", "precision": "fp32"}]
)
def test_an_engine_that_is_not_there_any_more_is_not_taken(
    bundle: Bundle, tmp_path: Path, timed: list[Wanted], change: dict[str, Any]
) -> None:
    choice = choose_again(bundle, Wanted(), tmp_path)
    decision = Decision.of(choice)
    (file,) = tmp_path.iterdir()
    file.write_text(json.dumps(asdict(replace(decision, taken=replace(decision.taken, **change)))))
    assert choose_again(bundle, Wanted(), tmp_path).schedule.engine.name == "onnxruntime-cpu"
    assert len(timed) == 2


def test_an_engine_that_answers_otherwise_now_is_not_taken(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    onnx = next(each for each in RUNTIMES if each.name == "onnxruntime-cpu")

    class Wrong(OnnxEngine):
        def logits(self, rows: Rows) -> LogitArray:
            return super().logits(rows) + np.array([0.0, 0.5], np.float32)

    monkeypatch.setattr(choose, "RUNTIMES", (replace(onnx, start=Wrong),))
    taken = Trial("onnxruntime-cpu", "fp32", Layout(1, 1), 100.0)
    assert choose.settled(bundle, taken, Cut(256), (taken,)) is None
    assert "chosen before fails" in caplog.text


def test_a_place_that_cannot_be_written_to_is_no_reason_not_to_start(
    bundle: Bundle, tmp_path: Path, timed: list[Wanted], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    assert choose_again(bundle, Wanted(), tmp_path / "file" / "engines").trials
    assert "cannot be kept" in caplog.text
    assert len(timed) == 1
