"""Checkpoints: everything that the next step depends on, in a folder that is always whole."""

import json
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.errors import CheckpointFailed
from training.reports import EpochReport, StepReport

_PROGRESS_FILE, _BEST_FILE = "progress.json", "best.safetensors"


@dataclass(slots=True)
class Tally:
    """Losses summed up, and over how many reviews."""

    loss: float = 0.0
    reviews: int = 0

    @property
    def mean(self) -> float:
        """Loss a review."""
        return self.loss / max(1, self.reviews)


@dataclass(slots=True)
class Progress:
    """Where training stands: ``batch`` of ``epoch`` (both from 0) is the next one, ``step`` of all are done."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    steps: list[StepReport] = field(default_factory=list)
    epochs: list[EpochReport] = field(default_factory=list)
    since_report: Tally = field(default_factory=Tally)
    since_epoch: Tally = field(default_factory=Tally)
    best_weights: dict[str, Tensor] = field(default_factory=dict)


def kept(folder: Path) -> bool:
    """Whether there is something in ``folder`` to go on from, a save that was cut off between its renames included."""
    return folder.exists() or _beside(folder, "old").exists()


def forget(folder: Path) -> None:
    """Remove the checkpoint, and what a save that was cut off left beside it."""
    for each in (_beside(folder, "new"), _beside(folder, "old"), folder):
        shutil.rmtree(each, ignore_errors=True)


def _beside(folder: Path, what: str) -> Path:
    return folder.with_suffix(f".{what}")


class Checkpoint:
    """A folder for one model, data and configuration; each save takes the place of the one before in one rename."""

    def __init__(self, accelerator: Accelerator, folder: Path) -> None:
        self._accelerator, self._folder = accelerator, folder
        self._fresh, self._old = _beside(folder, "new"), _beside(folder, "old")

    def save(self, progress: Progress) -> None:
        """Keep ``progress`` and the state of all that was prepared or registered with the accelerator.

        Raises CheckpointFailed where the disk does not take it; the checkpoint before is then as it was.
        """
        try:
            self._write(progress)
        except (OSError, RuntimeError, SafetensorError) as error:  # a full disk is all of these
            shutil.rmtree(self._fresh, ignore_errors=True)
            raise CheckpointFailed(
                f"the checkpoint of step {progress.step} cannot be written to {self._folder.parent}: {error}; "
                "free some space there and run the same command again: it goes on from the checkpoint before"
            ) from error

    def _write(self, progress: Progress) -> None:
        main = self._accelerator.is_main_process
        if main:
            shutil.rmtree(self._fresh, ignore_errors=True)
            self._fresh.mkdir(parents=True)
        self._accelerator.wait_for_everyone()
        self._accelerator.save_state(str(self._fresh))
        if main:
            if progress.best_weights:
                save_file(progress.best_weights, self._fresh / _BEST_FILE)
            content = asdict(replace(progress, best_weights={}))
            del content["best_weights"]
            (self._fresh / _PROGRESS_FILE).write_text(json.dumps(content))
            shutil.rmtree(self._old, ignore_errors=True)
            if self._folder.exists():
                self._folder.replace(self._old)
            self._fresh.replace(self._folder)
            shutil.rmtree(self._old, ignore_errors=True)
        self._accelerator.wait_for_everyone()

    def load(self) -> Progress:
        """What was saved last, with every state restored; a beginning, where nothing was."""
        if self._accelerator.is_main_process and self._old.exists() and not self._folder.exists():
            self._old.replace(self._folder)  # the last save was cut off between its two renames
        self._accelerator.wait_for_everyone()
        if not self._folder.exists():
            return Progress()
        self._accelerator.load_state(str(self._folder))
        content = json.loads((self._folder / _PROGRESS_FILE).read_text())
        best = self._folder / _BEST_FILE
        return Progress(
            epoch=content["epoch"],
            batch=content["batch"],
            step=content["step"],
            steps=[StepReport(**report) for report in content["steps"]],
            epochs=[EpochReport(**report) for report in content["epochs"]],
            since_report=Tally(**content["since_report"]),
            since_epoch=Tally(**content["since_epoch"]),
            best_weights=load_file(best) if best.exists() else {},
        )
