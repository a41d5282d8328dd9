"""A chunk of reviews in, the same chunk with verdicts out: the one function that runs here and on a cluster.

``encoded`` prepares what ``judged`` finishes, so that one chunk can be prepared while another is on the device.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from data.encode import Encoder
from data.errors import TextError
from data.labels import sentiments
from data.text import clean_review
from pipelines.scoring.source import REASON, ROW, VERDICT_COLUMNS, without_own
from serving.model import Model

VERDICT_TYPES = (pa.string(), pa.float64(), pa.float64(), pa.float64(), pa.string())
REJECTED = pa.schema([("row", pa.int64()), ("reason", pa.string())])
"""Rows count from 0. A reason never holds the text."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A chunk, its reasons filled in, and the token ids of the rows that have none."""

    chunk: pa.Table
    kept: list[int]
    ids: list[list[int]]


def encoded(chunk: pa.Table, text: str, encoder: Encoder, *, truncate: bool) -> Encoded:
    """Clean and encode column ``text``.

    A text that is missing, empty or, without ``truncate``, too long for the model gets a reason.
    """
    reasons: list[str | None] = chunk[REASON].to_pylist()
    cleaned: dict[int, str] = {}
    for row, value in enumerate(chunk[text].to_pylist()):
        if reasons[row] is not None:
            continue
        if value is None:
            reasons[row] = "text is missing"
            continue
        try:
            cleaned[row] = clean_review(value)
        except TextError as error:
            reasons[row] = str(error)
    kept, ids = [], []
    for (row, value), tokens in zip(
        cleaned.items(), encoder.encode(list(cleaned.values()), truncate=True), strict=True
    ):
        if not truncate and len(tokens) == encoder.max_length_tokens:  # it may have been cut
            try:
                encoder.encode([value])
            except TextError as error:
                reasons[row] = str(error)
                continue
        kept.append(row)
        ids.append(tokens)
    place = chunk.schema.get_field_index(REASON)
    return Encoded(chunk.set_column(place, REASON, pa.array(reasons, pa.string())), kept, ids)


def judged(batch: Encoded, model: Model) -> pa.Table:
    """The chunk with the verdict's columns behind its own, null where there is a reason.

    ``score`` is the probability of the winning class; ``positive`` and ``negative`` are those of the classes.
    """
    positive = model.positive(batch.ids) if batch.kept else np.empty(0)
    values = (
        sentiments(positive, model.bundle.manifest.neutral_band),
        np.maximum(positive, 1.0 - positive),
        1.0 - positive,
        positive,
        np.full(len(positive), model.tag),
    )
    places = np.full(batch.chunk.num_rows, -1)
    places[batch.kept] = np.arange(len(batch.kept))
    indices = pa.array(places, pa.int64(), mask=places < 0)
    table = batch.chunk
    for name, kind, column in zip(VERDICT_COLUMNS, VERDICT_TYPES, values, strict=True):
        table = table.append_column(name, pa.array(column, kind).take(indices))
    return table


def all_judged(chunks: Iterable[pa.Table], prepare: Callable[[pa.Table], Encoded], model: Model) -> Iterator[pa.Table]:
    """``judged`` of each chunk, in order.

    While a device other than the CPU is at work, the CPU reads and prepares the next chunk.
    """
    if model.engine.name.endswith("-cpu"):
        yield from (judged(prepare(chunk), model) for chunk in chunks)
        return
    following = iter(chunks)

    def prepared() -> Encoded | None:
        chunk = next(following, None)
        return None if chunk is None else prepare(chunk)

    with ThreadPoolExecutor(1, "prepare") as pool:
        ahead = pool.submit(prepared)
        while (batch := ahead.result()) is not None:
            ahead = pool.submit(prepared)
            yield judged(batch, model)


def verdict_schema(own: pa.Schema) -> pa.Schema:
    """Of the rows that were judged: the table's ``own`` columns and the verdict's."""
    return pa.schema([*own, *zip(VERDICT_COLUMNS, VERDICT_TYPES, strict=True)])


def separated(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """What was judged, and, as ``REJECTED``, what was not and why."""
    bad = table[REASON].is_valid()
    rejected = table.filter(bad).select([ROW, REASON]).rename_columns(REJECTED.names)
    return without_own(table.filter(table[REASON].is_null())), rejected
