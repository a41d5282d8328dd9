"""The stages fetch and prepare on the own sample, in a folder of their own."""

import json
from pathlib import Path

import pytest

from data.nsmc import read
from data.text import clean
from pipelines import artifacts, fetch, prepare, profile, splits


@pytest.fixture
def workspace(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    profile.write("demo", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NSMC_SOURCE", str(root / "data" / "sample"))
    return tmp_path


def test_from_files_to_splits(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch.main()
    prepare.main()
    report = json.loads(artifacts.DATA_REPORT.read_text())
    assert report["train"]["rows"] == report["train"]["distinct_texts"] == 500
    assert report["overlap"]["rows"] == 0
    assert report["dropped_empty"] == {"train": 0, "test": 0}
    train, dev, test = (splits.read_split(name) for name in ("train", "dev", "test"))
    assert report["splits"]["dev"] == {"rows": 50, "positive": 25, "sha256": splits.rows_digest(dev)}
    assert not set(train["text"]) & set(dev["text"])
    assert all(text == clean(text) for text in test["text"])
    assert splits.rows_digest(test) != splits.rows_digest(dev)
    assert "180 reviews" in capsys.readouterr().out


def test_empty_rows_are_dropped_and_counted(workspace: Path) -> None:
    artifacts.TRAIN_FILE.parent.mkdir(parents=True)
    rows = "".join(f"{n}\t리뷰 {n}\t{n % 2}\n" for n in range(100))
    artifacts.TRAIN_FILE.write_text(f"id\tdocument\tlabel\n{rows}200\t\t1\n201\t<br>\t0\n")
    artifacts.TEST_FILE.write_text("id\tdocument\tlabel\n1\t좋다\t1\n2\t \t0\n3\t별로\t0\n")
    prepare.main()
    report = json.loads(artifacts.DATA_REPORT.read_text())
    assert report["dropped_empty"] == {"train": 2, "test": 1}
    assert report["train"]["empty"] == 1
    assert sum(split["rows"] for split in report["splits"].values()) == 102


def test_the_own_sample_is_what_it_says(root: Path) -> None:
    reviews = [review for name in ("train", "test") for review in read(root / f"data/sample/ratings_{name}.txt")]
    assert len({clean(review.text) for review in reviews}) == len(reviews) >= 600
    assert sum(review.label for review in reviews) * 2 == len(reviews)
    assert len({review.id for review in reviews}) == len(reviews)
    text = "\n".join(review.text for review in reviews)
    for sound in ("노잼", "꿀잼", "ㄹㅇ", "ㅋㅋ", "ㅠㅠ", "반개", "않다", "👍", "지만"):
        assert sound in text
