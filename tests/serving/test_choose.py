"""What is chosen, why, and what takes over when it fails. The runtimes here are real ones, or slowed or broken."""

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from data.bundle import Bundle
from data.errors import GoldenMismatch
from serving.engine import Engine, Layout, LogitArray, Rows, choose
from serving.engine.choose import RUNTIMES, Choice, Runtime, Wanted
from serving.engine.onnx import OnnxEngine
from serving.engine.runner import Runner
from serving.engine.schedule import DEFAULT_CUT, Cut, Schedule
from serving.errors import EngineFailed, ModelUnavailable
from serving.model import Model
from tests.models import write_bundle

ONNX = next(each for each in RUNTIMES if each.name == "onnxruntime-cpu")
decide = partial(choose.choose, trial_s=0.01)


class Broken:
    """A device that works for so many calls."""

    name, precision, layout = "pytorch-cuda", "fp32", Layout()

    def __init__(self, engine: OnnxEngine, calls: int) -> None:
        self._engine, self._calls = engine, calls

    def logits(self, rows: Rows) -> LogitArray:
        self._calls -= 1
        if self._calls < 0:
            raise EngineFailed("pytorch-cuda failed on 1 rows: OutOfMemoryError")
        return self._engine.logits(rows)


class Slow(OnnxEngine):
    def logits(self, rows: Rows) -> LogitArray:
        time.sleep(0.01)
        return super().logits(rows)


class Wrong(OnnxEngine):
    def logits(self, rows: Rows) -> LogitArray:
        return super().logits(rows) + np.array([0.0, 0.5], np.float32)


def runtime(start: Any, name: str = "openvino", device: str = "cpu", why_not: str | None = None) -> Runtime:
    return Runtime(name, device, ("fp32",), lambda: why_not, start)


def only(monkeypatch: pytest.MonkeyPatch, runtimes: Sequence[Runtime]) -> None:
    monkeypatch.setattr(choose, "RUNTIMES", tuple(runtimes))


def test_the_fastest_is_chosen_and_all_that_was_tried_is_told(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, [runtime(Slow), replace(ONNX, precisions=("fp32",))])
    choice = decide(bundle, Wanted(threads=2))
    assert type(choice.schedule.engine) is OnnxEngine
    assert choice.degraded is None
    assert [(trial.engine, trial.layout) for trial in choice.trials] == [
        ("openvino-cpu", Layout(2, 1)),
        ("openvino-cpu", Layout(1, 2)),
        ("onnxruntime-cpu", Layout(2, 1)),
        ("onnxruntime-cpu", Layout(1, 2)),
    ]
    speeds = [trial.reviews_per_s or 0.0 for trial in choice.trials]
    assert min(speeds[2:]) > max(speeds[:2]) > 0.0


def test_what_answers_the_golden_samples_wrongly_is_refused_however_fast(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, [runtime(Wrong), replace(ONNX, start=Slow, precisions=("fp32",))])
    choice = decide(bundle, Wanted(threads=1))
    assert type(choice.schedule.engine) is Slow
    assert "golden sample 0: P(positive)" in str(choice.trials[0].refused)


def test_what_has_to_be_asked_for_is_not_tried_unasked(bundle: Bundle) -> None:
    assert {trial.engine for trial in decide(bundle, Wanted()).trials} == {"onnxruntime-cpu"}
    assert {trial.engine for trial in decide(bundle, Wanted("openvino")).trials} == {"openvino-cpu"}


@pytest.mark.parametrize(("factor", "precision"), [(1.1, "int8"), (1.3, "fp32")])
def test_another_precision_has_to_be_clearly_faster(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, factor: float, precision: str
) -> None:
    speeds = {"int8": 100.0, "fp32": 100.0 * factor}
    monkeypatch.setattr(choose, "_speed", lambda engine, *_: speeds[engine.precision])
    assert decide(bundle, Wanted("onnxruntime")).schedule.engine.precision == precision


@pytest.mark.parametrize(
    ("wanted", "engine", "precision"),
    [
        (Wanted("onnxruntime", precision="int8"), "onnxruntime-cpu", "int8"),
        (Wanted("openvino", "cpu", "fp32"), "openvino-cpu", "fp32"),
    ],
)
def test_the_operator_may_say_what_to_take(bundle: Bundle, wanted: Wanted, engine: str, precision: str) -> None:
    choice = decide(bundle, wanted)
    assert (choice.schedule.engine.name, choice.schedule.engine.precision) == (engine, precision)
    assert choice.degraded is None
    assert {(trial.engine, trial.precision) for trial in choice.trials} == {(engine, precision)}


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (Wanted(device="cuda"), "cuda cannot be had here: pytorch-cuda bf16"),
        (Wanted(precision="bf16"), "bf16 cannot be had here: there is no such engine"),
        (Wanted("pytorch", precision="int8"), "pytorch, int8 cannot be had here: there is no such engine"),
        (Wanted("onnxruntime", "cuda", "fp16"), "ONNX Runtime .* has no CUDAExecutionProvider here"),
    ],
)
def test_where_a_wish_cannot_be_fulfilled_the_cpu_takes_over(bundle: Bundle, wanted: Wanted, reason: str) -> None:
    choice = decide(bundle, wanted)
    assert choice.schedule.engine.name.endswith("-cpu")
    assert choice.degraded is not None
    assert re.search(reason, choice.degraded), choice.degraded


def test_a_precision_that_the_gate_kept_out_is_none(tmp_path: Path, bundle: Bundle) -> None:
    manifest = bundle.manifest
    golden = tuple(replace(each, positive={"fp32": each.positive["fp32"]}) for each in manifest.golden)
    without = replace(bundle, manifest=replace(manifest, graphs={"fp32": "model.onnx"}, golden=golden))
    choice = decide(without, Wanted("onnxruntime", precision="int8"))
    assert choice.schedule.engine.precision == "fp32"
    assert "the bundle has no int8 graph; it has fp32" in str(choice.degraded)


def test_nothing_that_works_is_no_model(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, [runtime(Wrong)])
    with pytest.raises(ModelUnavailable, match=r"no engine can run the bundle: openvino-cpu fp32.*golden sample 0"):
        decide(bundle, Wanted())


def test_larger_calls_are_not_tried_once_they_are_slower(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def speed(_: Engine, cut: Cut, *__: Any) -> float:
        tried.append(cut.batch_tokens)
        return {64: 1.0, 128: 2.0, 256: 1.9}.get(cut.batch_tokens, 1.0)

    monkeypatch.setattr(choose, "_speed", speed)
    engine = OnnxEngine(bundle.graph("int8"), bundle.encoder.pad_id, "int8")
    assert choose.best_cut(engine, [[2, 5, 3]], 0.01) == Cut(128)
    assert tried == [64, 128, 256, 512]


def test_warming_up_covers_each_length_and_the_largest_call(bundle: Bundle) -> None:
    shapes: list[tuple[int, int]] = []

    class Watched(OnnxEngine):
        def logits(self, rows: Rows) -> LogitArray:
            shapes.append((len(rows), len(rows[0])))
            return super().logits(rows)

    engine = Watched(bundle.graph("int8"), bundle.encoder.pad_id, "int8", Layout(2, 1))
    choose.warm_up(Schedule(engine, Cut(1024)), choose.sample_rows(bundle), bundle.manifest.max_length_tokens)
    assert {(1, length) for length in bundle.manifest.token_lengths} <= set(shapes)
    assert shapes.count((2, 512)) == 2  # one for each stream


def test_a_device_that_fails_in_warming_up_is_not_taken(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    class Small(OnnxEngine):
        def logits(self, rows: Rows) -> LogitArray:
            if len(rows[0]) == bundle.manifest.max_length_tokens:
                raise EngineFailed("pytorch-cuda has no memory for a row of 512 tokens")
            return super().logits(rows)

    def start(*arguments: Any) -> Small:
        engine = Small(*arguments)
        engine.name = "pytorch-cuda"
        return engine

    only(monkeypatch, [runtime(start, "pytorch", "cuda"), ONNX])
    choice = decide(bundle, Wanted("pytorch"))
    assert choice.schedule.engine.name == "onnxruntime-cpu"
    assert choice.degraded == "pytorch-cuda has no memory for a row of 512 tokens"


def test_memory_stays_what_it_was_said_to_be(bundle: Bundle) -> None:
    choice = decide(bundle, Wanted("onnxruntime", threads=2))
    assert choice.memory_mib is not None
    random = np.random.default_rng(0)
    for _ in range(300):
        lengths = random.integers(3, bundle.manifest.max_length_tokens + 1, random.integers(1, 65))
        choice.schedule.logits([[2, *random.integers(5, 100, length - 2).tolist(), 3] for length in lengths])
    grown = (psutil.Process().memory_info().rss >> 20) - choice.memory_mib
    assert grown < 32, f"{grown} MiB more than {choice.memory_mib}"


def test_the_sample_is_as_long_as_reviews_are(bundle: Bundle) -> None:
    rows = choose.sample_rows(bundle)
    assert [len(row) for row in rows] == list(bundle.manifest.token_lengths)
    assert {(row[0], row[-1]) for row in rows} == {(bundle.encoder.id_of("[CLS]"), bundle.encoder.id_of("[SEP]"))}


def test_a_device_that_fails_is_replaced_for_good(bundle: Bundle) -> None:
    engine = OnnxEngine(bundle.graph("fp32"), bundle.encoder.pad_id)
    runner = Runner(bundle, Choice(Schedule(Broken(engine, calls=1), DEFAULT_CUT), ()))
    row = bundle.manifest.golden[0].ids
    before = runner.logits([row])
    assert runner.choice.degraded is None
    after = runner.logits([row])
    assert runner.choice.schedule.engine.name.endswith("-cpu")
    assert runner.choice.degraded == "pytorch-cuda failed on 1 rows: OutOfMemoryError"
    assert np.abs(bundle.manifest.calibration.positive(before) - bundle.manifest.calibration.positive(after)) < 0.05


def test_a_cpu_that_fails_is_not_replaced_by_itself(bundle: Bundle) -> None:
    runner = Runner(bundle, choose.reference(bundle))
    with pytest.raises(EngineFailed):
        runner.logits([[2, 10**6, 3]])


def test_a_model_that_does_not_reproduce_its_golden_samples_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_bundle(tmp_path / "bundle", seed=5).folder
    monkeypatch.setattr(choose, "RUNTIMES", (replace(ONNX, start=Wrong),))
    with pytest.raises(GoldenMismatch, match="golden sample 0"):
        Model.load(folder, tag="x")
