"""The raw crawl as a source: a folder of JSON files or a table, pinned by its rows."""

import json
from pathlib import Path

import pandas as pd
import pytest

from data.crawl import digest
from data.errors import FormatError
from pipelines import artifacts, fetch
from pipelines.errors import SourceError, WrongFile
from pipelines.params import Crawl
from pipelines.splits import read_table

ROWS = [
    {"review_id": "1", "review": "재밌다", "rating": "10", "date": "15.08.25", "movie_id": "7", "author": "a***"},
    {"review_id": "2", "review": "그냥 그래요", "rating": "6", "date": "14.01.02", "movie_id": "7", "author": "b***"},
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("NSMC_CRAWL", raising=False)
    monkeypatch.chdir(tmp_path)
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "7.json").write_text(json.dumps(ROWS), encoding="utf-8")
    table = pd.DataFrame(ROWS).rename(columns={"review_id": "id", "review": "document"})
    table.astype({"rating": "int8"}).to_parquet(tmp_path / "table.parquet")
    return tmp_path


def test_a_folder_and_a_table_are_the_same_crawl(folder: Path) -> None:
    from_folder, from_table = (
        fetch.read_crawl(Crawl(source=str(folder / name), sha256=None)) for name in ("raw", "table.parquet")
    )
    assert from_folder == from_table
    pinned = Crawl(source=str(folder / "raw"), sha256=digest(from_folder))
    fetch.write_crawl(fetch.read_crawl(pinned), artifacts.CRAWL_FILE)
    table = read_table(artifacts.CRAWL_FILE)
    assert table["stars"][:] == [10, 6]
    assert "author" not in table.column_names


def test_the_environment_names_the_source(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetch.read_crawl(Crawl(source=None, sha256=None)) == []
    monkeypatch.setenv("NSMC_CRAWL", "raw")
    assert len(fetch.read_crawl(Crawl(source=None, sha256=None))) == 2


def test_without_a_crawl_the_table_is_there_and_empty(folder: Path) -> None:
    fetch.write_crawl([], artifacts.CRAWL_FILE)
    table = read_table(artifacts.CRAWL_FILE)
    assert len(table) == 0
    assert table.column_names == ["id", "text", "stars", "date"]


def test_other_rows_than_the_pinned_are_refused_with_what_was_found(folder: Path) -> None:
    found = digest(fetch.read_crawl(Crawl(source="raw", sha256=None)))
    with pytest.raises(WrongFile, match=rf"expected SHA-256 {'0' * 64}, got {found} over 2 reviews; set fetch\.crawl"):
        fetch.read_crawl(Crawl(source="raw", sha256="0" * 64))


@pytest.mark.parametrize("source", [None, "nowhere"])
def test_a_pinned_crawl_that_is_not_there_names_the_way_out(folder: Path, source: str | None) -> None:
    with pytest.raises(SourceError, match=r"fetch\.crawl\.source is .*, which is not there; set NSMC_CRAWL to"):
        fetch.read_crawl(Crawl(source=source, sha256="0" * 64))


def test_what_is_no_table_of_rated_reviews_is_refused(folder: Path) -> None:
    (folder / "text.parquet").write_text("no table")
    with pytest.raises(FormatError, match=r"text\.parquet is not a table of rated reviews"):
        fetch.read_crawl(Crawl(source="text.parquet", sha256=None))
    pd.DataFrame({"id": ["1"]}).to_parquet("short.parquet")
    with pytest.raises(FormatError, match=r"short\.parquet is not a table of rated reviews"):
        fetch.read_crawl(Crawl(source="short.parquet", sha256=None))
