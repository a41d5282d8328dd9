"""Reading tables: what ``csv.reader`` reads, row by row, with what cannot be read told apart and numbered."""

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data import nsmc
from pipelines.errors import TableError
from pipelines.scoring import source
from pipelines.scoring.source import REASON, ROW, Request, open_source

SAMPLE = Path(__file__).parent.parent.parent / "data" / "sample"


def whole(path: Path, **more: Any) -> list[dict[str, Any]]:
    return [row for chunk in open_source(Request(str(path), **more)).chunks() for row in chunk.to_pylist()]


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_nsmc_is_read_as_the_pipeline_reads_it() -> None:
    path = next(SAMPLE.glob("*test*"))
    rows = whole(path)
    assert [(row["id"], row["document"], int(row["label"])) for row in rows] == [
        (review.id, review.text, review.label) for review in nsmc.read(path)
    ]
    assert [row[ROW] for row in rows] == list(range(len(rows)))
    assert not [row for row in rows if row[REASON] is not None]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(st.text(st.sampled_from("가a\"\n,\t 'ㅋ"), max_size=8).filter(bool), min_size=2, max_size=2),
        min_size=1,
        max_size=20,
    )
)
def test_what_csv_writes_is_read(tmp_path: Path, rows: Sequence[Sequence[str]]) -> None:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([["text", "other"], *rows])
    found = whole(written(tmp_path / "any.csv", file.getvalue()))
    assert [[row["text"], row["other"]] for row in found] == [list(row) for row in rows]


def test_rows_that_cannot_be_read_are_numbered_and_told_apart(tmp_path: Path) -> None:
    content = b"id,text\n0,good\n1\n2,also good\n3,too,many\n4,not \xff\xfe\n\xff,5\n6,\xea\xb0\x80\n7\n"
    rows = whole(written(tmp_path / "bad.csv", content))
    assert [row[ROW] for row in rows] == list(range(8))
    assert {row[ROW]: row[REASON] for row in rows if row[REASON]} == {
        1: "1 fields; there must be 2",
        3: "3 fields; there must be 2",
        4: "text is not UTF-8 at byte 4",
        5: "id is not UTF-8 at byte 0",
        7: "1 fields; there must be 2",
    }
    assert rows[6]["text"] == "가"


def test_rows_are_numbered_across_chunks_and_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "CHUNK_ROWS", 7)
    monkeypatch.setattr(source, "BLOCK_BYTES", 256)
    lines = [f"{row},row {row}" if row % 10 else f"{row}" for row in range(500)]
    path = written(tmp_path / "many.csv", "id,text\n" + "\n".join(lines) + "\n")
    table = open_source(Request(str(path)))
    chunks = list(table.chunks())
    assert len(chunks) > 500 / 8
    rows = pa.concat_tables(chunks).to_pylist()
    assert [row[ROW] for row in rows] == list(range(500))
    assert [row[ROW] for row in rows if row[REASON]] == list(range(0, 500, 10))
    assert [row["text"] for row in rows if row[REASON] is None] == [f"row {row}" for row in range(500) if row % 10]
    assert table.expected_rows() == 500


@pytest.mark.parametrize("name", ["any.csv", "any.csv.gz", "any.tsv"])
def test_a_table_may_have_a_mark_be_compressed_and_hold_no_rows(tmp_path: Path, name: str) -> None:
    delimiter = "\t" if ".tsv" in name else ","
    for lines in (["id,text"], ["id,text", "1,가"]):
        content = "\ufeff" + "\n".join(lines).replace(",", delimiter) + "\n"
        data = gzip.compress(content.encode()) if name.endswith("gz") else content.encode()
        rows = whole(written(tmp_path / name, data))
        assert [row["text"] for row in rows] == [line.split(",")[1] for line in lines[1:]]


def test_another_encoding(tmp_path: Path) -> None:
    path = written(tmp_path / "excel.csv", "번호,리뷰\n1,정말 재미있어요\n".encode("cp949"))
    assert whole(path, column="리뷰", encoding="cp949")[0]["리뷰"] == "정말 재미있어요"
    with pytest.raises(TableError, match="no such encoding"):
        whole(path, column="리뷰", encoding="cp94九")


@pytest.mark.parametrize(
    ("name", "content", "column", "message"),
    [
        ("any.csv", "", None, "Empty CSV"),
        ("any.csv", "id,label\n1,2\n", None, "no column text or document or review; it has id, label"),
        ("any.csv", "id,text\n1,2\n", "body", "no column 'body'; it has id, text"),
        ("any.csv", "text,text\n1,2\n", None, "two columns named 'text'"),
        ("any.csv", "text,score,input_score\n1,2,3\n", None, "'input_score', which is what 'score' would become"),
        ("any.csv", "id,text\n1," + "가" * 200 + "\n", None, "cannot be read"),
        ("any.parquet", "no", None, "not a Parquet file"),
        ("any.json", "{}", None, "--format: csv, tsv, parquet"),
    ],
)
def test_a_table_that_cannot_be_read_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str, column: str | None, message: str
) -> None:
    monkeypatch.setattr(source, "BLOCK_BYTES", 256)
    with pytest.raises(TableError, match=message):
        whole(written(tmp_path / name, content), column=column)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"nowhere\.csv is not a file"):
        open_source(Request(str(tmp_path / "nowhere.csv")))


def test_columns_called_like_a_verdicts_are_renamed(tmp_path: Path) -> None:
    path = written(tmp_path / "any.csv", "text,score\n좋다,5\n")
    table = open_source(Request(str(path)))
    assert table.schema.names == ["text", "input_score"]


TYPES = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_parquet_keeps_its_types(tmp_path: Path, kind: pa.DataType) -> None:
    texts = pa.array(["가", None, "나"]).cast(kind)
    table = pa.table({"text": texts, "stars": pa.array([1, 2, None], pa.int8()), "tags": [["a"], [], None]})
    pq.write_table(table, tmp_path / "any.parquet")
    rows = whole(tmp_path / "any.parquet")
    assert [row["text"] for row in rows] == ["가", None, "나"]
    assert [row["stars"] for row in rows] == [1, 2, None]
    assert [row["tags"] for row in rows] == [["a"], [], None]


def test_parquet_text_that_is_not_utf8_or_not_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [b"\xea\xb0\x80", b"\xff"], "stars": [1, 2]}), tmp_path / "any.parquet")
    assert [row[REASON] for row in whole(tmp_path / "any.parquet")] == [None, "text is not UTF-8 at byte 0"]
    with pytest.raises(TableError, match=r"'stars' .* is int64; it must be text"):
        whole(tmp_path / "any.parquet", column="stars")
