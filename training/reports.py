"""What training tells while it goes on, and what it came to."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


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


class Silent:
    """Listens for nobody."""

    def on_step(self, report: StepReport) -> None:
        """Ignore."""

    def on_epoch(self, report: EpochReport) -> None:
        """Ignore."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What training came to: all reports in order, the best epoch, and its weights by name, on the CPU."""

    steps: tuple[StepReport, ...]
    epochs: tuple[EpochReport, ...]
    best: EpochReport
    weights: dict[str, Tensor]


def best_of(epochs: list[EpochReport]) -> EpochReport:
    """The epoch of the highest dev accuracy, of several the one of the lowest dev loss."""
    return max(epochs, key=lambda report: (report.dev_accuracy, -report.dev_loss))
