"""Which engine runs a bundle here: whatever works, answers the golden samples, and is fastest on this machine.

A candidate is a runtime, a precision that the gate let into the bundle, and a way to use the threads. Each is timed
for a fraction of a second on rows as long as real reviews are; the fastest is then tried with several sizes of calls.
What was tried, and why the rest was not taken, is kept for logs and ``/model-info``.
"""

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from data.bundle import FULL, Bundle
from data.errors import BundleError
from serving.engine import ONE, Engine, Layout, Rows, onnx, openvino, packed
from serving.engine.cores import cores
from serving.engine.schedule import DEFAULT_CUT, Cut, Schedule
from serving.errors import EngineFailed, ModelUnavailable

log = logging.getLogger(__name__)

PRECISIONS = ("int8", "bf16", "fp16", FULL)
PRECISION_MARGIN = 1.2
"""How many times as fast another precision has to be than one before it: replicas of one model should not answer in
different ones because a timing wavered."""
TRIAL_S = 0.15
"""How long a candidate, or a size of calls, is timed."""
BUDGETS = (64, 128, 256, 512, 1024, 2048, 4096)
GPU_BUDGETS = (4096, 16384, 65536)
FALLING = 0.9
"""Larger calls are not tried once they are so much slower than smaller ones were."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for; None leaves it to the calibration, and 0 threads are all that there are."""

    engine: str | None = None
    device: str | None = None
    precision: str | None = None
    threads: int = 0
    cut: Cut | None = None


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime on a device: what it computes in, why it may be missing, how it is started, and whether unasked."""

    engine: str
    device: str
    precisions: tuple[str, ...]
    why_not: Callable[[], str | None]
    start: Callable[[Path, int, str, Layout], Engine]
    only_if_asked: bool = False

    @property
    def name(self) -> str:
        """As engines call themselves."""
        return f"{self.engine}-{self.device}"


# OpenVINO is faster in bulk, but with it a service that was told to stop has dropped a request in flight; until that is
# understood, it has to be asked for.
RUNTIMES = (
    Runtime("openvino", "cpu", (FULL, "int8"), openvino.why_not, openvino.OpenVinoEngine, only_if_asked=True),
    Runtime("onnxruntime", "cpu", (FULL, "int8"), partial(onnx.why_not, "cpu"), onnx.OnnxEngine),
    Runtime("pytorch", "cuda", ("bf16", "fp16"), packed.why_not, packed.PackedEngine),
    Runtime(
        "onnxruntime", "cuda", (FULL, "fp16"), partial(onnx.why_not, "cuda"), partial(onnx.OnnxEngine, device="cuda")
    ),
)


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate and what came of it: its speed, or why it cannot be taken."""

    engine: str
    precision: str
    layout: Layout
    reviews_per_s: float | None = None
    refused: str | None = None

    def __str__(self) -> str:
        streams, threads = self.layout.streams, self.layout.threads
        what = f"{self.reviews_per_s:,.0f} reviews/s" if self.refused is None else self.refused
        return f"{self.engine} {self.precision}, {streams} x {threads} thread(s): {what}"


@dataclass(frozen=True, slots=True)
class Choice:
    """The schedule that won, what was tried, and what the operator asked for and did not get.

    ``memory_mib`` is what the process takes once it has judged as much as the engine is ever given at a time.
    """

    schedule: Schedule
    trials: tuple[Trial, ...]
    degraded: str | None = None
    memory_mib: int | None = None


def choose(bundle: Bundle, wanted: Wanted, *, trial_s: float = TRIAL_S) -> Choice:
    """The fastest schedule for ``bundle`` among what ``wanted`` allows and works here.

    Where nothing of what is wanted works, the CPU takes over, and ``degraded`` says so. Raises ModelUnavailable where
    nothing works at all.
    """
    rows = sample_rows(bundle)
    best, trials = _fastest(bundle, wanted, rows, trial_s)
    degraded, anything = None, Wanted(device="cpu", threads=wanted.threads)
    if best is None and wanted != anything:
        asked = ", ".join(filter(None, (wanted.engine, wanted.device, wanted.precision)))
        degraded = f"{asked} cannot be had here: {_reasons(trials)}"
        log.warning("%s; the CPU takes over", degraded)
        best, more = _fastest(bundle, anything, rows, trial_s)
        trials = (*trials, *more)
    if best is None:
        raise ModelUnavailable(f"no engine can run the bundle: {_reasons(trials)}")
    try:
        schedule = Schedule(best, wanted.cut or best_cut(best, rows, trial_s))
        warm_up(schedule, rows, bundle.manifest.max_length_tokens)
    except EngineFailed as error:
        if best.name.endswith("-cpu"):
            raise ModelUnavailable(str(error)) from error
        log.warning("%s; the CPU takes over", error)
        return replace(choose(bundle, anything, trial_s=trial_s), degraded=str(error))
    log.info("%s", "; ".join(map(str, trials)))
    return Choice(schedule, trials, degraded, _memory_mib())


def settled(bundle: Bundle, taken: Trial, cut: Cut, trials: tuple[Trial, ...]) -> Choice | None:
    """What was chosen before, without timing anything; None where it cannot be had any more."""
    runtime = next((each for each in RUNTIMES if each.name == taken.engine and each.why_not() is None), None)
    if runtime is None or taken.precision not in bundle.manifest.graphs:
        return None
    try:
        schedule = Schedule(_started(runtime, bundle, taken.precision, taken.layout), cut)
        warm_up(schedule, sample_rows(bundle), bundle.manifest.max_length_tokens)
    except (BundleError, EngineFailed) as error:
        log.warning("the engine that was chosen before fails: %s", error)
        return None
    return Choice(schedule, trials, None, _memory_mib())


def reference(bundle: Bundle) -> Choice:
    """The full graph in ONNX Runtime on all threads, without timing anything: what is there everywhere.

    Raises BundleError or ModelUnavailable.
    """
    runtime = next(each for each in RUNTIMES if each.name == "onnxruntime-cpu")
    try:
        engine = _started(runtime, bundle, FULL, Layout(1, cores()))
    except EngineFailed as error:
        raise ModelUnavailable(str(error)) from error
    return Choice(Schedule(engine, DEFAULT_CUT), ())


def sample_rows(bundle: Bundle) -> list[list[int]]:
    """Rows as long as reviews of dev are, made of the golden samples' tokens."""
    first, *_, last = bundle.manifest.golden[0].ids
    words = np.concatenate([golden.ids[1:-1] for golden in bundle.manifest.golden])
    lengths = bundle.manifest.token_lengths
    return [[first, *np.resize(np.roll(words, -place), length - 2), last] for place, length in enumerate(lengths)]


def best_cut(engine: Engine, rows: Rows, trial_s: float) -> Cut:
    """The size of calls with which ``engine`` judges ``rows`` fastest, and what a call costs beside its tokens.

    Padding changes the last bit of a sum. In floating point that is the end of it; in 8 bits a number may be rounded to
    another step for it, so there rows are padded with nothing, and an answer is the same to the last bit in any batch.
    """
    budgets = BUDGETS if engine.name.endswith("cpu") else GPU_BUDGETS
    call_tokens = 0 if engine.precision == "int8" else _call_tokens(engine, rows, trial_s / 4)
    best, best_speed = DEFAULT_CUT, 0.0
    for budget in budgets:
        cut = Cut(budget, min(call_tokens, budget))
        speed = _speed(engine, cut, rows, trial_s)
        if speed > best_speed:
            best, best_speed = cut, speed
        elif speed < FALLING * best_speed:
            break
    return best


def warm_up(schedule: Schedule, rows: Rows, max_length_tokens: int) -> None:
    """Judge what occurs once before anybody waits for it: rows of each length alone, all together, and the longest.

    The last is as much as the engine is ever given at a time; what memory it takes then is what it will ever take.
    """
    each_length = {len(row): row for row in rows}.values()
    list(schedule.streams.map(schedule.engine.logits, ([row] for row in each_length)))
    schedule.logits(rows)
    first, *words, last = max(rows, key=len)
    longest = [first, *np.resize(words or [last], max_length_tokens - 2), last]
    streams, calls = schedule.engine.layout.streams, max(1, schedule.cut.batch_tokens // max_length_tokens)
    schedule.logits([longest] * streams * calls)


def _memory_mib() -> int:
    return int(psutil.Process().memory_info().rss) >> 20


def _call_tokens(engine: Engine, rows: Rows, trial_s: float) -> int:
    """What a call costs beside its tokens, in tokens, from one row of middle length and four of them."""
    middle = sorted(rows, key=len)[len(rows) // 2]
    alone, four = (_seconds(partial(engine.logits, [middle] * count), trial_s) for count in (1, 4))
    token_s = max((four - alone) / (3 * len(middle)), 1e-9)
    return round(max(alone - token_s * len(middle), 0.0) / token_s)


def _fastest(bundle: Bundle, wanted: Wanted, rows: Rows, trial_s: float) -> tuple[Engine | None, tuple[Trial, ...]]:
    """The fastest engine, and all trials; at most two engines are held at a time."""
    best: Engine | None = None
    best_speed = 0.0
    trials: list[Trial] = []
    for trial, start in _candidates(bundle, wanted):
        if trial.refused is None:
            try:
                engine = start()
                speed = _speed(engine, DEFAULT_CUT, rows, trial_s)
            except (BundleError, EngineFailed) as error:
                trials.append(replace(trial, refused=str(error)))
                continue
            margin = 1.0 if best is None or best.precision == engine.precision else PRECISION_MARGIN
            if speed > margin * best_speed:
                best, best_speed = engine, speed
            trial = replace(trial, reviews_per_s=round(speed, 1))
        trials.append(trial)
    return best, tuple(trials)


def _candidates(bundle: Bundle, wanted: Wanted) -> Iterator[tuple[Trial, Callable[[], Engine]]]:
    """All that ``wanted`` allows; what cannot be had for a reason known beforehand is refused already.

    A runtime that is not here is no candidate, unless it was asked for.
    """
    graphs = bundle.manifest.graphs
    threads = wanted.threads or cores()
    for precision, runtime in itertools.product(PRECISIONS, RUNTIMES):
        asked = (wanted.engine, wanted.device, wanted.precision)
        have = (runtime.engine, runtime.device, precision)
        if precision not in runtime.precisions or any(a not in (None, h) for a, h in zip(asked, have, strict=True)):
            continue
        if runtime.only_if_asked and wanted.engine is None:
            continue
        refused = runtime.why_not()
        if refused is not None and wanted.engine is None and wanted.device is None:
            continue
        if refused is None and precision not in graphs:
            refused = f"the bundle has no {precision} graph; it has {', '.join(graphs)}"
        for layout in dict.fromkeys((Layout(threads, 1), Layout(1, threads))) if runtime.device == "cpu" else (ONE,):
            trial = Trial(runtime.name, precision, layout, refused=refused)
            yield trial, partial(_started, runtime, bundle, precision, layout)


def _started(runtime: Runtime, bundle: Bundle, precision: str, layout: Layout) -> Engine:
    """An engine that answers the golden samples, all at once and each alone. Raises BundleError or EngineFailed."""
    engine = runtime.start(bundle.graph(precision), bundle.encoder.pad_id, precision, layout)
    schedule = Schedule(engine, DEFAULT_CUT)
    rows = [golden.ids for golden in bundle.manifest.golden]
    positive = bundle.manifest.calibration.positive
    bundle.check_golden(positive(schedule.logits(rows)).tolist(), precision)
    bundle.check_golden([float(positive(engine.logits([row]))[0]) for row in rows], precision)
    schedule.close()
    return engine


def _speed(engine: Engine, cut: Cut, rows: Rows, trial_s: float) -> float:
    """Reviews a second of ``rows``, or, where these take too long, of some of them."""
    schedule = Schedule(engine, cut)
    some = rows[:: max(1, len(rows) // 16)]
    taken = _seconds(lambda: schedule.logits(some), 0.0)
    if taken * len(rows) / len(some) <= trial_s:
        some = rows
        taken = _seconds(lambda: schedule.logits(rows), trial_s)
    schedule.close()
    return len(some) / taken


def _seconds(work: Callable[[], object], trial_s: float) -> float:
    """The shortest time that ``work`` takes, tried once to warm up and then until ``trial_s`` have passed."""
    work()
    best, began = float("inf"), time.perf_counter()
    while best == float("inf") or time.perf_counter() - began < trial_s:
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best


def _reasons(trials: Iterable[Trial]) -> str:
    return "; ".join(str(trial) for trial in trials if trial.refused) or "there is no such engine"
