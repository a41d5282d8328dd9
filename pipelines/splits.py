"""Tables of reviews, as the stages hand them on."""

import hashlib
from pathlib import Path

import pyarrow.parquet
from datasets import Dataset, Features

from pipelines import artifacts


def read_table(path: Path) -> Dataset:
    """A Parquet table, possibly without rows, which the library's own reader cannot take."""
    schema = pyarrow.parquet.read_schema(path)
    if pyarrow.parquet.read_metadata(path).num_rows == 0:
        return Dataset.from_dict({name: [] for name in schema.names}, features=Features.from_arrow_schema(schema))
    return Dataset.from_parquet(str(path), cache_dir=str(artifacts.CACHE / "datasets"))


def read_split(name: str) -> Dataset:
    """A prepared split.

    ``train``, ``dev`` and ``test`` have id, cleaned text and label; ``crawl_train``, ``crawl_dev`` and ``crawl_test``
    have id, cleaned text, stars and date, and no rows where there is no crawl.
    """
    return read_table(artifacts.PREPARED / f"{name}.parquet")


def rows_digest(split: Dataset) -> str:
    """SHA-256 over ids, texts and labels in their order: two figures compare only where it is the same."""
    digest = hashlib.sha256()
    for identifier, text, label in zip(split["id"], split["text"], split["label"], strict=True):
        digest.update(f"{identifier}\t{text}\t{label}\n".encode())
    return digest.hexdigest()
