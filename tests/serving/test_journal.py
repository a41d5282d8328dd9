"""What a worker keeps: whole lines, no texts, within bounds, and nothing of another worker's."""

import asyncio
import hashlib
import json
import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from data.errors import FormatError
from data.journal import Correction, Judged, Reading, line_of, text_digest
from serving import journal as journals
from serving.errors import JournalFailed
from serving.journal import Journal

MIB = 1 << 20


def correction(number: int = 0, text: str | None = None) -> Correction:
    return Correction(float(number), "caller", 1, text_digest(f"리뷰 {number}"), None, 0, text)


def contents(folder: Path, pattern: str = "*") -> list[bytes]:
    return [path.read_bytes() for path in folder.glob(pattern)]


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.iterdir()}


def read(folder: Path) -> tuple[list[Judged], list[Correction], int]:
    reading = Reading()
    return [*reading.lines_of(Judged, folder)], [*reading.lines_of(Correction, folder)], reading.broken


async def test_what_was_judged_is_kept_by_digest(tmp_path: Path) -> None:
    journal = Journal(tmp_path, MIB)
    journal.judged("r-1", "m:1", ["재밌다", "별로"], [0.98765, 0.1])
    journal.judged(None, "m:1", ["그냥"], [0.5])
    await journal.close()
    (first, second), none, broken = read(tmp_path)
    assert (none, broken) == ([], 0)
    assert first.digests == (hashlib.sha256("재밌다".encode()).hexdigest(), text_digest("별로"))
    assert (first.request, first.model, first.characters, first.positive) == ("r-1", "m:1", (3, 2), (0.9877, 0.1))
    assert second.request is None
    assert "재밌다".encode() not in b"".join(contents(tmp_path))
    assert modes(tmp_path) == {0o600}


async def test_of_what_was_judged_the_oldest_half_goes(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 8_192)
    for number in range(200):
        journal.judged(f"r-{number}", "m:1", ["재밌다"], [0.9])
        await journal.flush()
    await journal.close()
    lines, _, broken = read(tmp_path)
    numbers = [int(str(line.request)[2:]) for line in lines]
    assert broken == 0
    assert numbers == list(range(numbers[0], 200)), "the newest, in order, without a gap"
    assert 4_096 < sum(map(len, contents(tmp_path, "judged-*"))) <= 8_192


async def test_a_correction_is_on_the_disk_once_it_is_answered(tmp_path: Path) -> None:
    journal = Journal(tmp_path, MIB)
    await asyncio.gather(*(journal.corrected(correction(number)) for number in range(20)))
    _, kept, _ = read(tmp_path)
    assert sorted(each.at for each in kept) == list(range(20))
    await journal.close()


async def test_where_there_is_no_room_a_correction_is_refused_and_nothing_is_half_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1_000)
    await journal.corrected(correction())
    with pytest.raises(JournalFailed, match=r"as many corrections as may be kept \(JOURNAL_MIB\)"):
        await journal.corrected(correction(1, "가" * 1_000))
    os.close(journal._corrections)
    journal._corrections = os.open("/dev/full", os.O_RDWR)
    with pytest.raises(JournalFailed, match="could not be kept: No space left"):
        await journal.corrected(correction(2))
    await journal.close()
    assert [each.at for each in read(tmp_path)[1]] == [0.0]


async def test_a_full_disk_costs_what_was_judged_and_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, MIB)
    own, journal._judged = journal._judged, os.open("/dev/full", os.O_RDWR)
    for _ in range(2):
        journal.judged("r", "m:1", ["재밌다"], [0.9])
        await journal.flush()
    assert caplog.messages == ["what was judged cannot be kept: No space left on device"], "once"
    os.close(journal._judged)
    journal._judged = own
    monkeypatch.setattr(journals, "WAITING_BYTES", 300)
    for _ in range(100):
        journal.judged("r", "m:1", ["재밌다"], [0.9])
    await journal.close()
    assert 1 <= len(read(tmp_path)[0]) <= 4, "what waits for a disk is bounded"


async def test_a_line_that_broke_off_costs_itself_alone(tmp_path: Path) -> None:
    (tmp_path / "judged-1.ndjson").write_bytes(b'{"at": 1.0, "requ')
    (tmp_path / "corrections-1.ndjson").write_bytes(line_of(correction())[:-9])
    journal = Journal(tmp_path, MIB)
    journal.judged("r", "m:1", ["재밌다"], [0.9])
    await journal.corrected(correction(1))
    await journal.close()
    judged, corrections, broken = read(tmp_path)
    assert (len(judged), len(corrections), broken) == (1, 1, 2)


def _name(
    folder: Path, said: "multiprocessing.Queue[tuple[str, str]]", go: "multiprocessing.synchronize.Event"
) -> None:
    journal = Journal(folder, MIB)
    said.put((journal._judged_file.name, journal.caller("kim")))
    go.wait(30)


def test_each_process_has_files_of_its_own_and_all_one_name_for_a_caller(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    said, go = context.Queue(), context.Event()
    processes = [context.Process(target=_name, args=(tmp_path, said, go)) for _ in range(4)]
    for process in processes:
        process.start()
    try:
        names, callers = zip(*(said.get(timeout=30) for _ in processes), strict=True)
    finally:
        go.set()
        for process in processes:
            process.join(30)
    assert sorted(names) == [f"judged-{number}.ndjson" for number in range(1, 5)]
    assert len(set(callers)) == 1
    assert "kim" not in callers[0]
    assert Journal(tmp_path, MIB)._judged_file.name == "judged-1.ndjson", "those of a process that is gone are free"
    assert Journal(tmp_path / "other", MIB).caller("kim") != callers[0]


def _salt_of(folder: Path, go: "threading.Barrier", said: "multiprocessing.Queue[str]") -> None:
    go.wait(30)
    said.put(Journal(folder, MIB).caller("kim"))


def test_replicas_that_start_together_agree(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for attempt in range(10):
        said, go = context.Queue(), context.Barrier(4)
        processes = [context.Process(target=_salt_of, args=(tmp_path / str(attempt), go, said)) for _ in range(4)]
        for process in processes:
            process.start()
        assert len({said.get(timeout=30) for _ in processes}) == 1
        for process in processes:
            process.join(30)


def test_a_folder_that_cannot_be_written_to_is_told_at_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalFailed, match=r"JOURNAL_FOLDER .*file/journal cannot be written to: Not a directory"):
        Journal(tmp_path / "file" / "journal", MIB)


@pytest.mark.parametrize(
    "change",
    [
        {"label": 2},
        {"digest": None},
        {"request": "r-1"},
        {"at": "now"},
    ],
)
def test_a_line_is_what_it_must_be_or_none(change: dict[str, object], tmp_path: Path) -> None:
    fields = {"at": 1.0, "caller": "c", "label": 1, "digest": "0" * 64, "request": None, "index": 0, "text": None}
    assert Correction(**fields)  # type: ignore[arg-type]
    (tmp_path / "corrections-1.ndjson").write_text(json.dumps(fields | change) + "\n")
    assert read(tmp_path)[1:] == ([], 1)


def test_what_was_judged_is_of_one_length() -> None:
    with pytest.raises(FormatError, match="must be of one length"):
        Judged(1.0, None, "m:1", ("a",), (1, 2), (0.5,))


def test_a_journal_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="is no folder; it must be a service's JOURNAL_FOLDER"):
        read(tmp_path / "nowhere")
