"""From the journals of services to a table of votes."""

import sys
from pathlib import Path

import pytest

from data.errors import FormatError
from data.files import sha256
from data.journal import Correction, Judged, line_of, text_digest
from pipelines import feedback
from pipelines.errors import TableError
from pipelines.votes import read


def correction(at: float, caller: str, label: int, text: str, *, kept: bool = False) -> Correction:
    return Correction(at, caller, label, text_digest(text), None, 0, text if kept else None)


def about(request: str, index: int, caller: str = "a") -> Correction:
    return Correction(9.0, caller, 1, None, request, index, None)


def judged(request: str | None, *texts: str) -> Judged:
    digests = tuple(map(text_digest, texts))
    return Judged(1.0, request, "m:1", digests, tuple(map(len, texts)), (0.5,) * len(texts))


def journal(folder: Path, *lines: Judged | Correction, worker: int = 1) -> Path:
    folder.mkdir(exist_ok=True)
    for line in lines:
        with (folder / f"{line.FILES}-{worker}.ndjson").open("ab") as file:
            file.write(line_of(line))
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["feedback", *map(str, arguments)])
    feedback.main()


def test_a_caller_has_one_vote_on_a_review_in_all_journals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = journal(tmp_path / "one", correction(2.0, "a", 1, "재밌다", kept=True), correction(1.0, "b", 0, "별로"))
    journal(one, correction(3.0, "b", 1, "별로"), worker=2)
    two = journal(tmp_path / "two", correction(5.0, "a", 0, "재밌다"))
    out = tmp_path / "votes.parquet"
    run(monkeypatch, out, "--journal", one, "--journal", two)
    found = {(each.vote.digest, each.vote.caller): (each.vote.label, each.at, each.text) for each in read(out)}
    assert found == {
        (text_digest("재밌다"), "a"): (0, 5.0, "재밌다"),
        (text_digest("별로"), "b"): (1, 3.0, None),
    }
    said = capsys.readouterr().out
    assert "4 corrections: 2 votes on 2 reviews, of which 1 have their text" in said
    assert sha256(out) in said


def test_a_request_names_its_reviews_and_what_names_none_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = journal(
        tmp_path / "journal",
        judged("r-1", "재밌다", "별로"), judged("twice", "재밌다"), judged("twice", "별로"), judged(None, "그냥"),
        about("r-1", 1), about("r-1", 2), about("twice", 0), about("gone", 0),
    )  # fmt: skip
    (folder / "judged-2.ndjson").write_text('{"at": 1.0, "requ\n')
    out = tmp_path / "votes.parquet"
    run(monkeypatch, out, "--journal", folder)
    (only,) = read(out)
    assert only.vote.digest == text_digest("별로")
    said = capsys.readouterr().out
    for line in (
        "4 corrections: 1 votes on 1 reviews",
        "1 could not be used: index beyond the request",
        "1 could not be used: request id not unique",
        "1 could not be used: request unknown",
        "1 lines of the journals could not be read",
    ):
        assert line in said


def test_texts_come_from_tables_that_one_has_anyway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = journal(tmp_path / "journal", correction(1.0, "a", 1, "재밌다"), correction(1.0, "a", 1, "별로"))
    (tmp_path / "reviews.csv").write_text("id,text\n1,<b>재밌다</b>\n2,남의 글\n")
    out = tmp_path / "votes.parquet"
    run(monkeypatch, out, "--journal", folder, "--texts", tmp_path / "reviews.csv")
    assert sorted(each.text or "" for each in read(out)) == ["", "재밌다"]


def test_a_text_that_is_not_the_one_of_its_digest_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forged = Correction(1.0, "a", 1, text_digest("재밌다"), None, 0, "다른 글")
    run(monkeypatch, tmp_path / "votes.parquet", "--journal", journal(tmp_path / "journal", forged))
    (only,) = read(tmp_path / "votes.parquet")
    assert only.text is None


def test_what_cannot_be_read_is_told_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "votes.parquet"
    with pytest.raises(FormatError, match="is no folder; it must be a service's JOURNAL_FOLDER"):
        run(monkeypatch, out, "--journal", tmp_path / "nowhere")
    folder = journal(tmp_path / "journal", correction(1.0, "a", 1, "재밌다"))
    with pytest.raises(TableError, match="is not a file"):
        run(monkeypatch, out, "--journal", folder, "--texts", tmp_path / "nowhere.csv")
    assert not out.exists()
