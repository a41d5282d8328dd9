"""The table of callers' votes that ``pipelines.feedback`` writes and the stages read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.feedback import Vote
from data.files import writing
from data.journal import text_digest
from pipelines.errors import TableError

SCHEMA = pa.schema(
    {
        "digest": pa.string(),
        "caller": pa.string(),
        "label": pa.int64(),
        "at": pa.float64(),
        "text": pa.string(),
    }
)


@dataclass(frozen=True, slots=True)
class Collected:
    """A vote, when it was given, and the cleaned review, where it is known."""

    vote: Vote
    at: float
    text: str | None


def write(collected: Sequence[Collected], target: Path) -> None:
    """As a Parquet table, at once."""
    columns = {
        "digest": [each.vote.digest for each in collected],
        "caller": [each.vote.caller for each in collected],
        "label": [each.vote.label for each in collected],
        "at": [each.at for each in collected],
        "text": [each.text for each in collected],
    }
    with writing(target) as temporary:
        pq.write_table(pa.table(columns, schema=SCHEMA), temporary)


def read(path: Path) -> list[Collected]:
    """What ``write`` wrote. Raises TableError for anything else."""
    try:
        rows = pq.read_table(path).cast(SCHEMA).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise TableError(f"{path} is not what pipelines.feedback wrote: {error}") from error
    found = []
    for number, row in enumerate(rows):
        text, digest = row["text"], row["digest"]
        if row["label"] not in (0, 1) or digest is None or row["caller"] is None:
            raise TableError(f"{path} row {number}: digest, caller and a label of 0 or 1 must be given")
        if text is not None and text_digest(text) != digest:
            raise TableError(f"{path} row {number}: the text is not the one of its digest")
        found.append(Collected(Vote(digest, row["caller"], row["label"]), row["at"] or 0.0, text))
    return found
