"""Fine-tune the backbone on the lessons, choose the best epoch on dev, and show the run in MLflow while it goes on."""

import time
from dataclasses import asdict
from functools import partial

import pandas as pd
from accelerate import PartialState

from data.encode import TOKENIZER_FILE, Encoder
from data.files import replacing
from pipelines import artifacts, curves, stage
from pipelines.params import Params
from pipelines.progress import Progress
from pipelines.registry import Registry
from pipelines.resumption import Resumption
from pipelines.splits import read_split
from training import model as models
from training.finetune import FineTuning, SpecialIds, Split
from training.loop import resolve_precision, train
from training.reports import Silent


def main() -> None:
    """Stage train."""
    params = Params.load()
    config = params.train
    lessons, dev = pd.read_parquet(artifacts.LESSONS), read_split("dev")
    encoder = Encoder.from_file(artifacts.BACKBONE, params.encode.max_length_tokens)
    model = models.load(artifacts.BACKBONE)
    # published reviews are far shorter than the limit; one that is not is cut in training, where it cannot be refused
    task = FineTuning(
        model,
        Split(encoder.encode(lessons["text"].tolist(), truncate=True), lessons["positive"].tolist()),
        Split(encoder.encode(dev["text"][:], truncate=True), dev["label"][:]),
        config,
        SpecialIds.of(encoder),
    )
    resumption = Resumption.of(
        params.model_dump(mode="json", include={"train", "encode"}),
        [artifacts.LESSONS, artifacts.PREPARED / "dev.parquet", *sorted(artifacts.BACKBONE.iterdir())],
        config,
    )
    started = time.monotonic()
    learn = partial(train, task, config, checkpoint=resumption.folder)
    if not PartialState().is_main_process:
        learn(listener=Silent())
        return
    registry = Registry(params.register_)
    run_id = resumption.open_run(registry, params)
    progress = Progress(registry, run_id, config.epochs)
    with registry.finishing(run_id), registry.watching(run_id):
        outcome = learn(listener=progress)
        progress.close()
        with replacing(artifacts.MODEL) as folder:
            tokenizer_json = (artifacts.BACKBONE / TOKENIZER_FILE).read_text(encoding="utf-8")
            models.save(model, tokenizer_json, folder, outcome.weights)
        curves.write(map(asdict, outcome.steps), map(asdict, outcome.epochs))
        report = {
            "best_epoch": outcome.best.epoch,
            "train_loss": outcome.best.train_loss,
            "lessons": len(lessons),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "precision": resolve_precision(config),
            "seconds": round(time.monotonic() - started, 1),
        }
        artifacts.write_json(artifacts.TRAIN_REPORT, report)
        artifacts.write_json(artifacts.RUN, {"run_id": run_id})
    resumption.forget()
    print(f"best epoch {outcome.best.epoch}: dev accuracy {outcome.best.dev_accuracy:.4f}; MLflow run {run_id}")


if __name__ == "__main__":
    stage.run(main)
