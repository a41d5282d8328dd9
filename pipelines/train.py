"""Fine-tune the backbone on train, choose the best epoch on dev, and show the run in MLflow while it goes on."""

import hashlib
import json
import shutil
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import PartialState
from tqdm import tqdm

import training
from data.encode import Encoder
from data.files import replacing, sha256
from pipelines import artifacts, curves, stage
from pipelines.lineage import datasets_used, git_commit
from pipelines.params import Params
from pipelines.registry import Registry
from pipelines.splits import read_split
from training import model as models
from training.loop import EpochReport, Split, StepReport, resolve_precision, train

CHECKPOINTS = artifacts.CACHE / "checkpoints"
CODE = Path(training.__file__).parent


class Progress:
    """Shows training as a bar with ETA, and sends its curves to the MLflow run."""

    def __init__(self, registry: Registry, run_id: str, total_epochs: int) -> None:
        self._registry, self._run_id, self._total_epochs = registry, run_id, total_epochs
        self._bar: tqdm[Any] = tqdm(desc=f"epoch 1/{total_epochs}", unit="step", mininterval=1.0)

    def on_step(self, report: StepReport) -> None:
        """Move the bar and add a point to the curves."""
        self._bar.total = report.total_steps
        self._bar.update(report.step - self._bar.n)
        self._bar.set_postfix(loss=f"{report.loss:.4f}", reviews_per_s=f"{report.reviews_per_s:.0f}")
        points = curves.step_points(asdict(report)) | {"train/reviews_per_s": report.reviews_per_s}
        self._registry.log_metrics(self._run_id, points, report.step)

    def on_epoch(self, report: EpochReport) -> None:
        """Say how the epoch went and add a point to the curves; one that was done before costs no time now."""
        if report.step > self._bar.n:
            self._bar.initial = self._bar.n = report.step
        self._bar.write(
            f"epoch {report.epoch}/{self._total_epochs}: train loss {report.train_loss:.4f}, "
            f"dev loss {report.dev_loss:.4f}, dev accuracy {report.dev_accuracy:.4f}"
        )
        self._bar.set_description(f"epoch {min(report.epoch + 1, self._total_epochs)}/{self._total_epochs}")
        self._registry.log_metrics(self._run_id, curves.epoch_points(asdict(report)), report.step)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


class Silent:
    """Listens on behalf of the processes that are not the main one."""

    def on_step(self, report: StepReport) -> None:
        """Ignore."""

    def on_epoch(self, report: EpochReport) -> None:
        """Ignore."""


def _checkpoint(params: Params) -> Path:
    """A folder of its own for each combination of settings, data, code and hardware that decides the weights."""
    settings = params.model_dump(mode="json", include={"backbone", "train", "encode"})
    settings["data"] = [sha256(artifacts.PREPARED / f"{name}.parquet") for name in ("train", "dev")]
    settings["code"] = [sha256(path) for path in sorted(CODE.glob("*.py"))]
    settings["hardware"] = [resolve_precision(params.train), PartialState().num_processes]
    return CHECKPOINTS / hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _open_run(registry: Registry, params: Params, checkpoint: Path) -> str:
    """The run of the training that is resumed, or a new one."""
    note = checkpoint.with_suffix(".run.json")
    if checkpoint.exists() and note.exists():
        run_id = str(artifacts.read_json(note)["run_id"])
        if registry.has_run(run_id):
            registry.resume_run(run_id)
            return run_id
    settings = params.model_dump(mode="json", by_alias=True)
    run_id = registry.start_run(params.profile, settings, datasets_used(params.fetch.source), git_commit())
    artifacts.write_json(note, {"run_id": run_id})
    return run_id


def main() -> None:
    """Stage train."""
    params = Params.load()
    is_main = PartialState().is_main_process
    splits = {name: read_split(name) for name in ("train", "dev")}
    model, tokenizer_json = models.build(params.backbone, splits["train"]["text"][:], params.train.seed)
    encoder = Encoder(tokenizer_json, params.encode.max_length_tokens)
    # published reviews are far shorter than the limit; one that is not is cut in training, where it cannot be refused
    encoded = {
        name: Split(encoder.encode(split["text"][:], truncate=True), split["label"][:])
        for name, split in splits.items()
    }
    checkpoint = _checkpoint(params)
    started = time.monotonic()
    learn = partial(
        train,
        model,
        encoded["train"],
        encoded["dev"],
        params.train,
        pad_id=encoder.pad_id,
        checkpoint=checkpoint,
    )
    if not is_main:
        learn(listener=Silent())
        return
    registry = Registry(params.register_)
    run_id = _open_run(registry, params, checkpoint)
    progress = Progress(registry, run_id, params.train.epochs)
    with registry.finishing(run_id):
        outcome = learn(listener=progress)
        progress.close()
        with replacing(artifacts.MODEL) as folder:
            models.save(model, tokenizer_json, folder)
        curves.write(map(asdict, outcome.steps), map(asdict, outcome.epochs))
        report = {
            "best_epoch": outcome.best.epoch,
            "train_loss": outcome.best.train_loss,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "precision": resolve_precision(params.train),
            "seconds": round(time.monotonic() - started, 1),
        }
        artifacts.write_json(artifacts.TRAIN_REPORT, report)
        artifacts.write_json(artifacts.RUN, {"run_id": run_id})
    shutil.rmtree(checkpoint, ignore_errors=True)
    checkpoint.with_suffix(".run.json").unlink(missing_ok=True)
    print(f"best epoch {outcome.best.epoch}: dev accuracy {outcome.best.dev_accuracy:.4f}; MLflow run {run_id}")


if __name__ == "__main__":
    stage.run(main)
