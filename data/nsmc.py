"""NSMC's file format: UTF-8, tab separated, minimal CSV quoting, header ``id document label``."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from data.errors import FormatError
from data.labels import NAMES

HEADER = ["id", "document", "label"]


@dataclass(frozen=True, slots=True)
class Review:
    """One row: an identifier, the raw text (possibly empty) and a class index."""

    id: str
    text: str
    label: int


def read(path: Path) -> Iterator[Review]:
    """The reviews of ``path``, in file order. Raises FormatError with the line of the first bad row.

    The published files were quoted twice, so a few texts keep a doubled quote; that is how they are known.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file, delimiter="\t", strict=True)
            header = next(rows, [])
            if header != HEADER:
                raise FormatError(f"{path.name}: header is {header}; it must be {HEADER}")
            for row in rows:
                yield _review(row, f"{path.name} line {rows.line_num}")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path.name}: byte {error.start} is not UTF-8") from error
    except csv.Error as error:
        raise FormatError(f"{path.name}: not tab-separated values ({error})") from error


def write(path: Path, reviews: Iterable[Review]) -> None:
    """Write ``reviews`` so that ``read`` gives them back."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter="\t", lineterminator="\n")
        rows.writerow(HEADER)
        rows.writerows((review.id, review.text, review.label) for review in reviews)


def _review(row: list[str], place: str) -> Review:
    if len(row) != len(HEADER):
        raise FormatError(f"{place}: {len(row)} fields; there must be {len(HEADER)}")
    identifier, text, label = row
    if not (label.isdecimal() and int(label) < len(NAMES)):
        raise FormatError(f"{place}: label is {label!r}; it must be 0 or 1")
    return Review(identifier, text, int(label))
