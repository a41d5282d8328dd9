"""A load generator that leaves the processors to the server. ``python -m benchmarks.load`` reads a job and reports.

A process of its own: the job comes as JSON on its standard input, the report goes to its standard output. Requests lie
ready as bytes before the first is sent, and answers are read after the last has come.
"""

import asyncio
import gc
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import psutil
import uvloop

from benchmarks.arrivals import OpenLoop
from benchmarks.dialects import DIALECTS, Dialect
from benchmarks.jobs import Job, Note, Report
from benchmarks.loops import ClosedLoop
from benchmarks.reviews import sequence

PREPARED_TEXTS = 16_384
"""Requests with so many texts lie ready; more are made while they are sent."""


class ServerTime:
    """Processor time of a process and of those that it had started when this was made."""

    def __init__(self, pid: int) -> None:
        process = psutil.Process(pid)
        self._known = dict.fromkeys((process, *process.children(recursive=True)), 0.0)

    def seconds(self) -> float:
        """So far; a process that ended keeps what it had."""
        for process in self._known:
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                self._known[process] = times.user + times.system
        return sum(self._known.values())


class Prepared:
    """Requests by number, ready to be sent, and their texts."""

    def __init__(self, dialect: Dialect, texts: Iterator[str], batch: int) -> None:
        self.texts: list[list[str]] = []
        self._dialect, self._source, self._batch = dialect, texts, batch
        self._data: list[bytes] = []
        self._numbers = itertools.count()
        for _ in range(PREPARED_TEXTS // max(batch, 1)):
            self._prepare()

    def next(self) -> tuple[int, bytes]:
        """The next one's number and bytes."""
        number = next(self._numbers)
        if number == len(self._data):
            self._prepare()
        return number, self._data[number]

    def _prepare(self) -> None:
        texts = list(itertools.islice(self._source, max(self._batch, 1)))
        self.texts.append(texts)
        self._data.append(self._dialect.request(texts, bool(self._batch)))


def said(notes: Sequence[Note], requests: Prepared, dialect: Dialect) -> tuple[list[tuple[str, str, float]], int]:
    """Each different (text, label, score), and how many bodies were not what the dialect says."""
    found: dict[tuple[str, str, float], None] = {}
    unread = 0
    for note in notes:
        if note.status != 200:
            continue
        try:
            pairs = zip(requests.texts[note.request], dialect.read(note.body), strict=True)
            found.update(((text, label, score), None) for text, (label, score) in pairs)
        except (ValueError, KeyError, TypeError, IndexError):
            unread += 1
    return list(found), unread


async def run(job: Job, requests: Prepared) -> Report:
    """All phases of ``job``, and what was answered."""
    server = ServerTime(job.pid)
    notes: list[Note] = []
    phases = []
    for phase in job.phases:
        loop = (OpenLoop if phase.rate else ClosedLoop)(job.port, phase, requests, server)
        phases.append(await loop.run())
        notes += loop.notes
        await asyncio.sleep(0)  # connections that were closed
    return Report(phases, *said(notes if job.read else [], requests, DIALECTS[job.dialect]))


def main() -> None:
    """A job in, its report out."""
    job = Job.from_json(json.load(sys.stdin))
    texts = json.loads(Path(job.texts).read_text(encoding="utf-8"))
    requests = Prepared(DIALECTS[job.dialect], sequence(job.kind, texts, job.mark), job.batch)
    gc.collect()
    gc.freeze()
    gc.disable()
    json.dump(asdict(uvloop.run(run(job, requests))), sys.stdout, ensure_ascii=False)


if __name__ == "__main__":
    main()
