"""Verdicts on their way to one file: parts that outlive an interruption, and what they are parts of.

A part is written through a temporary name, its rejected rows first; its own file is what makes it count. How far the
input was read stands in the part, so that another run goes on from there.
"""

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Self

import pyarrow as pa
import pyarrow.parquet as pq

from data.files import writing
from pipelines.errors import TableError
from pipelines.scoring.judge import REJECTED, separated, verdict_schema
from pipelines.scoring.source import ROW

PART_ROWS = 65_536
PART_BYTES = 128 << 20
_NEXT_ROW = b"next_row"
_JOB = "job.json"
_PART = "part-*.parquet"
COMPRESSION = "zstd"


class Parts:
    """The folder of a job's parts."""

    def __init__(self, folder: Path, job: Mapping[str, Any], own: pa.Schema) -> None:
        self._folder, self._schema = folder, verdict_schema(own)
        self._waiting: list[pa.Table] = []
        files = self._files()
        self._count = len(files)
        self.next_row = int(pq.read_schema(files[-1]).metadata[_NEXT_ROW]) if files else 0
        """The first row of the input that no part covers."""

    @classmethod
    @contextmanager
    def open(cls, folder: Path, job: Mapping[str, Any], own: pa.Schema) -> Iterator[Self]:
        """The parts of ``job``, which may have been begun before; what is added is kept when the block is left.

        Raises TableError where ``folder`` holds parts of another job, or where another process adds to it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise TableError(f"another process is writing to {folder}") from error
            before = read_job(folder)
            if before is None:
                with writing(folder / _JOB) as temporary:
                    temporary.write_text(json.dumps(dict(job), indent=2), encoding="utf-8")
            elif before != job:
                other = ", ".join(sorted(key for key in {*before, *job} if before.get(key) != job.get(key)))
                raise TableError(f"{folder} holds parts of another job ({other} differ); --restart begins anew")
            parts = cls(folder, job, own)
            try:
                yield parts
            finally:
                parts.flush()

    def add(self, judged: pa.Table) -> None:
        """Take a judged chunk, the next one in order."""
        self._waiting.append(judged)
        enough_rows = sum(table.num_rows for table in self._waiting) >= PART_ROWS
        if enough_rows or sum(table.nbytes for table in self._waiting) >= PART_BYTES:
            self.flush()

    def flush(self) -> None:
        """Make a part of what was taken since the last one."""
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        verdicts, rejected = separated(table)
        following = table[ROW][-1].as_py() + 1
        if rejected.num_rows:
            with writing(self._folder / f"rejected-{self._count:06}.parquet") as temporary:
                pq.write_table(rejected, temporary, compression=COMPRESSION)
        with writing(self._folder / f"part-{self._count:06}.parquet") as temporary:
            metadata = {_NEXT_ROW: str(following)}
            pq.write_table(verdicts.replace_schema_metadata(metadata), temporary, compression=COMPRESSION)
        self._waiting.clear()
        self._count += 1
        self.next_row = following

    def merge(self, sink: Path | BinaryIO, rejected: Path) -> tuple[int, int]:
        """Write all parts into ``sink``, and the rejected rows, if there are any, into ``rejected``; how many of each.

        What stood in either before is replaced.
        """
        self.flush()
        parts = [(path, path.with_name(path.name.replace("part", "rejected", 1))) for path in self._files()]
        bad = [other for _, other in parts if other.exists()]
        if bad:
            with writing(rejected) as temporary:
                bad_rows = _concatenated(bad, REJECTED, temporary)
        else:
            bad_rows = 0
            rejected.unlink(missing_ok=True)
        if isinstance(sink, Path):
            with writing(sink) as temporary:
                rows = _concatenated([path for path, _ in parts], self._schema, temporary)
        else:
            rows = _concatenated([path for path, _ in parts], self._schema, sink)
        return rows, bad_rows

    def remove(self) -> None:
        """Delete the parts."""
        shutil.rmtree(self._folder)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(_PART))


def read_job(folder: Path) -> dict[str, Any] | None:
    """The job whose parts ``folder`` holds; None where it holds none."""
    try:
        found = json.loads((folder / _JOB).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise TableError(f"{folder / _JOB} is not JSON; --restart begins anew") from error
    return dict(found)


def _concatenated(parts: list[Path], schema: pa.Schema, sink: Path | BinaryIO) -> int:
    """Write the rows of ``parts`` to ``sink``, a part at a time; how many there were."""
    rows = 0
    with pq.ParquetWriter(sink, schema, compression=COMPRESSION) as writer:
        for path in parts:
            table = pq.read_table(path).replace_schema_metadata(None)
            writer.write_table(table.cast(schema))
            rows += table.num_rows
    return rows
