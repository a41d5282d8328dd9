"""Fit the character n-gram linear baseline on train, and let it judge dev and test: what a model has to beat."""

import numpy as np
import pandas as pd

from data.files import writing
from pipelines import artifacts, stage
from pipelines.metric import scores
from pipelines.splits import read_split
from training.baseline import LinearBaseline
from training.metrics import majority_accuracy


def main() -> None:
    """Stage baseline."""
    splits = {name: read_split(name) for name in ("train", "dev", "test")}
    labels = {name: np.asarray(split["label"][:]) for name, split in splits.items()}
    model = LinearBaseline().fit(splits["train"]["text"][:], labels["train"])
    margins = {name: model.margin(splits[name]["text"][:]) for name in ("dev", "test")}
    table = pd.concat(
        pd.DataFrame({"split": name, "id": splits[name]["id"][:], "margin": margins[name]}) for name in margins
    )
    report = {
        name: {
            "rows": len(margin),
            "majority_accuracy": majority_accuracy(labels["train"], labels[name]),
            **scores(1.0 / (1.0 + np.exp(-margin)), labels[name]),
        }
        for name, margin in margins.items()
    }
    with writing(artifacts.BASELINE) as temporary:
        table.to_parquet(temporary, index=False)
    artifacts.write_json(artifacts.BASELINE_REPORT, report)
    print(f"linear baseline: accuracy {report['dev']['accuracy']:.4f} on dev, {report['test']['accuracy']:.4f} on test")


if __name__ == "__main__":
    stage.run(main)
