"""Fine-tuning side by side, in one process: our loop, and ``transformers.Trainer`` in two ways.

``python -m benchmarks.training --shape compact|small [--nsmc FOLDER] [--rows N] [--seconds S] [--accuracy]``

All start from the same random weights and take the same optimizer, learning rates, precision and, on average, the same
reviews a step: ours counts tokens, the Trainer rows, so it gets our mean number of rows. Every round goes once through
reviews of its own, the ways in turn, and is timed from the first step to the last: no start-up, evaluation or saving.
Machines are noisy: compare the ratios of one run, not two runs. Needs torch, transformers, accelerate and tokenizers.
"""

import argparse
import json
import statistics
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import transformers

from benchmarks.machine import default_precision, described, matmul_flops
from benchmarks.subjects import MAX_LENGTH_TOKENS, SEED, SHAPES, SOURCE_VARIABLE, Arithmetic, Corpus, Shape, nsmc_folder
from benchmarks.ways import GROUPED, OURS, PADDED, WAYS, Setting
from training.batches import POOL_BATCHES, TokenBatches
from training.config import Precision
from training.finetune import Split
from training.predict import FloatArray

WARMUP_STEPS, LEAST_STEPS = 5, 3
MAX_POINTS_BELOW = 0.3


@dataclass(frozen=True, slots=True)
class Round:
    """One way through a round's reviews."""

    reviews: int
    tokens: int
    positions: int
    steps: int
    seconds: float
    flops: float
    spent_flops: float
    peak_mib: float
    gpu_peak_mib: float

    @property
    def speed(self) -> float:
        """Reviews a second."""
        return self.reviews / self.seconds


def timed(way: str, setting: Setting, arithmetic: Arithmetic, lessons: Split, seed: int) -> Round:
    """One round of ``way``."""
    trained = WAYS[way](setting, lessons, seed=seed)
    work, count = trained.work, len(lessons.rows)
    lengths = [len(row) for row in lessons.rows]
    return Round(
        reviews=count,
        tokens=sum(lengths),
        positions=work.positions,
        steps=work.steps,
        seconds=trained.meter.seconds,
        flops=arithmetic.needed(count, sum(lengths), sum(length * length for length in lengths)),
        spent_flops=(arithmetic.needed if way == OURS else arithmetic.whole)(count, work.positions, work.squares),
        peak_mib=trained.meter.peak_mib,
        gpu_peak_mib=trained.meter.gpu_peak_mib,
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """All rounds of all ways; ``ceilings`` are operations a second, of a large product and one of the model's width."""

    setting: Setting
    arithmetic: Arithmetic
    origin: str
    available: int
    rounds: dict[str, list[Round]]
    ceilings: list[tuple[float, float]]

    @property
    def ceiling(self) -> float:
        """Operations a second that a matrix product reaches."""
        return statistics.median(max(pair) for pair in self.ceilings)

    def ratios(self, way: str) -> list[float]:
        """How many times as fast as ``way`` ours was, round by round."""
        pairs = zip(self.rounds[OURS], self.rounds[way], strict=True)
        return [ours.speed / other.speed for ours, other in pairs]

    def table(self) -> list[list[str]]:
        """Header and a row a way; the shares of the ceiling are of what is needed, and of what is spent."""
        rows = [["way", "reviews/s", "min..max", "ours is", "min..max", "reviews/step", "ms/step", "padding",
                 "of ceiling", "spent", "peak RSS MiB", "peak GPU MiB"]]  # fmt: skip
        for way, rounds in self.rounds.items():
            speeds, ratios = [each.speed for each in rounds], self.ratios(way)
            reviews, tokens, positions, steps = (
                sum(getattr(each, name) for each in rounds) for name in ("reviews", "tokens", "positions", "steps")
            )
            rows.append([
                way,
                f"{statistics.median(speeds):,.1f}",
                f"{min(speeds):,.1f}..{max(speeds):,.1f}",
                f"{statistics.median(ratios):.2f}x",
                f"{min(ratios):.2f}..{max(ratios):.2f}",
                f"{reviews / steps:.1f}",
                f"{1e3 * statistics.median(each.seconds / each.steps for each in rounds):.1f}",
                f"{1.0 - tokens / positions:.1%}",
                f"{statistics.median(each.flops / each.seconds for each in rounds) / self.ceiling:.1%}",
                f"{statistics.median(each.spent_flops / each.seconds for each in rounds) / self.ceiling:.1%}",
                f"{max(each.peak_mib for each in rounds):,.0f}",
                f"{max(each.gpu_peak_mib for each in rounds):,.0f}",
            ])  # fmt: skip
        return [row[:-1] for row in rows] if self.setting.cpu else rows

    def notes(self) -> list[str]:
        """What the table has to be read with."""
        setting, arithmetic, ours = self.setting, self.arithmetic, self.rounds[OURS][0]
        shape, padded = setting.shape, self.rounds[PADDED][0]
        large, narrow = (statistics.median(each) / 1e9 for each in zip(*self.ceilings, strict=True))
        limit = self.ceiling / (ours.flops / ours.reviews)
        needed = sum(each.reviews for each in self.rounds[OURS])
        repeated = f", repeated up to {needed:,}" if needed > self.available else ""
        return [
            f"{described(setting.cpu)}; {setting.precision}",
            f"{shape.architecture}",
            f"data: {self.origin}, {self.available:,} reviews to train on{repeated}; "
            f"{ours.tokens / ours.reviews:.1f} tokens a review, at most {MAX_LENGTH_TOKENS}",
            f"a step: ours {shape.batch_tokens} tokens with padding; the Trainer's {setting.batch_rows} rows are what "
            "that is on average, over all of train",
            f"{len(self.rounds[OURS])} rounds of {ours.reviews:,} reviews ({padded.reviews:,} where all are padded "
            "alike), the ways in turn, after two warm-up rounds that are not counted",
            f"dropout {shape.dropout}, attention dropout {shape.attention_dropout}; on a CPU ours draws it by bytes, "
            f"{round(shape.dropout * 256)}/256",
            f"arithmetic: {arithmetic.parameters:,} parameters; needed for a review, forward and backward: "
            f"{ours.flops / ours.reviews / 1e6:,.0f} MFLOP; padding takes more, and the Trainer's last layer "
            f"{6 * arithmetic.last / 1e6:.2f} more for each token but the first",
            f"ceiling: a large matrix product reaches {large:,.0f} GFLOP/s, one of the model's width {narrow:,.0f}; no "
            f"way could do more than {limit:,.0f} reviews/s",
        ]

    def content(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return {
            "machine": described(self.setting.cpu),
            "setting": asdict(self.setting),
            "arithmetic": asdict(self.arithmetic),
            "origin": self.origin,
            "ceilings": self.ceilings,
            "ways": {
                way: {
                    "reviews_per_s": statistics.median(each.speed for each in rounds),
                    "ours_is_times": statistics.median(self.ratios(way)),
                    "ours_is_times_min_max": [min(self.ratios(way)), max(self.ratios(way))],
                    "rounds": [asdict(each) for each in rounds],
                }
                for way, rounds in self.rounds.items()
            },
            "notes": self.notes(),
            "table": self.table(),
        }


def compare(
    shape: Shape, corpus: Corpus, *, precision: Precision, cpu: bool, seconds: float, rounds: int, limit: int | None
) -> Comparison:
    """Rounds of about ``seconds`` for each way, over whole pools of reviews, of at most ``limit`` reviews."""
    if not cpu and torch.cuda.device_count() > 1:
        raise SystemExit("the Trainer would spread its steps over all GPUs; set CUDA_VISIBLE_DEVICES to one of them")
    setting, arithmetic = setting_for(shape, corpus, precision, cpu), Arithmetic.of(shape)
    speeds = {}
    for way in WAYS:
        some = corpus.some(setting.batch_rows * (LEAST_STEPS if way == PADDED else WARMUP_STEPS))
        speeds[way] = [timed(way, setting, arithmetic, some, SEED).speed for _ in range(2)][-1]
    pool = POOL_BATCHES * setting.batch_rows
    count = pool * max(1, round(seconds * speeds[OURS] / pool))
    count = min(count, limit or count)
    few = setting.batch_rows * max(LEAST_STEPS, round(seconds * speeds[PADDED] / setting.batch_rows))
    counts = {OURS: count, PADDED: min(few, count), GROUPED: count}

    large = 2048 if cpu or not torch.cuda.is_available() else 8192
    narrow = (shape.batch_tokens, shape.architecture.hidden, shape.architecture.feed_forward)
    taken: dict[str, list[Round]] = {way: [] for way in WAYS}
    ceilings = []
    for number in range(rounds):
        ceilings.append((matmul_flops((large,) * 3, precision, cpu), matmul_flops(narrow, precision, cpu, repeats=50)))
        order = [*WAYS][number % len(WAYS) :] + [*WAYS][: number % len(WAYS)]
        for way in order:
            lessons = corpus.some(counts[way], start=number * count)
            taken[way].append(timed(way, setting, arithmetic, lessons, SEED + number))
    return Comparison(setting, arithmetic, corpus.origin, len(corpus.train.rows), taken, ceilings)


def setting_for(shape: Shape, corpus: Corpus, precision: Precision, cpu: bool) -> Setting:
    """The setting in which the Trainer's steps have as many reviews as ours have on average."""
    rows = corpus.some(max(len(corpus.train.rows), 20_000)).rows  # whole pools, however small the corpus
    batches = TokenBatches([len(row) for row in rows], shape.batch_tokens, SEED)
    return Setting(shape, corpus.ids, precision, cpu, max(1, round(len(batches) / len(batches.epoch(0)))))


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Dev accuracy of ours and of the grouped Trainer by seed; standard errors of one model and of the difference."""

    reviews: int
    dev: int
    epochs: int
    ours: list[float]
    theirs: list[float]
    standard_error: float
    difference_error: float
    seconds: dict[str, float]

    @property
    def points(self) -> float:
        """Percentage points by which ours is better, on average."""
        return 100.0 * (statistics.mean(self.ours) - statistics.mean(self.theirs))

    def lines(self) -> list[str]:
        """For people."""
        held = "yes" if self.points >= -MAX_POINTS_BELOW else "NO"
        return [
            f"accuracy on dev ({self.dev:,} reviews; standard error {100 * self.standard_error:.2f} points) after "
            f"{self.epochs} epoch(s) of {self.reviews:,} reviews, {len(self.ours)} seed(s):",
            *(
                f"  {way:<30}{100 * statistics.mean(found):.2f}   ({', '.join(f'{100 * each:.2f}' for each in found)})"
                f"   {self.seconds[way]:,.0f} s a training"
                for way, found in ((OURS, self.ours), (GROUPED, self.theirs))
            ),
            f"  difference {self.points:+.2f} points, standard error {100 * self.difference_error:.2f} (paired by "
            f"review, of these trainings; other seeds differ more); at most {MAX_POINTS_BELOW} points below: {held}",
        ]


def accuracy(setting: Setting, corpus: Corpus, *, epochs: int, limit: int | None, seeds: int) -> Accuracy:
    """Whole trainings of both ways, and what they answer on dev."""
    lessons = corpus.some(min(limit or len(corpus.train.rows), len(corpus.train.rows)))
    truth = np.asarray(corpus.dev.positive) >= 0.5
    correct: dict[str, list[Any]] = {OURS: [], GROUPED: []}
    spent: dict[str, list[float]] = {OURS: [], GROUPED: []}
    for seed in range(SEED, SEED + seeds):
        for way, found in correct.items():
            trained = WAYS[way](setting, lessons, corpus.dev, epochs, seed)
            found.append(cast("FloatArray", trained.answers).argmax(axis=1) == truth)
            spent[way].append(trained.meter.seconds)
    ours, theirs = (np.asarray(correct[way], dtype=np.float64) for way in (OURS, GROUPED))  # (seeds, N)
    size = len(truth)
    return Accuracy(
        reviews=len(lessons.rows),
        dev=size,
        epochs=epochs,
        ours=ours.mean(axis=1).tolist(),
        theirs=theirs.mean(axis=1).tolist(),
        standard_error=float(ours.std() / size**0.5),
        difference_error=float((ours - theirs).mean(axis=0).std() / size**0.5),
        seconds={way: statistics.mean(taken) for way, taken in spent.items()},
    )


def aligned(table: list[list[str]]) -> str:
    """The table for a terminal: names to the left, figures to the right."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    cells = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in table]
    return "\n".join("  ".join([cell[0].strip().ljust(widths[0]), *cell[1:]]) for cell in cells)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.training", description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="compact")
    parser.add_argument("--nsmc", type=Path, help=f"folder with NSMC's files; else ${SOURCE_VARIABLE}, else the sample")
    parser.add_argument("--rows", type=int, help="at most so many reviews, in a round and with --accuracy")
    parser.add_argument("--seconds", type=float, default=20.0, help="about so long is a round of each way")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-tokens", type=int, help="tokens a step, padding included")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--cpu", action="store_true", help="leave the GPU alone")
    parser.add_argument("--accuracy", action="store_true", help="also train to the end, and compare on dev")
    parser.add_argument("--epochs", type=int, default=1, help="of --accuracy")
    parser.add_argument("--seeds", type=int, default=1, help="of --accuracy")
    parser.add_argument(
        "--embeddings", choices=("random", "cooccurrence"), default="random", help="where --accuracy begins"
    )
    parser.add_argument("--json", type=Path, help="write all figures there")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    shape = SHAPES[arguments.shape]
    counted = arguments.embeddings == "cooccurrence"
    shape = replace(
        shape,
        architecture=replace(shape.architecture, embeddings=arguments.embeddings),
        batch_tokens=arguments.batch_tokens or shape.batch_tokens,
    )
    cpu = arguments.cpu or not torch.cuda.is_available()
    precision = arguments.precision or default_precision(cpu)
    corpus = Corpus.load(nsmc_folder(arguments.nsmc), shape.architecture.vocabulary)
    found = compare(
        shape,
        corpus,
        precision=precision,
        cpu=cpu,
        seconds=arguments.seconds,
        rounds=arguments.rounds,
        limit=arguments.rows,
    )
    print(f"{arguments.shape}\n" + "\n".join(found.notes()) + f"\n\n{aligned(found.table())}", flush=True)
    content = {"shape": arguments.shape, **found.content()}
    if arguments.accuracy:
        setting = replace(found.setting, embeddings=corpus.embeddings(shape) if counted else None)
        judged = accuracy(setting, corpus, epochs=arguments.epochs, limit=arguments.rows, seeds=arguments.seeds)
        print("\n" + "\n".join(judged.lines()))
        content["accuracy"] = {**asdict(judged), "difference_points": judged.points}
    if arguments.json:
        arguments.json.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
