"""Fine-tuning side by side, in one process: our loop, and ``transformers.Trainer`` in two ways.

``python -m benchmarks.training --shape compact|small [--nsmc FOLDER] [--rows N] [--seconds S] [--accuracy]``

All start from the same random weights and take the same optimizer, learning rates, precision and, on average, the same
reviews a step: ours counts tokens, the Trainer rows, so it gets our mean number of rows. Every round goes once through
reviews of its own, the ways in turn, and is timed from the first step to the last: no start-up, evaluation or saving.
Machines are noisy: compare the ratios of one run, not two runs. Needs torch, transformers, accelerate and tokenizers.
"""

import argparse
import ctypes
import gc
import json
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import accelerate
import numpy as np
import torch
import transformers
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from transformers import (
    ElectraConfig,
    ElectraForSequenceClassification,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_pt_utils import get_length_grouped_indices

from data import nsmc
from data.encode import Encoder
from data.labels import NAMES
from data.split import dev_rows
from data.text import clean
from training.batches import POOL_BATCHES, TokenBatches, collate
from training.config import Architecture, Precision, Training, electra_settings
from training.finetune import FineTuning, SpecialIds, Split
from training.loop import resolve_precision, train
from training.predict import FloatArray, logits
from training.reports import Silent
from training.vocabulary import train_tokenizer

SAMPLE = Path("data/sample")
SOURCE_VARIABLE = "NSMC_SOURCE"
MAX_LENGTH_TOKENS = 128
"""What the padded way pads to; no way reads more of a review."""
WARMUP_STEPS, LEAST_STEPS = 5, 3
WITHIN_POINTS = 0.3
SEED = 42
OURS, PADDED, GROUPED = "ours", f"Trainer, padded to {MAX_LENGTH_TOKENS}", "Trainer, grouped by length"


@dataclass(frozen=True, slots=True)
class Shape:
    """A model, its dropout and the settings it is trained with."""

    architecture: Architecture
    batch_tokens: int
    learning_rate: float
    dropout: float = 0.1
    attention_dropout: float = 0.1

    def model(self, seed: int) -> PreTrainedModel:
        """Random weights, the same for the same seed."""
        torch.manual_seed(seed)
        config = ElectraConfig(**electra_settings(self.architecture, self.dropout, self.attention_dropout))
        config.num_labels = len(NAMES)
        return ElectraForSequenceClassification(config)


SHAPES = {
    "compact": Shape(
        Architecture(layers=3, hidden=192, heads=3, embedding=128, feed_forward=768, vocabulary=16_000),
        batch_tokens=1280,
        learning_rate=5e-4,
        attention_dropout=0.0,
    ),
    # KoELECTRA small v3
    "small": Shape(
        Architecture(layers=12, hidden=256, heads=4, embedding=128, feed_forward=1024, vocabulary=35_000),
        batch_tokens=2048,
        learning_rate=1e-4,
    ),
}


@dataclass(frozen=True, slots=True)
class Corpus:
    """Reviews as token ids: train in a random order, and dev, which shares no text with it."""

    origin: str
    train: Split
    dev: Split
    ids: SpecialIds

    @classmethod
    def load(cls, folder: Path, vocabulary: int) -> "Corpus":
        """From NSMC's files, or others like them, in ``folder``; the vocabulary is learned from train."""
        reviews = [(clean(review.text), review.label) for review in nsmc.read(folder / "ratings_train.txt")]
        reviews = [review for review in reviews if review[0]]
        texts, labels = [text for text, _ in reviews], [label for _, label in reviews]
        dev = dev_rows(texts, labels, fraction=0.05, seed=SEED)
        rest = np.setdiff1d(np.arange(len(texts)), dev)
        np.random.default_rng(SEED).shuffle(rest)
        tokenizer_json = train_tokenizer([texts[row] for row in rest], vocabulary).to_str()
        encoder = Encoder(tokenizer_json, MAX_LENGTH_TOKENS)

        def split(rows: Sequence[int]) -> Split:
            return Split(encoder.encode([texts[row] for row in rows], truncate=True), [labels[row] for row in rows])

        own = " (the own sample, which is no measure of quality)" if folder == SAMPLE else ""
        return cls(f"{folder}{own}", split(rest.tolist()), split(dev), SpecialIds.of(encoder))

    def some(self, count: int, start: int = 0) -> Split:
        """So many reviews of train, from ``start`` on, and from its beginning again where it ends."""
        rows = [row % len(self.train.rows) for row in range(start, start + count)]
        return Split([self.train.rows[row] for row in rows], [self.train.positive[row] for row in rows])


@dataclass(frozen=True, slots=True)
class Setting:
    """What all ways have in common."""

    shape: Shape
    ids: SpecialIds
    precision: Precision
    cpu: bool
    batch_rows: int

    def schedule(self, epochs: int, seed: int) -> Training:
        """The settings of one training, in our words."""
        return Training(
            epochs=epochs,
            batch_tokens=self.shape.batch_tokens,
            learning_rate=self.shape.learning_rate,
            precision=self.precision,
            seed=seed,
            log_every_steps=100,
            checkpoint_every_steps=10**9,
        )


class Meter:
    """Seconds and memory between the first step and the last of each epoch."""

    def __init__(self, cpu: bool) -> None:
        self.seconds, self.peak_mib, self.gpu_peak_mib = 0.0, 0.0, 0.0
        self._gpu = torch.cuda.is_available() and not cpu
        self._started: float | None = None

    def start(self) -> None:
        """Go on, unless it runs."""
        if self._started is None:
            if not self.seconds:
                self._forget_peak()
            self._synchronize()
            self._started = time.perf_counter()

    def stop(self) -> None:
        """Pause, once the device has done what it was given."""
        if self._started is not None:
            self._synchronize()
            self.seconds += time.perf_counter() - self._started
            self._started = None
            self.peak_mib = _peak_mib()
            if self._gpu:
                self.gpu_peak_mib = torch.cuda.max_memory_allocated() / 2**20

    def _synchronize(self) -> None:
        if self._gpu:
            torch.cuda.synchronize()

    def _forget_peak(self) -> None:
        gc.collect()
        if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
            libc.malloc_trim(0)
        with suppress(OSError):  # Linux only
            Path("/proc/self/clear_refs").write_text("5")
        if self._gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def _peak_mib() -> float:
    """Peak resident memory since it was last forgotten, or of the whole process where it cannot be forgotten."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


@dataclass(slots=True)
class Work:
    """What was computed: steps, and the positions of all batches, padding included, with their squared lengths."""

    steps: int = 0
    positions: int = 0
    squares: int = 0

    def add(self, rows: int, length: int) -> None:
        """Count a batch of (rows, length)."""
        self.steps += 1
        self.positions += rows * length
        self.squares += rows * length * length


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training, and its logits on dev (N, 2) after the last epoch, where they were asked for."""

    meter: Meter
    work: Work
    answers: FloatArray | None


class _Ours(FineTuning):
    """Our task, with a meter; does not look at dev where it need not."""

    def __init__(self, setting: Setting, lessons: Split, dev: Split | None, config: Training) -> None:
        model = setting.shape.model(config.seed)
        super().__init__(model, lessons, dev or Split([], []), config, setting.ids)
        self.meter, self.answers = Meter(setting.cpu), cast("FloatArray | None", None)
        self._questions, self._pad_id = dev, setting.ids.pad

    def learn(self, model: nn.Module, rows: Sequence[int], backward: Callable[[Tensor], None]) -> Tensor:
        self.meter.start()
        return super().learn(model, rows, backward)

    def judge(self, model: nn.Module) -> tuple[float, float]:
        self.meter.stop()
        if self._questions is not None:
            self.answers = logits(cast("PreTrainedModel", model), self._questions.rows, self._pad_id)
        return 0.0, 0.0


def train_ours(
    setting: Setting, lessons: Split, dev: Split | None = None, epochs: int = 1, seed: int = SEED
) -> Trained:
    """With ``training.loop``."""
    forget_accelerator()
    config = setting.schedule(epochs, seed)
    task = _Ours(setting, lessons, dev, config)
    with tempfile.TemporaryDirectory() as folder:
        train(task, config, listener=Silent(), checkpoint=Path(folder) / "checkpoint", cpu=setting.cpu)
    work = Work()
    for epoch in range(epochs):
        for batch in task.batches.epoch(epoch):
            work.add(len(batch), max(len(lessons.rows[row]) for row in batch))
    return Trained(task.meter, work, task.answers)


class _Collator:
    """Reviews as tensors, padded by our own ``collate``, which is faster than the library's collator."""

    def __init__(self, pad_id: int, width: int | None) -> None:
        self.work, self._pad_id, self._width = Work(), pad_id, width

    def __call__(self, reviews: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        inputs = collate([review["input_ids"] for review in reviews], self._pad_id)
        if self._width is not None:
            room = (0, self._width - inputs["input_ids"].shape[1])
            inputs = {
                "input_ids": nn.functional.pad(inputs["input_ids"], room, value=self._pad_id),
                "attention_mask": nn.functional.pad(inputs["attention_mask"], room),
            }
        self.work.add(*inputs["input_ids"].shape)
        return {**inputs, "labels": torch.tensor([review["labels"] for review in reviews])}


class _Timing(TrainerCallback):
    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._meter.start()

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._meter.stop()


class _Trainer(Trainer):
    """Groups few reviews as it would group many: over fewer than 200 batches it would sort smaller pools than ours."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows, size = cast("list[dict[str, Any]]", self.train_dataset), self.args.train_batch_size
        if self.args.train_sampling_strategy == "random" or len(rows) // (4 * size) >= POOL_BATCHES:
            return super()._get_train_sampler(train_dataset)
        return get_length_grouped_indices([len(row["input_ids"]) for row in rows], size, mega_batch_mult=POOL_BATCHES)


def train_trainer(
    setting: Setting,
    lessons: Split,
    dev: Split | None = None,
    epochs: int = 1,
    seed: int = SEED,
    *,
    width: int | None = None,
) -> Trained:
    """With ``transformers.Trainer``: padded to ``width``, or, without one, grouped by length."""
    forget_accelerator()
    config = setting.schedule(epochs, seed)
    steps = epochs * -(-len(lessons.rows) // setting.batch_rows)
    meter, collator = Meter(setting.cpu), _Collator(setting.ids.pad, width)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=setting.batch_rows,
            train_sampling_strategy="random" if width else "group_by_length",
            optim="adamw_torch_fused",
            learning_rate=config.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=round(config.warmup_fraction * steps),
            weight_decay=config.weight_decay,
            max_grad_norm=config.clip_norm,
            bf16=setting.precision == "bf16",
            fp16=setting.precision == "fp16",
            use_cpu=setting.cpu,
            seed=seed,
            eval_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_steps=config.log_every_steps,
            logging_nan_inf_filter=False,  # it would wait for the GPU in every step
            remove_unused_columns=False,
            dataloader_pin_memory=not setting.cpu,
        )
        reviews = [
            {"input_ids": row, "labels": int(label)} for row, label in zip(lessons.rows, lessons.positive, strict=True)
        ]
        trainer = _Trainer(
            model=setting.shape.model(seed),
            args=arguments,
            data_collator=collator,
            train_dataset=cast("Any", reviews),
            callbacks=[_Timing(meter)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    return Trained(meter, collator.work, logits(model, dev.rows, setting.ids.pad) if dev else None)


WAYS: dict[str, Callable[..., Trained]] = {
    OURS: train_ours,
    PADDED: partial(train_trainer, width=MAX_LENGTH_TOKENS),
    GROUPED: train_trainer,
}


def forget_accelerator() -> None:
    """Let the next training choose its own device and precision; accelerate keeps those of the first in a process."""
    AcceleratorState._reset_state(reset_partial_state=True)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Floating point operations of a training step, forward and backward: two and four a weight and position.

    ``body`` weights are multiplied with every position, ``head`` weights with the first of a review. Attention adds
    ``attention`` for each position and each that it attends to. Lookups, normalization and the like are left out.
    """

    body: int
    head: int
    attention: int
    parameters: int

    @classmethod
    def of(cls, shape: Shape) -> "Arithmetic":
        """That of a model of this shape."""
        model = shape.model(SEED)
        linear = {name: part.weight.numel() for name, part in model.named_modules() if isinstance(part, nn.Linear)}
        head = sum(count for name, count in linear.items() if name.startswith("classifier"))
        return cls(
            body=sum(linear.values()) - head,
            head=head,
            attention=12 * shape.architecture.layers * shape.architecture.hidden,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
        )

    def flops(self, reviews: int, positions: int, squares: int) -> float:
        """Of ``reviews`` that have so many ``positions``, and squared lengths of that sum."""
        return 6.0 * (self.body * positions + self.head * reviews) + float(self.attention) * squares


def matmul_flops(size: tuple[int, int, int], precision: Precision, cpu: bool, repeats: int = 5) -> float:
    """Operations a second of the best of several (m, k) x (k, n) products."""
    device = "cuda" if torch.cuda.is_available() and not cpu else "cpu"
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    rows, inner, columns = size
    left = torch.randn(rows, inner, device=device, dtype=dtype)
    right = torch.randn(inner, columns, device=device, dtype=dtype)
    target, best = torch.empty(rows, columns, device=device, dtype=dtype), float("inf")
    for _ in range(1 + repeats):
        started = time.perf_counter()
        torch.mm(left, right, out=target)
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2.0 * rows * inner * columns / best


@dataclass(frozen=True, slots=True)
class Round:
    """One way through a round's reviews."""

    reviews: int
    tokens: int
    positions: int
    steps: int
    seconds: float
    flops: float
    padded_flops: float
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
        flops=arithmetic.flops(count, sum(lengths), sum(length * length for length in lengths)),
        padded_flops=arithmetic.flops(count, work.positions, work.squares),
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
        """Header and a row a way; the shares of the ceiling are those of the tokens alone, and with padding."""
        rows = [["way", "reviews/s", "min..max", "ours is", "min..max", "reviews/step", "ms/step", "padding",
                 "of ceiling", "with padding", "peak RSS MiB", "peak GPU MiB"]]  # fmt: skip
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
                f"{statistics.median(each.padded_flops / each.seconds for each in rounds) / self.ceiling:.1%}",
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
            f"{_machine(setting.cpu)}; {setting.precision}",
            f"{shape.architecture}",
            f"data: {self.origin}, {self.available:,} reviews to train on{repeated}; "
            f"{ours.tokens / ours.reviews:.1f} tokens a review, at most {MAX_LENGTH_TOKENS}",
            f"a step: ours {shape.batch_tokens} tokens with padding; the Trainer's {setting.batch_rows} rows are what "
            "that is on average, over all of train",
            f"{len(self.rounds[OURS])} rounds of {ours.reviews:,} reviews ({padded.reviews:,} where all are padded "
            "alike), the ways in turn, after two warm-up rounds that are not counted",
            f"dropout {shape.dropout}, attention dropout {shape.attention_dropout}; on a CPU ours draws it by bytes, "
            f"{round(shape.dropout * 256)}/256",
            f"arithmetic: {arithmetic.parameters:,} parameters, {arithmetic.body:,} of them multiplied with each "
            f"token, which makes {6 * arithmetic.body / 1e6:.2f} MFLOP a token forward and backward, and "
            f"{arithmetic.attention / 1e6:.4f} for each it attends to; {ours.flops / ours.reviews / 1e6:,.0f} a review",
            f"ceiling: a large matrix product reaches {large:,.0f} GFLOP/s, one of the model's width {narrow:,.0f}; no "
            f"way could do more than {limit:,.0f} reviews/s",
        ]

    def content(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return {
            "machine": _machine(self.setting.cpu),
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
        close = "yes" if abs(self.points) <= WITHIN_POINTS else "NO"
        return [
            f"accuracy on dev ({self.dev:,} reviews; standard error {100 * self.standard_error:.2f} points) after "
            f"{self.epochs} epoch(s) of {self.reviews:,} reviews, {len(self.ours)} seed(s):",
            *(
                f"  {way:<30}{100 * statistics.mean(found):.2f}   ({', '.join(f'{100 * each:.2f}' for each in found)})"
                f"   {self.seconds[way]:,.0f} s a training"
                for way, found in ((OURS, self.ours), (GROUPED, self.theirs))
            ),
            f"  difference {self.points:+.2f} points, standard error {100 * self.difference_error:.2f} (paired by "
            f"review, of these trainings; other seeds differ more); within {WITHIN_POINTS} points: {close}",
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


def default_precision(cpu: bool) -> Precision:
    """fp32 on a CPU, and on a GPU bf16, or fp16 where it has none."""
    if cpu or not torch.cuda.is_available():
        return "fp32"
    return cast("Precision", resolve_precision(Training()))


def nsmc_folder(given: Path | None) -> Path:
    """Where the reviews are. Raises SystemExit where that is no folder with NSMC's files."""
    folder = given or Path(os.environ.get(SOURCE_VARIABLE) or SAMPLE)
    if not (folder / "ratings_train.txt").is_file():
        raise SystemExit(f"{folder} has no ratings_train.txt; --nsmc or {SOURCE_VARIABLE} must name a folder with it")
    return folder


def _machine(cpu: bool) -> str:
    packages = (torch, transformers, accelerate)
    versions = ", ".join(f"{package.__name__} {package.__version__}" for package in packages)
    if torch.cuda.is_available() and not cpu:
        return f"{torch.cuda.get_device_name()}; {versions}"
    model = Path("/proc/cpuinfo")
    named = [line for line in model.read_text().splitlines() if line.startswith("model name")] if model.exists() else []
    name = named[0].partition(":")[2].strip() if named else platform.machine()
    return f"{name}, {torch.get_num_threads()} thread(s); {versions}"


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
    parser.add_argument("--json", type=Path, help="write all figures there")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    shape = SHAPES[arguments.shape]
    shape = replace(shape, batch_tokens=arguments.batch_tokens or shape.batch_tokens)
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
        judged = accuracy(found.setting, corpus, epochs=arguments.epochs, limit=arguments.rows, seeds=arguments.seeds)
        print("\n" + "\n".join(judged.lines()))
        content["accuracy"] = {**asdict(judged), "difference_points": judged.points}
    if arguments.json:
        arguments.json.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
