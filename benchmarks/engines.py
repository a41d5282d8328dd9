"""Engines beside plain transformers. ``python -m benchmarks.engines [--shape compact,small,base] [--nsmc FOLDER]``.

Every engine and precision that works here judges NSMC's test reviews in batches of 32 as they come and by our schedule;
transformers, in fp32, does so one by one and in batches of 32. All ways take turns on reviews of the same lengths, so
ratios of one run may be compared. Weights are random: speed does not depend on them. The ceiling is what products of
large matrices reach in the same precision in the same run. Prints Markdown.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime
import torch
from transformers import PreTrainedModel

from benchmarks.bundles import SAMPLES, calibration_batches, write_bundle
from benchmarks.machine import described
from benchmarks.products import product_ops
from benchmarks.subjects import MAX_LENGTH_TOKENS, SEED, SHAPES, Arithmetic, Corpus, Shape, nsmc_folder
from data import nsmc
from data.bundle import FULL, Bundle
from data.encode import Encoder, pad
from data.text import clean
from pipelines.scoring.judge import all_judged, encoded
from pipelines.scoring.parts import Parts
from pipelines.scoring.source import Request, open_source
from serving.engine import Rows
from serving.engine.choose import RUNTIMES, Wanted, choose
from serving.engine.onnx import OnnxEngine
from serving.engine.schedule import Schedule
from serving.model import Model

AS_THEY_COME = 32
SAMPLE_REVIEWS = 4_096
MARKS = {"base": (8.0, 4.0, 0.45), "small": (10.0, 5.0, 0.35)}
"""Wanted of the best way: times transformers one by one, times it in batches, share of the ceiling."""
SCHEDULED_MARK, SINGLE_MARK, SCORING_MARK = 2.5, 1.1, 0.9
SCORED = ("compact", "small")
"""Where all of test is scored; with base that takes an hour."""


@dataclass(slots=True)
class Way:
    """A way to judge reviews, and how fast it was in each round."""

    name: str
    precision: str
    batching: str
    judge: Callable[[Rows], object]
    reviews: int = 16
    speeds: list[float] = field(default_factory=list)

    @property
    def speed(self) -> float:
        """Reviews a second, the median of all rounds."""
        return statistics.median(self.speeds)

    def calibrate(self, sample: Rows, seconds: float) -> None:
        """Find how many reviews take about so long."""
        while self.reviews < len(sample):
            taken = _seconds(lambda: self.judge(spread(sample, self.reviews)))
            if taken > seconds / 4:
                self.reviews = min(max(32, round(self.reviews * seconds / taken)), len(sample))
                return
            self.reviews = min(self.reviews * 4, len(sample))

    def time(self, sample: Rows) -> None:
        """One round."""
        some = spread(sample, self.reviews)
        self.speeds.append(len(some) / _seconds(lambda: self.judge(some)))


def spread(sample: Rows, count: int) -> Rows:
    """So many of ``sample``, with lengths like the whole, in no order."""
    by_length = sorted(sample, key=len)
    chosen = [by_length[place] for place in np.linspace(0, len(by_length) - 1, count).round().astype(int)]
    np.random.default_rng(SEED).shuffle(chosen)
    return chosen


def plain(model: PreTrainedModel, pad_id: int, size: int) -> Callable[[Rows], None]:
    """Transformers as its documentation shows it: padded batches, no gradients."""

    def judge(rows: Rows) -> None:
        with torch.inference_mode():
            for start in range(0, len(rows), size):
                ids, mask = (torch.from_numpy(array) for array in pad(rows[start : start + size], pad_id))
                model(input_ids=ids, attention_mask=mask).logits.numpy()

    return judge


def as_they_come(schedule: Schedule) -> Callable[[Rows], None]:
    """The schedule's engine, with as many calls at a time, on batches in the order of the reviews."""
    pool = ThreadPoolExecutor(schedule.engine.layout.streams)

    def judge(rows: Rows) -> None:
        batches = [rows[start : start + AS_THEY_COME] for start in range(0, len(rows), AS_THEY_COME)]
        list(pool.map(schedule.engine.logits, batches))

    return judge


def random_bundle(shape: Shape, corpus: Corpus, folder: Path) -> tuple[Bundle, PreTrainedModel]:
    """A bundle of random weights, in full precision and in 8 bits, and its model."""
    model = shape.model(SEED).eval()
    pad_id = Encoder(corpus.tokenizer_json, MAX_LENGTH_TOKENS).pad_id
    bundle = write_bundle(
        folder,
        model,
        corpus.tokenizer_json,
        SAMPLES,
        calibration_batches(corpus.dev.rows, pad_id),
        name="random",
        max_length_tokens=MAX_LENGTH_TOKENS,
        lengths=map(len, corpus.dev.rows),
    )
    return bundle, model


def ways(bundle: Bundle, model: PreTrainedModel) -> tuple[list[Way], list[str]]:
    """Transformers' first, then two of each engine and precision that works here; and notes on how engines run."""
    pad_id = bundle.encoder.pad_id
    found = [
        Way("transformers", FULL, "one by one", plain(model, pad_id, 1)),
        Way("transformers", FULL, f"{AS_THEY_COME} as they come", plain(model, pad_id, AS_THEY_COME)),
    ]
    notes = []
    for runtime in RUNTIMES:
        for precision in bundle.manifest.graphs:
            if runtime.why_not() is not None or precision not in runtime.precisions:
                continue
            schedule = choose(bundle, Wanted(runtime.engine, runtime.device, precision)).schedule
            name = schedule.engine.name
            found.append(Way(name, precision, f"{AS_THEY_COME} as they come", as_they_come(schedule)))
            found.append(Way(name, precision, "scheduled", schedule.logits))
            notes.append(f"{name} {precision}: {schedule.engine.layout}, {schedule.cut}")
    return found, notes


def single(bundle: Bundle, rows: Rows, rounds: int) -> tuple[float, float]:
    """Median seconds of a review: through a model as the service has it, and of its runtime alone, in turns."""
    model = Model.load(bundle.folder, "random", wanted=Wanted("onnxruntime", "cpu"))
    session = cast("OnnxEngine", model.engine).session
    arrays = [dict(zip(("input_ids", "attention_mask"), pad([row], 0), strict=True)) for row in rows]
    ours: list[float] = []
    theirs: list[float] = []
    for turn in range(2 * rounds):
        for row, given in zip(rows, arrays, strict=True):
            pair = [(ours, partial(model.positive, [row])), (theirs, partial(session.run, None, given))]
            for taken, work in pair if turn % 2 else reversed(pair):  # the second finds the caches warm
                taken.append(_seconds(work))
    return statistics.median(ours), statistics.median(theirs)


def scoring(bundle: Bundle, test: Path, rounds: int) -> tuple[float, float]:
    """Reviews a second of all of ``test``: as ``pipelines.score`` judges it, and of the engine alone, in turns."""
    model = Model.load(bundle.folder, "random", wanted=Wanted("onnxruntime", "cpu"))
    request = Request(str(test))
    source = open_source(request)
    prepare = partial(encoded, text=source.text, encoder=bundle.encoder, truncate=True)
    batches = [prepare(chunk).ids for chunk in source.chunks()]
    reviews = sum(map(len, batches))

    def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            source, out = open_source(request), Path(folder) / "out.parquet"
            with Parts.open(Path(folder) / "parts", {}, source.schema) as parts:
                for table in all_judged(source.chunks(), prepare, model):
                    parts.add(table)
                parts.merge(out, Path(folder) / "rejected.parquet")

    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(reviews / _seconds(whole))
        theirs.append(reviews / _seconds(lambda: [model.positive(ids) for ids in batches]))
    return statistics.median(ours), statistics.median(theirs)


def compared(name: str, corpus: Corpus, test: Path, *, seconds: float, rounds: int) -> list[str]:
    """The lines of a shape's table, and how it stands to the marks."""
    shape = SHAPES[name]
    encoder = Encoder(corpus.tokenizer_json, MAX_LENGTH_TOKENS)
    texts = [text for review in nsmc.read(test) if (text := clean(review.text))]
    chosen = np.random.default_rng(SEED).choice(len(texts), min(SAMPLE_REVIEWS, len(texts)), replace=False)
    sample = encoder.encode([texts[place] for place in chosen], truncate=True)
    lengths = np.asarray([len(row) for row in sample])
    arithmetic = Arithmetic.of(shape)
    # of a pass forward only
    flops = arithmetic.needed(len(sample), int(lengths.sum()), int((lengths**2).sum())) / 3 / len(sample)
    with tempfile.TemporaryDirectory() as folder:
        bundle, model = random_bundle(shape, corpus, Path(folder))
        found, notes = ways(bundle, model)
        for way in found:
            way.calibrate(sample, seconds)
        ceilings: dict[str, list[float]] = {FULL: [], "int8": []}
        for _ in range(rounds):
            for precision, reached in ceilings.items():
                reached.append(product_ops(precision))
            for way in found:
                way.time(sample)
        alone = _single(*single(bundle, spread(sample, 100), rounds))
        bulk = _scoring(*scoring(bundle, test, rounds)) if name in SCORED else None
    ceiling = {precision: max(reached) for precision, reached in ceilings.items()}
    return [
        f"## {name}",
        "",
        f"{shape.architecture}, {arithmetic.parameters:,} parameters; {lengths.mean():.1f} tokens a review, "
        f"{flops / 1e6:,.0f} MFLOP; ceiling: " + ", ".join(f"{p} {c / 1e9:,.0f} Gop/s" for p, c in ceiling.items()),
        "",
        *_table(found, ceiling, flops),
        "",
        *(f"- {line}" for line in filter(None, [*notes, *_marks(name, found, ceiling, flops), alone, bulk])),
        "",
    ]


def _table(found: Sequence[Way], ceiling: dict[str, float], flops: float) -> list[str]:
    one, many = found[:2]
    lines = [
        f"| engine | precision | batching | reviews/s | min..max | x one by one | x {AS_THEY_COME} | of ceiling |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for way in found:
        share = way.speed * flops / ceiling[way.precision]
        lines.append(
            f"| {way.name} | {way.precision} | {way.batching} | {way.speed:,.1f} | {min(way.speeds):,.1f}.."
            f"{max(way.speeds):,.1f} | {way.speed / one.speed:.1f} | {way.speed / many.speed:.1f} | {share:.0%} |"
        )
    return lines


def _marks(name: str, found: Sequence[Way], ceiling: dict[str, float], flops: float) -> list[str]:
    one, many, *ours = found
    scheduled = [way for way in ours if way.batching == "scheduled"]
    best = max(scheduled, key=lambda way: way.speed)
    loose = next(way for way in ours if (way.name, way.precision) == (best.name, best.precision))
    figures = (best.speed / one.speed, best.speed / many.speed, best.speed * flops / ceiling[best.precision])
    wanted = MARKS.get(name, (None, None, None))
    parts = [
        f"{figures[0]:.1f} x one by one" + _against(figures[0], wanted[0]),
        f"{figures[1]:.1f} x batches" + _against(figures[1], wanted[1]),
        f"{figures[2]:.0%} of the ceiling" + _against(figures[2], wanted[2]),
        f"{best.speed / loose.speed:.1f} x itself as they come" + _against(best.speed / loose.speed, SCHEDULED_MARK),
    ]
    return [f"best: {best.name} {best.precision}: {', '.join(parts)}"]


def _single(ours: float, theirs: float) -> str:
    ratio = ours / theirs
    held = "yes" if ratio <= SINGLE_MARK else "NO"
    return (
        f"a review alone: {1e3 * ours:.3f} ms, its runtime alone {1e3 * theirs:.3f} ms, {ratio:.2f} x "
        f"(at most {SINGLE_MARK}: {held})"
    )


def _scoring(ours: float, theirs: float) -> str:
    share = ours / theirs
    held = "yes" if share >= SCORING_MARK else "NO"
    return (
        f"all of test with pipelines.score: {ours:,.0f} reviews/s, the engine alone {theirs:,.0f}: {share:.0%} "
        f"(at least {SCORING_MARK:.0%}: {held})"
    )


def _against(figure: float, wanted: float | None) -> str:
    return "" if wanted is None else f" (at least {wanted:g}: {'yes' if figure >= wanted else 'NO'})"


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="benchmarks.engines", description=__doc__)
    parser.add_argument("--shape", default="compact,small,base", help="which, with commas between")
    parser.add_argument("--nsmc", type=Path, help="folder with NSMC's files; else $NSMC_SOURCE, else the sample")
    parser.add_argument("--seconds", type=float, default=6.0, help="about so long is a round of a way")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    folder = nsmc_folder(arguments.nsmc)
    print(f"{described(cpu=True)}; ONNX Runtime {onnxruntime.__version__}\n", flush=True)
    for name in arguments.shape.split(","):
        corpus = Corpus.load(folder, SHAPES[name].architecture.vocabulary)
        lines = compared(name, corpus, folder / "ratings_test.txt", seconds=arguments.seconds, rounds=arguments.rounds)
        print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
