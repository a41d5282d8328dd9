"""Judge the trained model: fit its temperature on dev, then score dev and, once, test."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data.encode import Encoder
from data.files import writing
from data.labels import NAMES, POSITIVE
from data.probability import calibrated
from pipelines import artifacts, stage
from pipelines.metric import scores
from pipelines.params import Params
from pipelines.splits import read_split
from training import model as models
from training.calibrate import fit_temperature
from training.metrics import majority_accuracy, reliability
from training.predict import logits


def _write_csv(path: Path, header: list[str], rows: Iterable[Iterable[Any]]) -> None:
    with writing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main() -> None:
    """Stage evaluate."""
    params = Params.load()
    model = models.load(artifacts.MODEL)
    encoder = Encoder.from_file(artifacts.MODEL, params.encode.max_length_tokens)
    splits = {name: read_split(name) for name in ("dev", "test")}
    frames = []
    for name, split in splits.items():
        rows = encoder.encode(split["text"][:], truncate=True)
        found = logits(model, rows, encoder.pad_id)
        frames.append(
            pd.DataFrame(
                {
                    "split": name,
                    "id": split["id"][:],
                    "label": split["label"][:],
                    "logit_negative": found[:, 0],
                    "logit_positive": found[:, 1],
                }
            )
        )
    table = pd.concat(frames, ignore_index=True)
    on_dev = (table["split"] == "dev").to_numpy()
    labels, both = table["label"].to_numpy(), table[["logit_negative", "logit_positive"]].to_numpy()
    temperature = fit_temperature(both[on_dev], labels[on_dev])
    table["positive"] = positive = calibrated(both, temperature)[:, POSITIVE]

    test_labels, test_positive = labels[~on_dev], positive[~on_dev]
    report: dict[str, Any] = {
        "test": scores(test_positive, test_labels),
        "dev": scores(positive[on_dev], labels[on_dev]),
        "majority_accuracy": majority_accuracy(np.asarray(read_split("train")["label"][:]), test_labels),
        "temperature": temperature,
    }
    with writing(artifacts.PREDICTIONS) as temporary:
        table.to_parquet(temporary, index=False)
    _write_csv(
        artifacts.RELIABILITY_PLOT,
        ["confidence", "accuracy", "count"],
        ((b.confidence, b.accuracy, b.count) for b in reliability(test_labels, test_positive)),
    )
    _write_csv(
        artifacts.CONFUSION_PLOT,
        ["actual", "predicted"],
        ((NAMES[label], NAMES[int(p >= 0.5)]) for label, p in zip(test_labels, test_positive, strict=True)),
    )
    artifacts.write_json(artifacts.CALIBRATION, {"temperature": temperature})
    artifacts.write_json(artifacts.EVALUATION_REPORT, report)
    print(f"test accuracy {report['test']['accuracy']:.4f} on {len(test_labels):,} reviews")


if __name__ == "__main__":
    stage.run(main)
