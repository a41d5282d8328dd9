"""The raw crawl behind NSMC: reviews with their stars, as the corpus publishes them beside its two files.

``raw/*.json`` holds a list of objects a film, each with ``review_id``, ``review``, ``rating`` ("1" to "10"), ``date``
(yy.mm.dd), ``movie_id`` and ``author``; the author is never read.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import FormatError

_SURROGATE = re.compile("[\ud800-\udfff]")

STARS = range(1, 11)
NEGATIVE_STARS, NEUTRAL_STARS, POSITIVE_STARS = range(1, 5), range(5, 9), range(9, 11)
"""How NSMC makes labels of stars; it leaves the neutral ones out."""


@dataclass(frozen=True, slots=True)
class RatedReview:
    """A review as crawled: ``stars`` from 1 to 10, ``date`` as yy.mm.dd."""

    id: str
    text: str
    stars: int
    date: str


def rated(row: dict[str, Any], place: str) -> RatedReview:
    """A row of the JSON files, or of a table with the columns id, document, rating and date; raises FormatError."""
    identifier, text = row.get("review_id", row.get("id")), row.get("review", row.get("document"))
    stars = str(row.get("rating"))
    if not isinstance(identifier, str) or not isinstance(text, str):
        raise FormatError(f"{place}: review_id and review must both be text")
    if _SURROGATE.search(text):
        raise FormatError(f"{place}: review holds a lone surrogate; it must be valid Unicode")
    if not (stars.isdecimal() and int(stars) in STARS):
        raise FormatError(f"{place}: rating is {stars!r}; it must be a whole number from 1 to 10")
    return RatedReview(identifier, text, int(stars), str(row.get("date", "")))


def read_folder(folder: Path) -> Iterator[RatedReview]:
    """The reviews of all JSON files of ``folder``, by file name. Raises FormatError naming file and row."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise FormatError(f"{folder} holds no *.json")
    for file in files:
        try:
            rows = json.loads(file.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise FormatError(f"{file.name} is not JSON: {error}") from error
        if not isinstance(rows, list):
            raise FormatError(f"{file.name}: it holds no list of reviews")
        for number, row in enumerate(rows):
            yield rated(row if isinstance(row, dict) else {}, f"{file.name} review {number}")


def digest(reviews: Iterable[RatedReview]) -> str:
    """SHA-256 over ids, stars and texts, whatever order and form they came in."""
    lines = sorted(f"{review.id}\t{review.stars}\t{review.text}\n" for review in reviews)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
