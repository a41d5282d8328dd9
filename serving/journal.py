"""The journal that a worker writes: what it judged, without texts, and callers' corrections.

Each worker has files of its own, ``judged-N`` and ``corrections-N``, where N is the first number that no other has.
What was judged is written once a second by a thread: no answer waits for the disk, a worker that is killed
loses the last second, and the oldest half goes where there is too much. A correction is on the disk before it is
answered, and refused where there is no room.
"""

import asyncio
import fcntl
import hashlib
import hmac
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from data.journal import Correction, Judged, line_of, text_digest
from serving.errors import JournalFailed

log = logging.getLogger(__name__)

FLUSH_S = 1.0
WAITING_BYTES = 8 << 20
"""Of what waits to be written; more is dropped, for then the disk is stuck."""
MOST_WORKERS = 1_024
SALT_FILE = "callers.salt"
_CALLER_DIGITS = 16
_SALT_BYTES = 32
_DIGITS = 4


class Journal:
    """See the module. Raises JournalFailed where the folder cannot be written to."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """``limit_bytes`` are for either kind of file."""
        self._limit_bytes = limit_bytes
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._salt = _salt(folder / SALT_FILE)
            self._place, number = _place(folder)
            self._judged_file = folder / f"{Judged.FILES}-{number}.ndjson"
            self._judged = _opened(self._judged_file)
            self._corrections = _opened(folder / f"{Correction.FILES}-{number}.ndjson")
        except OSError as error:
            raise JournalFailed(f"JOURNAL_FOLDER {folder} cannot be written to: {error.strerror}") from error
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._lock = asyncio.Lock()
        self._failing = False

    def caller(self, name: str) -> str:
        """The pseudonym of a caller: the same in all workers that share the folder, and of no use elsewhere."""
        return hmac.new(self._salt, name.encode(), hashlib.sha256).hexdigest()[:_CALLER_DIGITS]

    def judged(self, request: str | None, model_tag: str, cleaned: Sequence[str], positive: Sequence[float]) -> None:
        """``model_tag`` said ``positive`` (N,) of N cleaned texts; written soon."""
        if self._waiting_bytes > WAITING_BYTES:
            return
        digests, lengths = tuple(map(text_digest, cleaned)), tuple(map(len, cleaned))
        rounded = tuple(round(each, _DIGITS) for each in positive)
        line = line_of(Judged(round(time.time(), 3), request, model_tag, digests, lengths, rounded))
        self._waiting.append(line)
        self._waiting_bytes += len(line)

    async def corrected(self, correction: Correction) -> None:
        """Returns once it is on the disk. Raises JournalFailed."""
        async with self._lock:
            await asyncio.to_thread(self._append, line_of(correction))

    async def run(self) -> None:
        """Write what waits, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits."""
        lines, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if not lines:
            return
        try:
            await asyncio.to_thread(self._write, b"".join(lines))
            self._failing = False
        except OSError as error:
            if not self._failing:  # once, for it comes back each second
                log.warning("what was judged cannot be kept: %s", error.strerror)
            self._failing = True

    async def close(self) -> None:
        """Write what waits, and let go of the files."""
        await self.flush()
        for descriptor in (self._judged, self._corrections, self._place):
            os.close(descriptor)

    def _write(self, lines: bytes) -> None:
        if os.fstat(self._judged).st_size + len(lines) > self._limit_bytes // 2:
            self._judged_file.replace(self._judged_file.with_suffix(".old.ndjson"))
            full, self._judged = self._judged, _opened(self._judged_file)
            os.close(full)
        _write_lines(self._judged, lines)

    def _append(self, line: bytes) -> None:
        before = os.fstat(self._corrections).st_size
        if before + len(line) > self._limit_bytes:
            raise JournalFailed("there are as many corrections as may be kept (JOURNAL_MIB)")
        try:
            _write_lines(self._corrections, line)
            os.fsync(self._corrections)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._corrections, before)  # no half of a line
            raise JournalFailed(f"the correction could not be kept: {error.strerror}") from error


def _place(folder: Path) -> tuple[int, int]:
    """A lock that is held as long as this process lives, and the number whose files are its own meanwhile."""
    for number in range(1, MOST_WORKERS + 1):
        lock = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(folder / f"writer-{number}.lock", lock, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        return descriptor, number
    raise JournalFailed(f"more than {MOST_WORKERS} workers write to {folder}")


def _opened(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _salt(file: Path) -> bytes:
    """Made by whoever comes first."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)  # of containers, many have one pid
    try:
        os.write(descriptor, secrets.token_bytes(_SALT_BYTES))
        with suppress(FileExistsError):
            os.link(name, file)
    finally:
        os.close(descriptor)
        Path(name).unlink()
    return file.read_bytes()


def _write_lines(descriptor: int, lines: bytes) -> None:
    """Append whole lines, on a line of their own, whatever broke off before."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        lines = b"\n" + lines
    rest = memoryview(lines)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
