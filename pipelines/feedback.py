"""Collect what callers corrected: ``python -m pipelines.feedback OUT --journal FOLDER [--texts TABLE]``.

Reads the journals of services (JOURNAL_FOLDER), finds out which review each correction is about, and writes OUT, a
Parquet table of one vote per caller and review, for ``fetch.feedback.source``; ``prepare`` decides what is believed.
A text is taken from the correction, where it was kept, or from tables of reviews that you have anyway (``--texts``).
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from data.feedback import Vote
from data.files import sha256
from data.journal import Correction, Judged, Reading, text_digest
from data.text import clean
from pipelines import stage
from pipelines.scoring.source import Request, open_source
from pipelines.votes import Collected, write


def named(corrections: Sequence[Correction], judged: Iterable[Judged]) -> tuple[list[Correction], Counter[str]]:
    """The corrections, each with a digest; and how many name no review that can be told, by reason.

    A request's id is the caller's choice where it gives one: one that came with several requests names none of them.
    """
    asked = {each.request for each in corrections if each.request is not None}
    answered: dict[str, tuple[str, ...] | None] = {}
    for line in judged:
        if line.request in asked:
            seen = line.request in answered and answered[line.request] != line.digests
            answered[line.request] = None if seen else line.digests
    found, lost = [], Counter[str]()
    for each in corrections:
        if each.request is None:
            found.append(each)
        elif each.request not in answered:
            lost["request unknown"] += 1
        elif (digests := answered[each.request]) is None:
            lost["request id not unique"] += 1
        elif each.index >= len(digests):
            lost["index beyond the request"] += 1
        else:
            found.append(Correction(each.at, each.caller, each.label, digests[each.index], None, 0, None))
    return found, lost


def votes(corrections: Iterable[Correction], texts: Mapping[str, str]) -> list[Collected]:
    """What each caller said last of each review, by time; ``texts`` are cleaned reviews by digest."""
    kept: dict[str, str] = {}
    last: dict[tuple[str, str], Correction] = {}
    for each in sorted(corrections, key=lambda correction: correction.at):
        digest = str(each.digest)
        last[digest, each.caller] = each
        if each.text is not None and text_digest(each.text) == digest:
            kept[digest] = each.text
    return [
        Collected(Vote(digest, caller, each.label), each.at, kept.get(digest, texts.get(digest)))
        for (digest, caller), each in sorted(last.items())
    ]


def known_texts(tables: Iterable[str], wanted: set[str]) -> dict[str, str]:
    """Cleaned reviews of tables, by digest, as far as they are ``wanted``. Raises TableError."""
    found: dict[str, str] = {}
    for path in tables:
        source = open_source(Request(path))
        for chunk in source.chunks():
            for raw in chunk[source.text].to_pylist():
                cleaned = clean(raw or "")
                if (digest := text_digest(cleaned)) in wanted:
                    found[digest] = cleaned
    return found


def main() -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(prog="pipelines.feedback", description=__doc__)
    parser.add_argument("out", metavar="OUT", type=Path, help="the Parquet table to write")
    parser.add_argument("--journal", metavar="FOLDER", type=Path, action="append", required=True, help="of a service")
    parser.add_argument("--texts", metavar="TABLE", action="append", default=[], help="reviews: CSV, TSV or Parquet")
    arguments = parser.parse_args()
    reading = Reading()
    corrections = [each for folder in arguments.journal for each in reading.lines_of(Correction, folder)]
    judged = (each for folder in arguments.journal for each in reading.lines_of(Judged, folder))
    found, lost = named(corrections, judged)
    collected = votes(found, known_texts(arguments.texts, {str(each.digest) for each in found}))
    write(collected, arguments.out)
    reviews = {each.vote.digest: each.text is not None for each in collected}
    print(
        f"{len(corrections):,} corrections: {len(collected):,} votes on {len(reviews):,} reviews, of which "
        f"{sum(reviews.values()):,} have their text"
    )
    for reason, count in sorted(lost.items()):
        print(f"{count:,} could not be used: {reason}")
    if reading.broken:
        print(f"{reading.broken:,} lines of the journals could not be read")
    print(f"{arguments.out}: SHA-256 {sha256(arguments.out)}; as fetch.feedback.sha256 it pins the table")


if __name__ == "__main__":
    stage.run(main)
