"""The training loop: one, through accelerate, on CPU or GPU, on one process or several."""

import json
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, get_linear_schedule_with_warmup

from training import predict
from training.batches import LengthGroupedBatches, collate
from training.config import Training
from training.errors import LossDiverged


@dataclass(frozen=True, slots=True)
class Split:
    """Token id rows and their labels."""

    rows: Sequence[Sequence[int]]
    labels: Sequence[int]


@dataclass(frozen=True, slots=True)
class StepReport:
    """State after an optimizer step; ``loss`` is the mean since the last report, ``step`` counts from 1."""

    step: int
    total_steps: int
    loss: float
    learning_rate: float
    reviews_per_s: float


@dataclass(frozen=True, slots=True)
class EpochReport:
    """State after an epoch; ``epoch`` counts from 1."""

    epoch: int
    step: int
    train_loss: float
    dev_loss: float
    dev_accuracy: float


class Listener(Protocol):
    """Whoever wants to know how training goes; called on the main process only."""

    def on_step(self, report: StepReport) -> None:
        """After every ``log_every_steps`` steps and after the last step of an epoch."""

    def on_epoch(self, report: EpochReport) -> None:
        """After every epoch, once dev was judged; also for epochs that a resumed run had done before."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What training came to: all reports in order, and the epoch whose weights the model now holds."""

    steps: tuple[StepReport, ...]
    epochs: tuple[EpochReport, ...]
    best: EpochReport


@dataclass(slots=True)
class _History:
    """What has been reported so far, over interruptions, and the weights of the best epoch."""

    steps: list[StepReport] = field(default_factory=list)
    epochs: list[EpochReport] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)


def train(
    model: PreTrainedModel,
    train_split: Split,
    dev_split: Split,
    config: Training,
    *,
    pad_id: int,
    listener: Listener,
    checkpoint: Path,
    cpu: bool = False,
) -> Outcome:
    """Fine-tune ``model`` in place and leave in it the weights of the epoch with the best dev accuracy.

    The state after each epoch is kept in ``checkpoint`` and taken up from there by the next call. The folder has to
    be one for this model, data and configuration only; whoever has put the outcome away removes it. Raises
    LossDiverged.
    """
    set_seed(config.seed)
    accelerator = Accelerator(mixed_precision=_mixed_precision(config, cpu), cpu=cpu)
    batches = LengthGroupedBatches([len(row) for row in train_split.rows], config.batch_size, config.seed)
    loader: DataLoader[dict[str, Tensor]] = DataLoader(
        list(zip(train_split.rows, train_split.labels, strict=True)),  # type: ignore[arg-type]
        batch_sampler=batches,
        collate_fn=partial(collate, pad_id=pad_id),
    )
    optimizer = _optimizer(model, config)
    total_steps = config.epochs * math.ceil(len(batches) / accelerator.num_processes)
    warmup_steps = round(config.warmup_fraction * total_steps)
    # accelerate steps a prepared scheduler once for each process, so it is given the steps of all of them
    scheduler = get_linear_schedule_with_warmup(
        optimizer, warmup_steps * accelerator.num_processes, total_steps * accelerator.num_processes
    )
    wrapped, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)

    history = _resume(accelerator, checkpoint)
    for done in history.epochs:
        if accelerator.is_main_process:
            listener.on_epoch(done)
    for epoch in range(len(history.epochs), config.epochs):
        loader.set_epoch(epoch)  # type: ignore[attr-defined]  # accelerate hands it on to the batches
        wrapped.train()
        train_loss = 0.0
        for step in _epoch(accelerator, wrapped, loader, optimizer, scheduler, config, epoch, total_steps):
            reported = history.steps[-1].step if history.steps else 0
            train_loss += step.loss * (step.step - reported) / len(loader)
            history.steps.append(step)
            if accelerator.is_main_process:
                listener.on_step(step)
        dev = predict.logits(accelerator.unwrap_model(wrapped), dev_split.rows, pad_id)
        dev_loss, dev_accuracy = _judge(dev, np.asarray(dev_split.labels))
        report = EpochReport(epoch + 1, (epoch + 1) * len(loader), train_loss, dev_loss, dev_accuracy)
        history.epochs.append(report)
        if report == _best(history.epochs):
            history.best_weights = _weights(accelerator.unwrap_model(wrapped))
        if accelerator.is_main_process:
            listener.on_epoch(report)
        _save(accelerator, checkpoint, history)
    model.load_state_dict(history.best_weights)
    return Outcome(tuple(history.steps), tuple(history.epochs), _best(history.epochs))


def resolve_precision(config: Training, cpu: bool = False) -> str:
    """The precision that ``auto`` means here: bf16 where the hardware multiplies in it, else fp32."""
    if config.precision != "auto":
        return config.precision
    if torch.cuda.is_available() and not cpu:
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    # torch emulates bf16 on other CPUs, at half the speed of fp32
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if native else "fp32"


def _mixed_precision(config: Training, cpu: bool) -> str:
    precision = resolve_precision(config, cpu)
    return "no" if precision == "fp32" else precision


def _epoch(
    accelerator: Accelerator,
    model: torch.nn.Module,
    loader: DataLoader[dict[str, Tensor]],
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    config: Training,
    epoch: int,
    total_steps: int,
) -> Iterator[StepReport]:
    """Run one epoch, reporting every ``log_every_steps`` steps and after the last one."""
    loss_sum, steps, reviews = torch.zeros((), device=accelerator.device), 0, 0
    started = time.monotonic()
    for number, batch in enumerate(loader, start=1):
        loss = model(**batch).loss
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        loss_sum += loss.detach()
        steps += 1
        reviews += len(batch["labels"]) * accelerator.num_processes
        if steps == config.log_every_steps or number == len(loader):
            mean, step = float(loss_sum) / steps, epoch * len(loader) + number
            if not math.isfinite(mean):
                raise LossDiverged(
                    f"loss is {mean} at step {step} of {total_steps}; lower train.learning_rate "
                    f"(now {config.learning_rate}) or train.clip_norm (now {config.clip_norm})"
                )
            rate = reviews / (time.monotonic() - started)
            yield StepReport(step, total_steps, mean, float(scheduler.get_last_lr()[0]), rate)
            loss_sum.zero_()
            steps, reviews, started = 0, 0, time.monotonic()


def _optimizer(model: PreTrainedModel, config: Training) -> torch.optim.AdamW:
    """AdamW without decay for biases and normalization, as in the BERT recipe."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def _judge(logits: predict.FloatArray, labels: np.ndarray) -> tuple[float, float]:
    """Mean cross entropy and accuracy of (N, C) logits."""
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    return float(loss), float((logits.argmax(axis=1) == labels).mean())


def _best(epochs: Sequence[EpochReport]) -> EpochReport:
    return max(epochs, key=lambda report: (report.dev_accuracy, -report.dev_loss))


def _weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}


_REPORTS_FILE, _BEST_FILE = "reports.json", "best.safetensors"


def _save(accelerator: Accelerator, folder: Path, history: _History) -> None:
    """Replace the checkpoint in one rename, so that there is always a whole one."""
    fresh, old = folder.with_suffix(".new"), folder.with_suffix(".old")
    if accelerator.is_main_process:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(fresh))
    if accelerator.is_main_process:
        save_file(history.best_weights, fresh / _BEST_FILE)
        reports = {name: [asdict(report) for report in getattr(history, name)] for name in ("steps", "epochs")}
        (fresh / _REPORTS_FILE).write_text(json.dumps(reports))
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.replace(old)
        fresh.replace(folder)
        shutil.rmtree(old, ignore_errors=True)
    accelerator.wait_for_everyone()


def _resume(accelerator: Accelerator, folder: Path) -> _History:
    """What was done before, if anything, with model, optimizer, scheduler and random state restored."""
    old = folder.with_suffix(".old")
    if accelerator.is_main_process and old.exists() and not folder.exists():
        old.replace(folder)  # the last save was cut off between its two renames
    accelerator.wait_for_everyone()
    if not folder.exists():
        return _History()
    accelerator.load_state(str(folder))
    reports = json.loads((folder / _REPORTS_FILE).read_text())
    return _History(
        steps=[StepReport(**report) for report in reports["steps"]],
        epochs=[EpochReport(**report) for report in reports["epochs"]],
        best_weights=load_file(folder / _BEST_FILE),
    )
