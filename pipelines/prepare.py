"""Clean the reviews, drop the empty ones, cut dev from train and from the crawl, and report what the data is like."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Value, disable_progress_bars

from data import nsmc
from data.checks import data_report
from data.files import writing
from data.nsmc import Review
from data.split import dev_rows
from data.text import clean
from pipelines import artifacts, stage
from pipelines.params import Params
from pipelines.splits import read_table, rows_digest

COLUMNS = ["id", "text", "label"]
CRAWL_FEATURES = Features(
    {"id": Value("string"), "text": Value("string"), "stars": Value("int64"), "date": Value("string")}
)


def cleaned(reviews: Sequence[Review]) -> Dataset:
    """The reviews as a dataset of id, cleaned text and label, without those that cleaning leaves empty."""
    raw = Dataset.from_dict({name: [getattr(review, name) for review in reviews] for name in COLUMNS})
    texts = raw.map(lambda batch: {"text": [clean(text) for text in batch["text"]]}, batched=True)
    return texts.filter(lambda batch: [bool(text) for text in batch["text"]], batched=True)


def crawled(known: Sequence[Dataset], fraction: float, seed: int) -> dict[str, Dataset]:
    """The crawl's reviews that ``known`` does not hold, as parts to learn from, to choose on and to report on.

    A review is held if its id or its cleaned text is; a text that comes twice counts once.
    """
    seen, identifiers = ({value for each in known for value in each[name][:]} for name in ("text", "id"))
    crawl = read_table(artifacts.CRAWL_FILE)
    kept: dict[str, list[Any]] = {name: [] for name in CRAWL_FEATURES}
    for identifier, raw, stars, date in zip(*(crawl[name][:] for name in CRAWL_FEATURES), strict=True):
        text = clean(raw)
        if text and text not in seen and identifier not in identifiers:
            seen.add(text)
            for column, value in zip(kept.values(), (identifier, text, stars, date), strict=True):
                column.append(value)
    whole = Dataset.from_dict(kept, features=CRAWL_FEATURES)
    if not len(whole):
        return dict.fromkeys(("crawl_train", "crawl_dev", "crawl_test"), whole)
    dev = dev_rows(whole["text"][:], whole["stars"][:], fraction, seed)
    rest = sorted(set(range(len(whole))) - set(dev))
    held = whole.select(rest)
    test = dev_rows(held["text"][:], held["stars"][:], fraction, seed + 1)
    return {
        "crawl_train": held.select(sorted(set(range(len(held))) - set(test))),
        "crawl_dev": whole.select(dev),
        "crawl_test": held.select(test),
    }


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
    splits |= crawled([pool, held_out], settings.dev_fraction, settings.seed)
    report["crawl"] = {
        name: {"rows": len(split), "by_stars": dict(sorted(Counter(map(str, split["stars"][:])).items()))}
        for name, split in splits.items()
        if name.startswith("crawl")
    }
    for name, split in splits.items():
        _write(split, artifacts.PREPARED / f"{name}.parquet")
    artifacts.write_json(artifacts.DATA_REPORT, report)
    print("; ".join(f"{name}: {values['rows']:,} reviews" for name, values in report["splits"].items()))


if __name__ == "__main__":
    stage.run(main)
