"""Judging in bulk: the same answers as one by one, parts that outlive an interruption, and what is refused."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.bundle import Bundle
from data.text import clean
from pipelines.errors import TableError
from pipelines.scoring import parts as parts_module
from pipelines.scoring.judge import all_judged, encoded, judged, separated
from pipelines.scoring.parts import Parts, read_job
from pipelines.scoring.source import REASON, ROW, Request, Source, from_row, open_source
from serving.model import Model
from tests.models import TEXTS

REVIEWS = [f"{text} {number}" for number in range(40) for text in TEXTS]


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> Model:
    return Model.load(bundle.folder, "tiny:1")


def table(tmp_path: Path, texts: list[str | None]) -> Source:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"id": range(len(texts)), "text": pa.array(texts, pa.string())}), path)
    return open_source(Request(str(path)))


def judge(source: Source, model: Model, *, truncate: bool = False) -> pa.Table:
    prepare = partial(encoded, text=source.text, encoder=model.bundle.encoder, truncate=truncate)
    return pa.concat_tables(all_judged(source.chunks(), prepare, model))


def test_answers_are_those_of_the_model_one_by_one(tmp_path: Path, model: Model) -> None:
    rows = judge(table(tmp_path, [*REVIEWS]), model).to_pylist()
    assert [row["id"] for row in rows] == list(range(len(REVIEWS)))
    for row, text in zip(rows, REVIEWS, strict=True):
        verdict = model.verdict(float(model.positive_of([clean(text)])[0]))
        assert row["sentiment"] == verdict.sentiment
        assert row["positive"] == pytest.approx(verdict.positive, abs=1e-6)
        assert row["positive"] + row["negative"] == pytest.approx(1.0)
        assert row["score"] == max(row["positive"], row["negative"])
        assert row["model_tag"] == "tiny:1"
    assert len({round(row["positive"], 6) for row in rows}) == len(TEXTS)


def test_rows_that_cannot_be_judged_have_a_reason_that_does_not_hold_the_text(tmp_path: Path, model: Model) -> None:
    source = table(tmp_path, ["좋다", None, " \u200b ", "가 " * 600, "나쁘다"])
    verdicts, rejected = separated(judge(source, model))
    assert verdicts["id"].to_pylist() == [0, 4]
    assert {row["row"]: row["reason"][:16] for row in rejected.to_pylist()} == {
        1: "text is missing",
        2: "text is empty af",
        3: "text is 602 toke",
    }
    cut, none = separated(judge(source, model, truncate=True))
    assert cut["id"].to_pylist() == [0, 3, 4]
    assert none["row"].to_pylist() == [1, 2]


def test_a_text_that_just_fits_is_judged(tmp_path: Path, model: Model) -> None:
    encoder = model.bundle.encoder
    token = next(word for word in ("ㅋ", "1", "다") if len(encoder.encode([word])[0]) == 3)
    fitting = " ".join([token] * (encoder.max_length_tokens - 2))
    verdicts, rejected = separated(judge(table(tmp_path, [fitting, f"{fitting} {token}"]), model))
    assert verdicts["id"].to_pylist() == [0]
    assert "at most" in rejected["reason"][0].as_py()


def test_a_chunk_of_nothing_but_bad_rows(tmp_path: Path, model: Model) -> None:
    verdicts, rejected = separated(judge(table(tmp_path, [None, ""]), model))
    assert (verdicts.num_rows, rejected.num_rows) == (0, 2)


def test_a_device_is_fed_ahead_with_the_same_result(tmp_path: Path, model: Model) -> None:
    plain = judge(table(tmp_path, [*REVIEWS]), model)
    model.engine.name = "onnxruntime-cuda"
    try:
        ahead = judge(table(tmp_path, [*REVIEWS]), model)
    finally:
        model.engine.name = "onnxruntime-cpu"
    assert ahead.equals(plain)


def test_an_error_of_the_reader_reaches_the_caller(model: Model) -> None:
    def chunks() -> Iterator[pa.Table]:
        raise TableError("broken")
        yield

    with pytest.raises(TableError, match="broken"):
        list(all_judged(chunks(), lambda chunk: encoded(chunk, "text", model.bundle.encoder, truncate=True), model))


JOB = {"input": "a", "precision": "fp32"}
OWN = pa.schema([("id", pa.int64()), ("text", pa.string())])


def chunked(model: Model, texts: list[str | None], size: int) -> list[pa.Table]:
    chunks = []
    for start in range(0, len(texts), size):
        some = texts[start : start + size]
        chunk = pa.table(
            {
                ROW: pa.array(range(start, start + len(some)), pa.int64()),
                REASON: pa.nulls(len(some), pa.string()),
                "id": pa.array(range(start, start + len(some)), pa.int64()),
                "text": pa.array(some, pa.string()),
            }
        )
        chunks.append(judged(encoded(chunk, "text", model.bundle.encoder, truncate=True), model))
    return chunks


def merged(folder: Path, out: Path, job: Mapping[str, Any] = JOB) -> tuple[int, int]:
    with Parts.open(folder, job, OWN) as parts:
        return parts.merge(out, out.with_suffix(".rejected"))


def test_parts_are_merged_in_order_whatever_interrupted_them(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts_module, "PART_ROWS", 16)
    texts: list[str | None] = [*REVIEWS[:50], None, *REVIEWS[50:90], None]
    chunks = chunked(model, texts, 8)
    with Parts.open(tmp_path / "whole", JOB, OWN) as parts:
        for chunk in chunks:
            parts.add(chunk)
        assert parts.merge(tmp_path / "whole.parquet", tmp_path / "whole.rejected") == (90, 2)
    done = 0
    for stop in (1, 5, 6, len(chunks)):  # a part of chunks that were cut elsewhere than the first run's
        with Parts.open(tmp_path / "again", JOB, OWN) as parts:
            assert parts.next_row == done
            for chunk in from_row(chunks[:stop], parts.next_row):
                parts.add(chunk)
        done = min(stop * 8, len(texts))
    assert merged(tmp_path / "again", tmp_path / "again.parquet") == (90, 2)
    for name in ("parquet", "rejected"):
        assert pq.read_table(tmp_path / f"again.{name}").equals(pq.read_table(tmp_path / f"whole.{name}"))
    assert pq.read_table(tmp_path / "again.rejected")["row"].to_pylist() == [50, 91]


def test_a_part_that_was_not_finished_does_not_count(tmp_path: Path, model: Model) -> None:
    (chunk,) = chunked(model, [None, "좋다"], 8)
    write: Callable[..., None] = pq.write_table
    with pytest.MonkeyPatch.context() as patched, pytest.raises(OSError, match="disk full"):

        def full(rows: pa.Table, path: Path, **_: Any) -> None:
            if "reason" in rows.column_names:
                write(rows, path)
                return
            raise OSError("disk full")

        patched.setattr(pq, "write_table", full)
        with Parts.open(tmp_path / "parts", JOB, OWN) as parts:
            parts.add(chunk)
    assert not list((tmp_path / "parts").glob(".part*"))
    with Parts.open(tmp_path / "parts", JOB, OWN) as parts:
        assert parts.next_row == 0
        parts.add(chunk)
        assert parts.merge(tmp_path / "out", tmp_path / "rejected") == (1, 1)


def test_bytes_make_a_part_too(tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "PART_BYTES", 100)
    with Parts.open(tmp_path / "parts", JOB, OWN) as parts:
        for chunk in chunked(model, [*REVIEWS[:16]], 8):
            parts.add(chunk)
        assert parts.next_row == 16
    assert len(list((tmp_path / "parts").glob("part-*"))) == 2


def test_parts_of_another_job_are_refused(tmp_path: Path) -> None:
    with Parts.open(tmp_path, JOB, OWN):
        pass
    assert read_job(tmp_path) == JOB
    with pytest.raises(TableError, match=r"another job \(precision differ\); --restart"):
        merged(tmp_path, tmp_path / "out", JOB | {"precision": "int8"})


def test_two_processes_do_not_add_to_the_same_parts(tmp_path: Path) -> None:
    with Parts.open(tmp_path, JOB, OWN), pytest.raises(TableError, match="another process"):
        merged(tmp_path, tmp_path / "out")


def test_nothing_at_all_is_a_file_of_no_rows_and_no_rejected_one(tmp_path: Path) -> None:
    (tmp_path / "out.rejected").write_text("of an older run")
    assert merged(tmp_path / "parts", tmp_path / "out") == (0, 0)
    found = pq.read_table(tmp_path / "out")
    assert found.num_rows == 0
    assert found.schema.names == ["id", "text", "sentiment", "score", "negative", "positive", "model_tag"]
    assert not (tmp_path / "out.rejected").exists()
