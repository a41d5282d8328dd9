"""Clean the reviews, cut dev from train and from the crawl, believe callers' corrections or not, report on it all."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import Dataset, Features, Value, disable_progress_bars

from data import nsmc
from data.checks import data_report
from data.crawl import NEGATIVE_STARS, POSITIVE_STARS
from data.feedback import Decided, Trust, decide
from data.files import writing
from data.journal import text_digest
from data.labels import NEGATIVE, POSITIVE
from data.nsmc import Review
from data.split import dev_rows
from data.text import clean
from pipelines import artifacts, stage
from pipelines.params import Params
from pipelines.splits import read_table, rows_digest
from pipelines.votes import Collected, read

COLUMNS = ["id", "text", "label"]
HELD_OUT = ("dev", "test", "crawl_dev", "crawl_test")
FEEDBACK_FEATURES = Features({"id": Value("string"), "text": Value("string"), "label": Value("int64")})
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


def believed(votes: Sequence[Collected], parts: Mapping[str, Dataset], trust: Trust) -> tuple[list[Decided], Dataset]:
    """What becomes of the callers' votes, and the reviews that are learned from because of them."""
    held_out = {text_digest(text) for name in HELD_OUT for text in parts[name]["text"]}
    learned: dict[str, int | None] = {
        text_digest(text): _polarity(stars) for text, stars in _pairs(parts["crawl_train"], "stars")
    }
    learned |= {text_digest(text): label for text, label in _pairs(parts["train"], "label")}
    texts = {each.vote.digest: each.text for each in votes if each.text is not None}
    votes_alone = [each.vote for each in votes]
    decided = decide(votes_alone, trust, held_out=held_out, learned=learned, texts=texts.keys(), rows=len(learned))
    taken = sorted((each for each in decided if each.outcome == "taken"), key=lambda each: each.digest)
    rows = {
        "id": [f"feedback-{each.digest[:16]}" for each in taken],
        "text": [texts[each.digest] for each in taken],
        "label": [each.label for each in taken],
    }
    return decided, Dataset.from_dict(rows, features=FEEDBACK_FEATURES)


def _pairs(part: Dataset, column: str) -> Iterator[tuple[str, int]]:
    return zip(part["text"][:], part[column][:], strict=True)


def _polarity(stars: int) -> int | None:
    return NEGATIVE if stars in NEGATIVE_STARS else POSITIVE if stars in POSITIVE_STARS else None


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
    votes = read(artifacts.FEEDBACK_FILE)
    decided, splits["feedback"] = believed(votes, splits, Trust(**settings.feedback.model_dump()))
    report["feedback"] = {"votes": len(votes), **Counter(each.outcome for each in decided)}
    columns = [each.name for each in fields(Decided)]
    with writing(artifacts.FEEDBACK_REPORT) as temporary:
        pd.DataFrame(map(asdict, decided), columns=columns).to_csv(temporary, index=False)
    for name, split in splits.items():
        _write(split, artifacts.PREPARED / f"{name}.parquet")
    artifacts.write_json(artifacts.DATA_REPORT, report)
    print("; ".join(f"{name}: {values['rows']:,} reviews" for name, values in report["splits"].items()))


if __name__ == "__main__":
    stage.run(main)
