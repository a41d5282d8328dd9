"""The training loop: one, through accelerate, on CPU or GPU, on one process or several.

It knows steps, precision, checkpoints and when to stop; what is learned is a ``Task``. The batches are cut into the
processes' shares here, by number and not by accelerate's loader, so that any number of processes and any accumulation
take the same steps, and a run can be taken up at any of them.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Protocol

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, set_seed
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from training.average import Average
from training.batches import TokenBatches
from training.checkpoint import Checkpoint, Progress, Tally
from training.config import Schedule
from training.errors import LossDiverged
from training.optimizer import linear_schedule, optimizer_for
from training.processes import on_cpu
from training.reports import EpochReport, Listener, Outcome, StepReport, best_of

DIVERGED = 2.0
"""The loss has diverged when its mean over a report, of no fewer steps than the first, is so many times the first's."""
_SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED)


class Task(Protocol):
    """What is learned, from which rows, and how well it went."""

    model: nn.Module
    batches: TokenBatches

    def learn(self, model: nn.Module, rows: Sequence[int], backward: Callable[[Tensor], None]) -> Tensor:
        """Give ``backward`` the (B,) losses of ``rows``, as often as gradients are wanted; returns them, detached."""

    def judge(self, model: nn.Module) -> tuple[float, float]:
        """Loss and accuracy on dev."""


def train(task: Task, config: Schedule, *, listener: Listener, checkpoint: Path, cpu: bool = False) -> Outcome:
    """Train ``task.model``; the outcome has the weights of the epoch with the best dev accuracy.

    The model is left with them too, save where it is sharded over processes.

    Everything is kept in ``checkpoint`` after each epoch and every ``checkpoint_every_steps``, and taken up from there
    by the next call, to the same weights bit for bit. The folder has to be one for this model, data and configuration
    only; whoever has put the outcome away removes it. Raises LossDiverged and CheckpointFailed, both of which leave
    the last good checkpoint.
    """
    set_seed(config.seed)
    AcceleratorState._reset_state()  # a training before this one in the same process may have had another precision
    accelerator = Accelerator(mixed_precision=_mixed_precision(config, cpu), cpu=on_cpu(cpu))
    return _Run(accelerator, task, config, listener, checkpoint).finish()


def resolve_precision(config: Schedule, cpu: bool = False) -> str:
    """The precision that ``auto`` means here: bf16 where the hardware multiplies in it, else fp32."""
    if config.precision != "auto":
        return config.precision
    if torch.cuda.is_available() and not cpu:
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    # torch emulates bf16 on other CPUs, at half the speed of fp32
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if native else "fp32"


def _mixed_precision(config: Schedule, cpu: bool) -> str:
    precision = resolve_precision(config, cpu)
    return "no" if precision == "fp32" else precision


class _Run:
    """One training, from its checkpoint to its end."""

    def __init__(
        self, accelerator: Accelerator, task: Task, config: Schedule, listener: Listener, checkpoint: Path
    ) -> None:
        self.accelerator, self.task, self.config, self.listener = accelerator, task, config, listener
        self.total_steps = sum(len(task.batches.epoch(epoch)) for epoch in range(config.epochs))
        optimizer = optimizer_for(task.model, config)
        warmup_steps = round(config.warmup_fraction * self.total_steps)
        self.schedule: LambdaLR = linear_schedule(optimizer, warmup_steps, self.total_steps)
        self.model, self.optimizer = accelerator.prepare(task.model, optimizer)
        accelerator.register_for_checkpointing(self.schedule)
        self.average: Average | None = None
        if config.average_decay > 0.0:
            self.average = Average(list(self.model.parameters()), config.average_decay)
            accelerator.register_for_checkpointing(self.average)
        self.checkpoint = Checkpoint(accelerator, checkpoint)
        self.progress: Progress = self.checkpoint.load()
        self.pending = torch.zeros((), device=accelerator.device)
        self.reported_at, self.reviews_at = time.monotonic(), 0

    def finish(self) -> Outcome:
        progress, config = self.progress, self.config
        if self.accelerator.is_main_process:
            for done in progress.epochs:
                self.listener.on_epoch(done)
        while progress.epoch < config.epochs and not self._out_of_patience():
            self._epoch()
        if self.accelerator.distributed_type not in _SHARDED:
            # from here on the model computes in its own precision again
            whole = self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            whole.load_state_dict(progress.best_weights)
        return Outcome(tuple(progress.steps), tuple(progress.epochs), best_of(progress.epochs), progress.best_weights)

    def _out_of_patience(self) -> bool:
        epochs, patience = self.progress.epochs, self.config.patience_epochs
        return bool(patience and epochs and epochs[-1].epoch - best_of(epochs).epoch >= patience)

    def _epoch(self) -> None:
        progress, config = self.progress, self.config
        plan = self.task.batches.epoch(progress.epoch)
        mean_rows = len(self.task.batches) / len(plan)
        self.model.train()
        self.reported_at, self.reviews_at = time.monotonic(), progress.since_report.reviews
        for batch in plan[progress.batch :]:
            self._step(batch, mean_rows)
            progress.batch += 1
            progress.step += 1
            if progress.batch % config.log_every_steps == 0 or progress.batch == len(plan):
                self._report()
            if progress.step % config.checkpoint_every_steps == 0 and progress.batch < len(plan):
                self._count()
                self._check(progress.since_report.mean)
                self.checkpoint.save(progress)
        self._judge()
        progress.epoch, progress.batch = progress.epoch + 1, 0
        self.checkpoint.save(progress)

    def _step(self, batch: list[int], mean_rows: float) -> None:
        """One optimizer step. Every review weighs the same, whatever the size of the batch it came in."""
        accelerator, config = self.accelerator, self.config
        world, passes = accelerator.num_processes, config.accumulation
        for number in range(passes):
            # every parts-th row: the shares are equally long, as the rows are sorted
            rows = batch[accelerator.process_index * passes + number :: world * passes]
            weight = world / mean_rows if rows else 0.0  # processes average their gradients

            def backward(losses: Tensor, weight: float = weight) -> None:
                accelerator.backward(losses.sum() * weight)

            with accelerator.no_sync(self.model) if number < passes - 1 else nullcontext():
                losses = self.task.learn(self.model, rows or batch[:1], backward)
            if rows:
                self.pending += losses.sum()
        accelerator.clip_grad_norm_(self.model.parameters(), config.clip_norm)
        self.optimizer.step()
        if not accelerator.optimizer_step_was_skipped:
            self.schedule.step()
            if self.average:
                self.average.update()
        self.optimizer.zero_grad()
        self.progress.since_report.reviews += len(batch)

    def _count(self) -> None:
        """Bring the losses of all processes since the last count into the tallies."""
        loss = float(self.accelerator.reduce(self.pending, reduction="sum"))
        self.pending.zero_()
        self.progress.since_report.loss += loss

    def _report(self) -> None:
        progress = self.progress
        self._count()
        tally = progress.since_report
        self._check(tally.mean)
        seconds = time.monotonic() - self.reported_at
        report = StepReport(
            step=progress.step,
            total_steps=self.total_steps,
            loss=tally.mean,
            learning_rate=float(max(self.schedule.get_last_lr())),
            reviews_per_s=(tally.reviews - self.reviews_at) / seconds,
        )
        progress.steps.append(report)
        progress.since_epoch.loss += tally.loss
        progress.since_epoch.reviews += tally.reviews
        progress.since_report = Tally()
        self.reported_at, self.reviews_at = time.monotonic(), 0
        if self.accelerator.is_main_process:
            self.listener.on_step(report)

    def _check(self, loss: float) -> None:
        """Raise LossDiverged where going on is useless, before anything of it is kept."""
        step, reports = self.progress.step, self.progress.steps
        # the few rows at the end of an epoch may be hard ones by chance
        comparable = bool(reports) and step - reports[-1].step >= reports[0].step
        first = reports[0].loss if comparable else math.inf
        if math.isfinite(loss) and loss <= DIVERGED * first:
            return
        why = f"{DIVERGED:.0f} times that of the first report ({first:.4f})" if math.isfinite(loss) else "not a number"
        raise LossDiverged(
            f"the mean loss up to step {step} of {self.total_steps} is {loss:.4f}, {why}; lower "
            f"{self.config.section}.learning_rate (now {self.config.learning_rate}) or {self.config.section}.clip_norm "
            f"(now {self.config.clip_norm})"
        )

    def _judge(self) -> None:
        """Score dev with the weights that would be kept, and keep them if they are the best so far."""
        progress = self.progress
        with self.average.in_place() if self.average else nullcontext():
            dev_loss, dev_accuracy = self.task.judge(self._whole())
            report = EpochReport(progress.epoch + 1, progress.step, progress.since_epoch.mean, dev_loss, dev_accuracy)
            progress.epochs.append(report)
            if report == best_of(progress.epochs):
                weights = self.accelerator.get_state_dict(self.model)
                progress.best_weights = {name: weight.detach().to("cpu", copy=True) for name, weight in weights.items()}
        progress.since_epoch = Tally()
        if self.accelerator.is_main_process:
            self.listener.on_epoch(report)

    def _whole(self) -> nn.Module:
        """The model as its task knows it, still in the precision of the training; a sharded one has to stay wrapped."""
        if self.accelerator.distributed_type in _SHARDED:
            return self.model  # type: ignore[no-any-return]
        return self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=True)  # type: ignore[no-any-return]
