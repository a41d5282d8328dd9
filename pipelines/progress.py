"""How a training looks to people: a bar with ETA on the terminal, curves in the MLflow run."""

from dataclasses import asdict
from typing import Any

from tqdm import tqdm

from pipelines import curves
from pipelines.registry import Registry
from training.reports import EpochReport, StepReport


class Progress:
    """Shows training as a bar, and sends its curves to the MLflow run under names that begin with ``prefix``."""

    def __init__(self, registry: Registry, run_id: str, total_epochs: int, prefix: str = "") -> None:
        self._registry, self._run_id, self._total_epochs, self._prefix = registry, run_id, total_epochs, prefix
        self._bar: tqdm[Any] = tqdm(desc=f"epoch 1/{total_epochs}", unit="step", mininterval=1.0)

    def on_step(self, report: StepReport) -> None:
        """Move the bar and add a point to the curves."""
        self._bar.total = report.total_steps
        self._bar.update(report.step - self._bar.n)
        self._bar.set_postfix(loss=f"{report.loss:.4f}", reviews_per_s=f"{report.reviews_per_s:.0f}")
        points = curves.step_points(asdict(report)) | {"train/reviews_per_s": report.reviews_per_s}
        self._log(points, report.step)

    def on_epoch(self, report: EpochReport) -> None:
        """Say how the epoch went and add a point to the curves; one that was done before costs no time now."""
        if report.step > self._bar.n:
            self._bar.initial = self._bar.n = report.step
        self._bar.write(
            f"epoch {report.epoch}/{self._total_epochs}: train loss {report.train_loss:.4f}, "
            f"dev loss {report.dev_loss:.4f}, dev accuracy {report.dev_accuracy:.4f}"
        )
        self._bar.set_description(f"epoch {min(report.epoch + 1, self._total_epochs)}/{self._total_epochs}")
        self._log(curves.epoch_points(asdict(report)), report.step)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()

    def _log(self, points: curves.Points, step: int) -> None:
        self._registry.log_metrics(
            self._run_id, {f"{self._prefix}{name}": value for name, value in points.items()}, step
        )
