"""Ways to fine-tune the same model on the same reviews: our loop, and ``transformers.Trainer`` in two manners."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_pt_utils import get_length_grouped_indices

from benchmarks.machine import Meter, forget_accelerator
from benchmarks.subjects import MAX_LENGTH_TOKENS, SEED, Shape
from training.batches import POOL_BATCHES, collate
from training.config import Precision, Training
from training.finetune import FineTuning, SpecialIds, Split
from training.loop import train
from training.model import embed
from training.predict import FloatArray, logits
from training.reports import Silent

OURS, PADDED, GROUPED = "ours", f"Trainer, padded to {MAX_LENGTH_TOKENS}", "Trainer, grouped by length"


@dataclass(frozen=True, slots=True)
class Setting:
    """What all ways have in common."""

    shape: Shape
    ids: SpecialIds
    precision: Precision
    cpu: bool
    batch_rows: int
    embeddings: Tensor | None = None
    """(V, E), where the tokens begin; None draws them like all other weights."""

    def model(self, seed: int) -> PreTrainedModel:
        """What a training begins with, the same for the same seed."""
        model = self.shape.model(seed)
        if self.embeddings is not None:
            embed(model, self.embeddings)
        return model

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
        model = setting.model(config.seed)
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
            model=setting.model(seed),
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
