"""Fine-tune the backbone on the lessons, choose the best epoch on dev, and show the run in MLflow while it goes on."""

from dataclasses import asdict

import pandas as pd

from data.encode import TOKENIZER_FILE, Encoder
from data.files import replacing
from pipelines import artifacts, curves, stage
from pipelines.learning import learning
from pipelines.params import Params
from pipelines.resumption import Resumption
from pipelines.splits import read_split
from training import model as models
from training.finetune import FineTuning, SpecialIds, Split
from training.loop import resolve_precision


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
    with learning(task, config, resumption, params) as learned:
        if learned is None:
            return
        outcome = learned.outcome
        with replacing(artifacts.MODEL) as folder:
            tokenizer_json = (artifacts.BACKBONE / TOKENIZER_FILE).read_text(encoding="utf-8")
            models.save(model, tokenizer_json, folder, outcome.weights)
        curves.write(map(asdict, outcome.steps), map(asdict, outcome.epochs))
        pretraining = artifacts.read_json(artifacts.ORIGIN).get("pretraining", {})
        report = {
            "best_epoch": outcome.best.epoch,
            "train_loss": outcome.best.train_loss,
            "lessons": len(lessons),
            "lessons_by_source": lessons["source"].value_counts(sort=False).to_dict(),
            "pretraining": {name: pretraining.get(name, 0) for name in ("texts", "seconds")},
            "parameters": model.num_parameters(),
            "precision": resolve_precision(config),
            "seconds": learned.seconds,
        }
        artifacts.write_json(artifacts.TRAIN_REPORT, report)
        artifacts.write_json(artifacts.RUN, {"run_id": learned.run_id})
    best = outcome.best
    print(f"best epoch {best.epoch}: dev accuracy {best.dev_accuracy:.4f}; MLflow run {learned.run_id}")


if __name__ == "__main__":
    stage.run(main)
