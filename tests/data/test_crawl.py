import json
from pathlib import Path
from typing import Any

import pytest

from data.crawl import RatedReview, digest, rated, read_folder
from data.errors import FormatError

ROW = {
    "review_id": "7",
    "review": "재밌다",
    "rating": "10",
    "date": "15.08.25",
    "author": "abcd****",
    "movie_id": "1",
}


def test_the_published_json_is_read_in_the_order_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "20.json").write_text(json.dumps([{**ROW, "review_id": "2"}]), encoding="utf-8")
    (tmp_path / "10.json").write_text(json.dumps([{**ROW, "review_id": "1", "rating": "5"}, ROW]), encoding="utf-8")
    reviews = list(read_folder(tmp_path))
    assert [(review.id, review.stars) for review in reviews] == [("1", 5), ("7", 10), ("2", 10)]
    assert reviews[0] == RatedReview("1", "재밌다", 5, "15.08.25")


def test_a_table_row_is_the_same_review() -> None:
    assert rated({"id": "7", "document": "재밌다", "rating": 10, "date": "15.08.25"}, "row 0") == rated(ROW, "row 0")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rating": "11"}, "rating is '11'; it must be a whole number from 1 to 10"),
        ({"rating": "0"}, "rating is '0'"),
        ({"rating": None}, "rating is 'None'"),
        ({"review": None}, "review_id and review must both be text"),
        ({"review_id": 7}, "review_id and review must both be text"),
        ({"review": "\ud800"}, "lone surrogate"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "3.json").write_text(json.dumps([ROW, {**ROW, **change}]), encoding="utf-8")
    with pytest.raises(FormatError, match=rf"3\.json review 1: .*{message}"):
        list(read_folder(tmp_path))


def test_what_is_no_crawl_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"holds no \*\.json"):
        list(read_folder(tmp_path))
    (tmp_path / "1.json").write_text("{")
    with pytest.raises(FormatError, match=r"1\.json is not JSON"):
        list(read_folder(tmp_path))
    (tmp_path / "1.json").write_text("{}")
    with pytest.raises(FormatError, match="no list of reviews"):
        list(read_folder(tmp_path))


def test_the_digest_depends_on_the_rows_and_not_on_their_order() -> None:
    one, two = rated(ROW, ""), rated({**ROW, "review_id": "8"}, "")
    assert digest([one, two]) == digest([two, one])
    assert digest([one]) != digest([two]) != digest([rated({**ROW, "rating": "1"}, "")])
