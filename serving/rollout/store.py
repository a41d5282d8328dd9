"""Where the state of a rollout is kept: one protocol, a folder for one machine; ``redis_store`` for a fleet.

Beside the state lie the ledger of its changes, the reports of workers that are alive, and what they observed.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from data.files import writing
from data.ledger import Entry, following
from serving.errors import RolloutUnreachable
from serving.rollout.observed import Pair
from serving.rollout.state import State

ALIVE_S = 5.0
"""A worker that has not reported for so long is gone."""
KEPT_S = 7 * 86_400
"""What was observed in a trial is kept so long."""
LOGGED = 50_000
POLL_S = 0.1
"""How often a folder is looked at; that costs a fraction of a millisecond."""
_WHOLE = "[!.]*.json"
"""Files that are not just being written."""
_LINE_BYTES = 80
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Change:
    """A state that is to be written, and what the ledger is to say of it, but for its place there."""

    state: State
    who: str
    what: str
    why: str
    before: str | None
    after: str | None
    figures: Mapping[str, float]


class StateStore(Protocol):
    """All of it may raise RolloutUnreachable."""

    async def read(self) -> State | None:
        """The state; None where nobody has changed anything yet."""

    async def change(self, change: Change, expected: int) -> bool:
        """Write a state and an entry of the ledger together, if the present generation is ``expected``; 0: none."""

    async def history(self) -> list[Entry]:
        """All entries, oldest first."""

    async def report(self, worker: str, report: Mapping[str, Any], trial: int, observed: Mapping[str, float]) -> None:
        """A worker is alive and says so; what it observed in a trial outlives it."""

    async def reports(self) -> list[dict[str, Any]]:
        """Of the workers that are alive."""

    async def observed(self, trial: int) -> dict[str, float]:
        """What all workers together observed in a trial, dead ones included."""

    async def log(self, worker: str, trial: int, pairs: Sequence[Pair]) -> None:
        """Keep what both models said in a trial: the first ``LOGGED`` pairs, or a few more, for ``KEPT_S``."""

    async def logged(self, trial: int) -> list[Pair]:
        """What was kept of a trial."""

    async def changed(self, timeout_s: float) -> None:
        """Returns once the state may be another one, or the time is over."""

    async def close(self) -> None:
        """Let go of connections."""


class FileStore:
    """A folder. Writers hold a lock; readers see the old file or the new one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: tuple[int, int] | None = None

    async def read(self) -> State | None:
        """See ``StateStore``."""
        with _reaching(self._folder):
            self._seen = self._mark()
            try:
                return State.from_json(self._state.read_bytes())
            except FileNotFoundError:
                return None

    async def change(self, change: Change, expected: int) -> bool:
        """See ``StateStore``."""
        with _reaching(self._folder), self._locked():
            present = await self.read()
            if (present.generation if present else 0) != expected:
                return False
            entries = await self.history()
            entry = entry_of(change, entries[-1] if entries else None)
            # the entry first: one too many shows beside the state, a change that nobody noted does not
            self._note(f"{entry.to_json()}\n".encode())
            with writing(self._state) as temporary:
                temporary.write_text(change.state.to_json(), encoding="utf-8")
            self._forget(change.state.trial)
            return True

    async def history(self) -> list[Entry]:
        """See ``StateStore``."""
        with _reaching(self._folder):
            try:
                lines = self._ledger.read_text(encoding="utf-8").splitlines()
            except FileNotFoundError:
                return []
            return [Entry.from_json(line) for line in lines]

    async def report(self, worker: str, report: Mapping[str, Any], trial: int, observed: Mapping[str, float]) -> None:
        """See ``StateStore``."""
        with _reaching(self._folder):
            with writing(self._folder / "workers" / f"{_checked(worker)}.json") as temporary:
                temporary.write_text(json.dumps(report), encoding="utf-8")
            if observed:
                with writing(self._folder / "observed" / str(trial) / f"{_checked(worker)}.json") as temporary:
                    temporary.write_text(json.dumps(observed), encoding="utf-8")

    async def reports(self) -> list[dict[str, Any]]:
        """See ``StateStore``."""
        found = []
        with _reaching(self._folder):
            for file in sorted((self._folder / "workers").glob(_WHOLE)):
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - file.stat().st_mtime < ALIVE_S:
                        found.append(json.loads(file.read_bytes()))
                    else:
                        file.unlink()
        return found

    async def observed(self, trial: int) -> dict[str, float]:
        """See ``StateStore``."""
        with _reaching(self._folder):
            files = (self._folder / "observed" / str(trial)).glob(_WHOLE)
            return summed(json.loads(file.read_bytes()) for file in files)

    async def log(self, worker: str, trial: int, pairs: Sequence[Pair]) -> None:
        """See ``StateStore``."""
        with _reaching(self._folder):
            file = self._folder / "shadow" / str(trial) / f"{_checked(worker)}.jsonl"
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as log:
                if log.tell() < LOGGED * _LINE_BYTES:
                    log.writelines(f"{pair.to_json()}\n" for pair in pairs)

    async def logged(self, trial: int) -> list[Pair]:
        """See ``StateStore``."""
        with _reaching(self._folder):
            files = sorted((self._folder / "shadow" / str(trial)).glob("*.jsonl"))
            # a line that is being written just now has no end yet
            lines = [line for file in files for line in file.read_bytes().splitlines(keepends=True)]
            return [Pair.from_json(line) for line in lines if line.endswith(b"\n")]

    async def changed(self, timeout_s: float) -> None:
        """See ``StateStore``."""
        until = time.monotonic() + timeout_s
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(POLL_S, left))
            with _reaching(self._folder):
                if self._mark() != self._seen:
                    return

    async def close(self) -> None:
        """See ``StateStore``."""

    @property
    def _state(self) -> Path:
        return self._folder / "state.json"

    @property
    def _ledger(self) -> Path:
        return self._folder / "ledger.jsonl"

    def _mark(self) -> tuple[int, int] | None:
        """What changes whenever the state is written."""
        try:
            found = self._state.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino

    def _note(self, line: bytes) -> None:
        """Append to the ledger, a whole line or nothing."""
        with self._ledger.open("ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(before)
                raise

    def _forget(self, trial: int) -> None:
        """Old trials."""
        for folder in [*self._folder.glob("observed/*"), *self._folder.glob("shadow/*")]:
            if folder.name != str(trial) and time.time() - folder.stat().st_mtime > KEPT_S:
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def entry_of(change: Change, last: Entry | None) -> Entry:
    """What the ledger says of ``change``."""
    return following(
        last,
        at=round(time.time(), 3),
        who=change.who,
        what=change.what,
        before=change.before,
        after=change.after,
        why=change.why,
        figures=dict(change.figures),
    )


def summed(tallies: Any) -> dict[str, float]:
    """Counts of several workers, added up."""
    total: dict[str, float] = {}
    for tally in tallies:
        for name, count in tally.items():
            total[name] = total.get(name, 0.0) + float(count)
    return total


@contextmanager
def _reaching(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RolloutUnreachable(f"the rollout's folder {folder.name} cannot be used: {error.strerror}") from error
    except ValueError as error:
        raise RolloutUnreachable(f"the rollout's folder {folder.name} holds what nobody here wrote: {error}") from error


def _checked(worker: str) -> str:
    if not _NAME.fullmatch(worker):
        raise ValueError(f"{worker!r} is no worker's name")
    return worker
