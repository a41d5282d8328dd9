"""The bare engine: what the service does without a service, and what all answers are held against."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dialects import label_of
from benchmarks.jobs import Measured, percentile
from serving.engine.choose import Wanted
from serving.engine.schedule import Cut
from serving.model import Model

CHUNK = 2_048
ROUNDED, ARITHMETIC = 0.5e-4, 1e-5
"""Answers of the service have four decimals; and in full precision, a batch of another shape sums in another order."""
PEER_TOLERANCE = 1e-3
"""Another library on the same weights in full precision; what bundles allow for a golden sample."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Answers and the engine's: how many different ones, how many unequal, and the largest difference of a score.

    ``as_alone`` of the unequal are what the engine says of the text alone, and not among others.
    """

    answers: int
    unequal: int
    as_alone: int
    largest: float
    tolerance: float


def load(bundle: Path, info: dict[str, Any] | None = None) -> Model:
    """As the service says, at /model-info, that it runs it; without that, in full precision in ONNX Runtime."""
    if info is None:
        return Model.load(bundle, "bare")
    runtime, _, device = info["engine"].rpartition("-")
    cut = Cut(info["engine_choice"]["batch_tokens"], info["engine_choice"]["call_tokens"])
    return Model.load(bundle, "bare", wanted=Wanted(runtime, device, info["precision"], cut=cut))


def timed(model: Model, texts: Sequence[str], size: int, seconds: float) -> Measured:
    """Reviews a second of the engine on the token ids of ``texts``, ``size`` at a time, in one thread."""
    rows = model.bundle.encoder.encode(texts)
    batches = [rows[start : start + size] for start in range(0, len(rows) - size + 1, size)]
    model.positive(batches[0])
    taken: list[float] = []
    cpu, began = time.process_time(), time.perf_counter()
    ended = began
    while ended - began < seconds:
        model.positive(batches[len(taken) % len(batches)])
        now = time.perf_counter()
        taken.append(1e3 * (now - ended))
        ended = now
    taken.sort()
    return Measured(
        requests=len(taken),
        reviews=len(taken) * size,
        seconds=ended - began,
        speed=len(taken) * size / (ended - began),
        p50_ms=percentile(taken, 0.5),
        p99_ms=percentile(taken, 0.99),
        errors={},
        server_cpu_s=time.process_time() - cpu,
        load_cpu_s=0.0,
        hits=0,
    )


def judged(model: Model, texts: Collection[str]) -> dict[str, float]:
    """P(positive) of each text, in batches of ``CHUNK``."""
    found: dict[str, float] = {}
    some = list(texts)
    for start in range(0, len(some), CHUNK):
        part = some[start : start + CHUNK]
        found.update(zip(part, model.positive(model.bundle.encoder.encode(part)).tolist(), strict=True))
    return found


def compared(
    answers: Collection[tuple[str, str, float]], known: dict[str, float], model: Model, *, neutral: bool
) -> Compared:
    """Hold ``answers`` against ``known``, which is ``model``'s P(positive) of their texts.

    With ``neutral``, the server rounds and calls some reviews neutral, as ours does. A label may be that of either side
    where the probability is so near a border.
    """
    tolerance = ROUNDED + ARITHMETIC if neutral else PEER_TOLERANCE

    def unlike(label: str, score: float, positive: float) -> bool:
        near = np.clip([positive - tolerance, positive, positive + tolerance], 0.0, 1.0).tolist()
        labels = {model.verdict(each).sentiment if neutral else label_of(each) for each in near}
        return abs(score - max(positive, 1.0 - positive)) > tolerance or label not in labels

    unequal = [each for each in answers if unlike(each[1], each[2], known[each[0]])]
    alone = [float(model.positive(model.bundle.encoder.encode([text]))[0]) for text, _, _ in unequal[:CHUNK]]
    return Compared(
        answers=len(answers),
        unequal=len(unequal),
        as_alone=sum(not unlike(each[1], each[2], positive) for each, positive in zip(unequal, alone, strict=False)),
        largest=max((abs(score - max(known[text], 1.0 - known[text])) for text, _, score in answers), default=0.0),
        tolerance=tolerance,
    )
