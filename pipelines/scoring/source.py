"""Tables of reviews, read in chunks of bounded size: CSV and TSV (also compressed), Parquet, and standard input.

A chunk is an Arrow table of ``ROW``, ``REASON`` and the table's own columns, with the text as UTF-8. ``ROW`` counts
the rows of data from 0. A row that cannot be read has a reason, and nulls in its own columns.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from pipelines.errors import TableError

STANDARD = "-"
"""Standard input or output, where a path is expected."""
ROW, REASON = "__row__", "__reason__"
CHUNK_ROWS = 8_192
BLOCK_BYTES = 8 << 20
"""What of a text file is parsed at a time, and so the longest row that it may hold."""
MAX_COLUMNS = 4_096
TEXT_COLUMNS = ("text", "document", "review")
"""Where reviews are looked for, if no column is named."""
VERDICT_COLUMNS = ("sentiment", "score", "negative", "positive", "model_tag")
OWN = "input_"
"""Put before a column of the input that is called like one of the verdict's."""
DELIMITERS = {"csv": ",", "tsv": "\t"}
FORMATS = (*DELIMITERS, "parquet")
SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".txt": "tsv", ".parquet": "parquet"}
COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}


@dataclass(frozen=True, slots=True)
class Request:
    """What to read: a path or ``STANDARD``, and what its name does not tell."""

    path: str
    format: str | None = None
    column: str | None = None
    encoding: str = "utf-8"


class Source(Protocol):
    """A table that is open for reading, once, from its beginning."""

    schema: pa.Schema
    """Of the table's own columns, as they are written: without those of the chunk."""
    text: str
    """The column that holds the reviews."""

    def chunks(self) -> Iterator[pa.Table]:
        """All rows, in order, at most ``CHUNK_ROWS`` at a time. Raises TableError for what cannot be read at all."""

    def expected_rows(self) -> int | None:
        """How many rows there are, as far as can be told by what was read; None where the end is not known."""


def open_source(request: Request) -> Source:
    """Raises TableError where there is no such table, or where it has no column of reviews."""
    kind = _kind(request)
    if request.path != STANDARD and not Path(request.path).is_file():
        raise TableError(f"{request.path} is not a file")
    return _Parquet(request) if kind == "parquet" else _Delimited(request, DELIMITERS[kind])


def from_row(chunks: Iterable[pa.Table], first: int) -> Iterator[pa.Table]:
    """What of ``chunks`` begins with row ``first``."""
    for chunk in chunks:
        if chunk[ROW][-1].as_py() >= first:
            yield chunk.filter(pc.greater_equal(chunk[ROW], first)) if chunk[ROW][0].as_py() < first else chunk


def without_own(table: pa.Table) -> pa.Table:
    """The table's own columns, without those of the chunk."""
    return table.drop_columns([ROW, REASON])


def _kind(request: Request) -> str:
    suffixes = [suffix for suffix in Path(request.path).suffixes if suffix not in COMPRESSED]
    found = request.format or SUFFIXES.get(suffixes[-1] if suffixes else "")
    if found not in FORMATS:
        raise TableError(
            f"the format of {request.path!r} is {found or 'not known'}; name it with --format: {', '.join(FORMATS)}"
        )
    return found


class _Delimited:
    """CSV and TSV as ``csv.reader`` reads them: a header, quotes doubled inside quotes. All columns are text."""

    def __init__(self, request: Request, delimiter: str) -> None:
        self._name = request.path
        self._raw = (
            pa.PythonFile(sys.stdin.buffer, mode="r") if request.path == STANDARD else pa.OSFile(request.path, "rb")
        )
        self._size = None if request.path == STANDARD else self._raw.size()
        self._unreadable: list[tuple[int, str]] = []
        self._known_rows = -1  # the header is none
        try:
            self._batches = csv.open_csv(
                self._decompressed(request.path),
                # nothing is inferred: what a column holds in a later block can be anything
                read_options=csv.ReadOptions(
                    use_threads=False,
                    block_size=BLOCK_BYTES,
                    autogenerate_column_names=True,
                    encoding="utf8" if request.encoding.lower() in ("utf-8", "utf8") else request.encoding,
                ),
                parse_options=csv.ParseOptions(
                    delimiter=delimiter, newlines_in_values=True, invalid_row_handler=self._refuse
                ),
                convert_options=csv.ConvertOptions(
                    column_types={f"f{place}": pa.binary() for place in range(MAX_COLUMNS)}, strings_can_be_null=False
                ),
            )
            self._first = self._next()
        except LookupError as error:
            raise TableError(f"--encoding is {request.encoding!r}; Python knows no such encoding") from error
        except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
            raise self._broken(error) from error
        if self._first is None:
            raise TableError(f"{self._name} is empty; it must begin with a header")
        header = [str(column[0].as_py(), "utf-8", "replace") for column in self._first.columns]
        self._names, self.text = _own_names(self._name, header, request.column)
        self.schema = pa.schema([(name, pa.string()) for name in self._names])

    def chunks(self) -> Iterator[pa.Table]:
        row = 0
        batch = self._first.slice(1) if self._first is not None else None
        self._first = None
        while batch is not None:
            for start in range(0, batch.num_rows, CHUNK_ROWS):
                part = batch.slice(start, CHUNK_ROWS)
                rows, refused = self._numbered(row, part.num_rows)
                row = rows[-1] + 1
                yield _in_order([_text_columns(part, rows, self.schema), self._nothing(refused)])
            batch = self._next()
        if self._unreadable:
            yield self._nothing(self._unreadable)

    def expected_rows(self) -> int | None:
        read = self._raw.tell() if self._size is not None else 0
        return round(self._known_rows * self._size / read) if self._size and read else None

    def _decompressed(self, path: str) -> pa.NativeFile:
        kind = COMPRESSED.get(Path(path).suffix)
        return self._raw if kind is None else pa.CompressedInputStream(self._raw, kind)

    def _refuse(self, row: csv.InvalidRow) -> str:
        fields = f"{row.actual_columns} fields; there must be {row.expected_columns}"
        self._known_rows += 1
        self._unreadable.append((row.number - 2, fields))  # rows of the file count from 1, and the header is one
        return "skip"

    def _next(self) -> pa.RecordBatch | None:
        try:
            while (batch := self._batches.read_next_batch()).num_rows == 0:
                pass
        except StopIteration:
            return None
        except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
            raise self._broken(error) from error
        self._known_rows += batch.num_rows
        return batch

    def _broken(self, error: Exception) -> TableError:
        return TableError(
            f"{self._name} cannot be read on: {_first_line(error)}. It must begin with a header, a row may be "
            f"{BLOCK_BYTES >> 20} MiB long, a quote must be closed, and text must be in --encoding"
        )

    def _numbered(self, row: int, count: int) -> tuple[list[int], list[tuple[int, str]]]:
        """The numbers of the next ``count`` readable rows, from ``row`` on, and the unreadable ones among them."""
        unreadable = {number for number, _ in self._unreadable}
        rows: list[int] = []
        while len(rows) < count:
            if row not in unreadable:
                rows.append(row)
            row += 1
        passed = [each for each in self._unreadable if each[0] < row]
        self._unreadable = self._unreadable[len(passed) :]
        return rows, passed

    def _nothing(self, refused: Sequence[tuple[int, str]]) -> pa.Table:
        return _chunk(
            [number for number, _ in refused],
            [reason for _, reason in refused],
            [pa.nulls(len(refused), field.type) for field in self.schema],
            self.schema,
        )


class _Parquet:
    """Parquet, a few pages of a row group at a time; standard input is copied to a file first, for its end is read."""

    def __init__(self, request: Request) -> None:
        self._name = request.path
        self._copy: Any = None
        path = request.path
        if path == STANDARD:
            self._copy = tempfile.NamedTemporaryFile(suffix=".parquet")  # noqa: SIM115 - it is read from until the end
            shutil.copyfileobj(sys.stdin.buffer, self._copy)
            self._copy.flush()
            path = self._copy.name
        try:
            self._file = pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
            found = self._file.schema_arrow
        except (pa.ArrowInvalid, OSError) as error:
            raise TableError(f"{self._name} is not a Parquet file: {_first_line(error)}") from error
        self._names, self.text = _own_names(self._name, found.names, request.column)
        fields = [field.with_name(name) for field, name in zip(found, self._names, strict=True)]
        place = self._names.index(self.text)
        if not _holds_text(fields[place].type):
            raise TableError(f"column {found.names[place]!r} of {self._name} is {found[place].type}; it must be text")
        fields[place] = pa.field(self.text, pa.string())
        self.schema = pa.schema(fields)

    def chunks(self) -> Iterator[pa.Table]:
        place = self._names.index(self.text)
        row = 0
        try:
            for batch in self._file.iter_batches(batch_size=CHUNK_ROWS):
                columns = list(batch.columns)
                columns[place], reasons = _as_utf8(columns[place], self.text)
                yield _chunk(range(row, row + batch.num_rows), reasons, columns, self.schema)
                row += batch.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise TableError(f"{self._name} cannot be read after row {row}: {_first_line(error)}") from error

    def expected_rows(self) -> int | None:
        return int(self._file.metadata.num_rows)


def _own_names(table: str, names: Sequence[str], column: str | None) -> tuple[list[str], str]:
    """The columns' names in the output, and which of them holds the reviews."""
    twice = {name for name in names if list(names).count(name) > 1}
    if twice:
        raise TableError(f"{table} has two columns named {min(twice)!r}")
    wanted = [column] if column is not None else [name for name in TEXT_COLUMNS if name in names][:1]
    if not wanted or wanted[0] not in names:
        missing = repr(column) if column is not None else " or ".join(TEXT_COLUMNS)
        raise TableError(
            f"{table} has no column {missing}; it has {', '.join(names)}: name that of the reviews with --column"
        )
    taken = {ROW, REASON, *VERDICT_COLUMNS}
    renamed = [f"{OWN}{name}" if name in taken else name for name in names]
    again = {name for name in renamed if renamed.count(name) > 1}
    if again:
        raise TableError(f"{table} has a column {min(again)!r}, which is what {min(again)[len(OWN) :]!r} would become")
    return renamed, renamed[list(names).index(wanted[0])]


def _holds_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    checks = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view")
    return any(getattr(pa.types, f"is_{name}")(kind) for name in checks)


def _text_columns(batch: pa.RecordBatch, rows: Sequence[int], schema: pa.Schema) -> pa.Table:
    """A batch of binary columns as a chunk; a row in which one is not UTF-8 has nulls instead."""
    columns, reasons = [], pa.nulls(batch.num_rows, pa.string())
    for column, name in zip(batch.columns, schema.names, strict=True):
        text, wrong = _as_utf8(column, name)
        columns.append(text)
        reasons = pc.coalesce(reasons, wrong)
    return _chunk(rows, reasons, columns, schema)


def _as_utf8(column: pa.Array, name: str) -> tuple[pa.Array, pa.Array]:
    """``column`` as strings, null where it is not UTF-8, and for those rows the reason."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    none = pa.nulls(len(column), pa.string())
    with suppress(pa.ArrowInvalid):
        return column.cast(pa.string()), none
    texts: list[str | None] = []
    reasons: list[str | None] = []
    for value in column.cast(pa.binary()).to_pylist():
        text, reason = None, None
        if value is not None:
            try:
                text = value.decode("utf-8")
            except UnicodeDecodeError as error:
                reason = f"{name} is not UTF-8 at byte {error.start}"
        texts.append(text)
        reasons.append(reason)
    return pa.array(texts, pa.string()), pa.array(reasons, pa.string())


def _chunk(
    rows: Sequence[int], reasons: Sequence[str] | pa.Array, columns: Sequence[pa.Array], schema: pa.Schema
) -> pa.Table:
    return pa.Table.from_arrays(
        [pa.array(rows, pa.int64()), pa.array(reasons, pa.string()), *columns],
        schema=pa.schema([(ROW, pa.int64()), (REASON, pa.string()), *schema]),
    )


def _in_order(tables: Sequence[pa.Table]) -> pa.Table:
    """One chunk of several, by row."""
    filled = [table for table in tables if table.num_rows]
    return filled[0] if len(filled) == 1 else pa.concat_tables(filled).sort_by(ROW)


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:200]
