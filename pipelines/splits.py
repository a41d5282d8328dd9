"""The prepared splits, as the stages after ``prepare`` read them."""

import hashlib

from datasets import Dataset

from pipelines import artifacts


def read_split(name: str) -> Dataset:
    """The split ``train``, ``dev`` or ``test``: id, cleaned text and label."""
    return Dataset.from_parquet(
        str(artifacts.PREPARED / f"{name}.parquet"), cache_dir=str(artifacts.CACHE / "datasets")
    )


def rows_digest(split: Dataset) -> str:
    """SHA-256 over ids, texts and labels in their order: two figures compare only where it is the same."""
    digest = hashlib.sha256()
    for identifier, text, label in zip(split["id"], split["text"], split["label"], strict=True):
        digest.update(f"{identifier}\t{text}\t{label}\n".encode())
    return digest.hexdigest()
