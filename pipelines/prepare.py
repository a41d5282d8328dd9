"""Clean the reviews, drop the empty ones, cut dev from train, and report what the data is like."""

from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset, disable_progress_bars

from data import nsmc
from data.checks import data_report
from data.files import writing
from data.nsmc import Review
from data.split import dev_rows
from data.text import clean
from pipelines import artifacts, stage
from pipelines.params import Params
from pipelines.splits import rows_digest

COLUMNS = ["id", "text", "label"]


def cleaned(reviews: Sequence[Review]) -> Dataset:
    """The reviews as a dataset of id, cleaned text and label, without those that cleaning leaves empty."""
    raw = Dataset.from_dict({name: [getattr(review, name) for review in reviews] for name in COLUMNS})
    texts = raw.map(lambda batch: {"text": [clean(text) for text in batch["text"]]}, batched=True)
    return texts.filter(lambda batch: [bool(text) for text in batch["text"]], batched=True)


def _write(dataset: Dataset, path: Path) -> None:
    with writing(path) as temporary:
        dataset.to_parquet(temporary)


def main() -> None:
    """Stage prepare."""
    settings = Params.load().prepare
    disable_progress_bars()
    train, test = list(nsmc.read(artifacts.TRAIN_FILE)), list(nsmc.read(artifacts.TEST_FILE))
    pool, held_out = cleaned(train), cleaned(test)
    dev = set(dev_rows(pool["text"][:], pool["label"][:], settings.dev_fraction, settings.seed))
    splits = {
        "train": pool.select([row for row in range(len(pool)) if row not in dev]),
        "dev": pool.select(sorted(dev)),
        "test": held_out,
    }
    report = data_report(train, test)
    report["dropped_empty"] = {"train": len(train) - len(pool), "test": len(test) - len(held_out)}
    report["splits"] = {
        name: {"rows": len(split), "positive": sum(split["label"][:]), "sha256": rows_digest(split)}
        for name, split in splits.items()
    }
    for name, split in splits.items():
        _write(split, artifacts.PREPARED / f"{name}.parquet")
    artifacts.write_json(artifacts.DATA_REPORT, report)
    print("; ".join(f"{name}: {values['rows']:,} reviews" for name, values in report["splits"].items()))


if __name__ == "__main__":
    stage.run(main)
