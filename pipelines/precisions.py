"""The graphs of a bundle, by precision: written, judged on dev and test, and let in by the gate or deleted."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedModel

from data.bundle import FULL, GOLDEN_TOLERANCES, GRAPH_FILE
from data.encode import Encoder, IdArray, pad
from data.probability import Calibration
from pipelines.params import Export
from pipelines.splits import read_split
from serving.engine import Engine
from serving.engine.onnx import OnnxEngine
from serving.engine.packed import PackedEngine
from serving.engine.schedule import DEFAULT_CUT, Schedule
from training import precision as gate
from training import quantize
from training.export import export_onnx

DoubleArray = npt.NDArray[np.float64]
Rows = list[list[int]]
Batches = Iterable[tuple[IdArray, IdArray]]
"""Token ids and masks, both (B, T)."""

GRAPHS = {
    FULL: GRAPH_FILE,
    "int8": "model.int8.onnx",
    "int8-dynamic": "model.int8-dynamic.onnx",
    "fp16": "model.fp16.onnx",
    "bf16": GRAPH_FILE,  # rounded when it is loaded
}
CALIBRATION_ROWS = 16


@dataclass(frozen=True, slots=True)
class Texts:
    """Dev and test as token ids, dev first, with their labels."""

    rows: Rows
    labels: npt.NDArray[np.int64]
    dev: int

    @classmethod
    def encoded(cls, encoder: Encoder) -> "Texts":
        """With texts that are too long cut."""
        splits = [read_split(name) for name in ("dev", "test")]
        rows = [row for split in splits for row in encoder.encode(split["text"][:], truncate=True)]
        return cls(rows, np.concatenate([split["label"][:] for split in splits]), len(splits[0]))


def write_graph(model: PreTrainedModel, precision: str, folder: Path, calibration: Batches = ()) -> Path:
    """Write the graph of ``precision`` into ``folder``, where the full one is already unless it is that one."""
    path = folder / GRAPHS[precision]
    if precision in (FULL, "fp16"):
        export_onnx(model, path, precision)
    elif precision == "int8":
        quantize.static(folder / GRAPH_FILE, path, calibration)
    elif precision == "int8-dynamic":
        quantize.dynamic(folder / GRAPH_FILE, path)
    return path


def _batches(rows: Rows, pad_id: int) -> Iterator[tuple[IdArray, IdArray]]:
    by_length = sorted(rows, key=len)
    for start in range(0, len(by_length), CALIBRATION_ROWS):
        yield pad(by_length[start : start + CALIBRATION_ROWS], pad_id)


@dataclass(frozen=True, slots=True)
class Judge:
    """P(positive) by one graph, in the engine that stands for its precision on a CPU; see ``training.precision``."""

    schedule: Schedule
    calibration: Calibration

    @classmethod
    def of(cls, graph: Path, precision: str, pad_id: int, calibration: Calibration) -> "Judge":
        """Start the engine."""
        engine: Engine
        if precision in ("fp16", "bf16"):
            engine = PackedEngine(graph, pad_id, precision, device="cpu")
        else:
            engine = OnnxEngine(graph, pad_id, precision)
        return cls(Schedule(engine, DEFAULT_CUT), calibration)

    def __call__(self, rows: gate.Rows) -> DoubleArray:
        """(N,) for N token id rows."""
        return self.calibration.positive(self.schedule.logits(rows))


def gated(
    model: PreTrainedModel,
    settings: Export,
    texts: Texts,
    full: DoubleArray,
    folder: Path,
    judge: Callable[..., Judge],
    pad_id: int,
) -> tuple[dict[str, DoubleArray], dict[str, Any]]:
    """Write the graphs of all precisions beside the full one, and delete those that the gate refuses.

    ``full`` is what the full graph says of ``texts``. Returns the same by precision that was let in, and the report of
    all of them.
    """
    found: dict[str, DoubleArray] = {}
    report: dict[str, Any] = {}
    limits = gate.Limits(**settings.gate.model_dump())
    on_dev, on_test = texts.rows[: texts.dev], texts.rows[texts.dev :]
    for precision in settings.precisions:
        graph = write_graph(model, precision, folder, _batches(on_dev[: settings.calibration_reviews], pad_id))
        of_graph = judge(graph, precision)
        positive = of_graph(texts.rows)
        lost = gate.loss(
            texts.labels,
            full,
            positive,
            size_share=graph.stat().st_size / (folder / GRAPH_FILE).stat().st_size,
            stability=gate.stability(of_graph, on_test[: settings.stability_reviews]),
        )
        reasons = lost.reasons(limits)
        if precision not in GOLDEN_TOLERANCES:
            reasons.append("it is only made to be compared")
        report[precision] = {**lost.as_dict(), "let_in": not reasons, "reasons": reasons}
        print(f"{precision}: {'; '.join(reasons) or 'let in'}", flush=True)
        if not reasons:
            found[precision] = positive
        elif GRAPHS[precision] != GRAPH_FILE:
            graph.unlink()
    return found, report
