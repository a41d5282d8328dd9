"""How fast a GPU judges reviews without padding, and what its precision costs. Part of ``benchmarks.gpu_check``.

The network is exported, read back by the serving engine, and run on reviews as long as NSMC's; it needs ``onnx`` beside
what the rest of the check needs.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import matmul_flops
from benchmarks.subjects import SEED, Arithmetic, Corpus, Shape
from data.bundle import GOLDEN_TOLERANCES
from data.probability import Calibration
from serving.engine import Layout, Rows
from serving.engine.packed import PackedEngine
from serving.engine.schedule import Cut, Schedule
from training.config import Precision
from training.export import export_onnx
from training.metrics import label_flips

BUDGETS = (4_096, 16_384, 65_536, 262_144)
SAMPLE_REVIEWS = 4_000
MARK_REVIEWS_PER_S, MARK_SHARE = 60_000.0, 0.5


@dataclass(frozen=True, slots=True)
class Speed:
    """The engine with calls of one size."""

    batch_tokens: int
    reviews_per_s: float
    of_ceiling: float


@dataclass(frozen=True, slots=True)
class Found:
    """What the engine does on this device in one precision."""

    precision: Precision
    difference: float
    flips: float
    ceiling: float
    speeds: list[Speed]

    @property
    def agrees(self) -> bool:
        """Whether its answers differ from those in fp32 on the CPU by no more than a bundle's golden samples may."""
        return self.difference <= GOLDEN_TOLERANCES[self.precision]

    @property
    def best(self) -> Speed:
        """The fastest size of calls."""
        return max(self.speeds, key=lambda speed: speed.reviews_per_s)

    def table(self) -> list[list[str]]:
        """A row for each size of calls."""
        header = ["tokens a call", "reviews/s", f"of {self.ceiling / 1e12:,.2f} Tflop/s"]
        rows = [[f"{s.batch_tokens:,}", f"{s.reviews_per_s:,.0f}", f"{s.of_ceiling:.1%}"] for s in self.speeds]
        return [header, *rows]


def judged(shape: Shape, corpus: Corpus, precision: Precision, *, cpu: bool, seconds: float) -> Found:
    """Random weights of ``shape`` on the device, beside the same in fp32 on the CPU."""
    sample = corpus.some(SAMPLE_REVIEWS if not cpu else 200).rows
    device = "cpu" if cpu else "cuda"
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "model.onnx"
        export_onnx(shape.model(SEED).eval(), graph)
        engine = PackedEngine(graph, corpus.ids.pad, precision, Layout(), device=device)
        reference = PackedEngine(graph, corpus.ids.pad, "fp32", Layout(), device="cpu")
    few = sample[:200]
    positive = Calibration().positive
    here, there = (positive(Schedule(each, Cut(BUDGETS[0])).logits(few)) for each in (engine, reference))
    size = (8192, 4096, 4096) if not cpu else (512, 512, 512)
    ceiling = matmul_flops(size, precision, cpu)
    lengths = np.asarray([len(row) for row in sample])
    flops = Arithmetic.of(shape).needed(len(sample), int(lengths.sum()), int((lengths**2).sum())) / 3 / len(sample)
    speeds = []
    for budget in BUDGETS[:1] if cpu else BUDGETS:
        speed = _speed(Schedule(engine, Cut(budget)), sample, seconds)
        speeds.append(Speed(budget, speed, speed * flops / ceiling))
    return Found(precision, float(np.abs(here - there).max()), label_flips(here, there), ceiling, speeds)


def _speed(schedule: Schedule, sample: Rows, seconds: float) -> float:
    """Reviews a second over a whole round, after one that is not counted."""
    rows = list(sample) * max(1, -(-4 * schedule.cut.batch_tokens // sum(map(len, sample))))
    schedule.logits(rows)
    reviews, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        schedule.logits(rows)
        reviews += len(rows)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return reviews / (time.perf_counter() - began)
