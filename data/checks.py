"""What a reader of the data wants to know before believing a figure made on it."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from data.labels import POSITIVE
from data.nsmc import Review


@dataclass(frozen=True, slots=True)
class Lengths:
    """Distribution of lengths, in characters or tokens as the field that holds it says."""

    mean: float
    p50: float
    p95: float
    p99: float
    max: int

    @classmethod
    def of(cls, lengths: Sequence[int]) -> "Lengths":
        """Over no lengths at all, everything is 0."""
        values = np.asarray(lengths or [0])
        p50, p95, p99 = (float(value) for value in np.percentile(values, (50, 95, 99)))
        return cls(round(float(values.mean()), 2), p50, p95, p99, int(values.max()))


@dataclass(frozen=True, slots=True)
class FileReport:
    """One file as published, before anything was dropped."""

    rows: int
    empty: int
    distinct_texts: int
    duplicate_rows: int
    conflicting_texts: int
    positive: int
    length_characters: Lengths


@dataclass(frozen=True, slots=True)
class Overlap:
    """Test rows whose exact text stands in train: what a model can get right or wrong by memory alone."""

    rows: int
    rows_without_empty: int
    contradicting_majority: int
    label_never_seen: int


def file_report(reviews: Sequence[Review]) -> FileReport:
    """Count what is in one file. Texts are compared as published; conflicts leave the empty text out."""
    labels = _labels_by_text(reviews)
    return FileReport(
        rows=len(reviews),
        empty=sum(not review.text for review in reviews),
        distinct_texts=len(labels),
        duplicate_rows=len(reviews) - len(labels),
        conflicting_texts=sum(bool(text) and len(counts) > 1 for text, counts in labels.items()),
        positive=sum(review.label == POSITIVE for review in reviews),
        length_characters=Lengths.of([len(review.text) for review in reviews]),
    )


def overlap(train: Sequence[Review], test: Sequence[Review]) -> Overlap:
    """Compare by exact text; where train is tied, the label that stands first in the file counts as its majority."""
    seen = _labels_by_text(train)
    shared = [review for review in test if review.text in seen]
    return Overlap(
        rows=len(shared),
        rows_without_empty=sum(bool(review.text) for review in shared),
        contradicting_majority=sum(seen[review.text].most_common(1)[0][0] != review.label for review in shared),
        label_never_seen=sum(seen[review.text][review.label] == 0 for review in shared),
    )


def data_report(train: Sequence[Review], test: Sequence[Review]) -> dict[str, Any]:
    """The report of both files and of what they share, as plain JSON values."""
    return {
        "train": asdict(file_report(train)),
        "test": asdict(file_report(test)),
        "overlap": asdict(overlap(train, test)),
    }


def _labels_by_text(reviews: Sequence[Review]) -> dict[str, Counter[int]]:
    labels: dict[str, Counter[int]] = defaultdict(Counter)
    for review in reviews:
        labels[review.text][review.label] += 1
    return labels
