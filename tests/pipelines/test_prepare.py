"""The stages fetch and prepare on the own sample, in a folder of their own."""

import json
from pathlib import Path

import pandas as pd
import pytest

from data.bundle import Bundle
from data.crawl import RatedReview
from data.nsmc import read
from data.text import clean
from pipelines import artifacts, compose, fetch, prepare, profile, splits
from pipelines.errors import SettingsError
from pipelines.params import Compose
from serving.model import Model


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
    fetch.write_crawl([], artifacts.CRAWL_FILE)
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


def crawl_rows() -> list[RatedReview]:
    stars = [1, 5, 6, 7, 8, 9, 10, 10]
    return [RatedReview(f"c{n}", f"크롤 리뷰 {n}", stars[n % 8], "15.01.01") for n in range(400)]


def test_the_crawl_is_cut_in_three_without_what_nsmc_holds(workspace: Path) -> None:
    fetch.main()
    known = next(iter(read(artifacts.TRAIN_FILE)))
    held_out = next(iter(read(artifacts.TEST_FILE)))
    strangers = crawl_rows()
    doubles = [
        RatedReview(known.id, "다른 글", 1, ""),
        RatedReview("x1", held_out.text, 5, ""),
        RatedReview("x2", f"<b>{known.text}</b>", 5, ""),
        RatedReview("x3", strangers[0].text, 5, ""),
        RatedReview("x4", " ", 5, ""),
    ]
    fetch.write_crawl([*strangers, *doubles], artifacts.CRAWL_FILE)
    prepare.main()
    parts = [splits.read_split(f"crawl_{name}") for name in ("train", "dev", "test")]
    found = [identifier for part in parts for identifier in part["id"]]
    assert sorted(found) == sorted(review.id for review in strangers)
    assert all(0 < len(part) < len(parts[0]) for part in parts[1:])
    report = json.loads(artifacts.DATA_REPORT.read_text())
    assert sum(report["crawl"][f"crawl_{name}"]["rows"] for name in ("train", "dev", "test")) == 400
    assert set(parts[1]["stars"]) == {1, 5, 6, 7, 8, 9, 10}, "every star is held out"


def test_without_a_crawl_its_parts_are_empty(workspace: Path) -> None:
    fetch.main()
    prepare.main()
    assert [len(splits.read_split(f"crawl_{name}")) for name in ("train", "dev", "test")] == [0, 0, 0]


def lessons_of(**settings: object) -> pd.DataFrame:
    raw = profile.resolve("demo")["compose"] | settings
    return compose.lessons(Compose.model_validate(raw), *map(splits.read_split, ("train", "crawl_train")))


def test_lessons_are_train_alone_unless_more_is_wanted(workspace: Path) -> None:
    fetch.main()
    prepare.main()
    train = splits.read_split("train")
    table = lessons_of()
    assert table["text"].tolist() == train["text"][:]
    assert table["positive"].tolist() == train["label"][:]
    with pytest.raises(SettingsError, match=r"there is no crawl; set fetch\.crawl\.source or NSMC_CRAWL"):
        lessons_of(neutral=True)


def test_lessons_from_the_crawl_and_from_a_teacher(workspace: Path) -> None:
    fetch.main()
    fetch.write_crawl(crawl_rows(), artifacts.CRAWL_FILE)
    prepare.main()
    table = lessons_of(polar=True, neutral=True)
    counts = table["source"].value_counts()
    negatives = sum(star == 1 for star in splits.read_split("crawl_train")["stars"])
    assert counts["train"] == 450
    assert counts["polar"] == 2 * negatives
    assert counts["neutral"] == sum(5 <= star <= 8 for star in splits.read_split("crawl_train")["stars"])
    by_text = dict(zip(table["text"], table["positive"], strict=True))
    for text, star in zip(*(splits.read_split("crawl_train")[name][:] for name in ("text", "stars")), strict=True):
        if 5 <= star <= 8:
            assert by_text[text] == {5: 0.1, 6: 0.3, 7: 0.6, 8: 0.9}[star]
    taught = lessons_of(polar=True, neutral=True, teacher={"weight": 0.5, "names": ["linear"]})
    assert taught["text"].tolist() == table["text"].tolist()
    assert ((taught["positive"] - 0.5 * table["positive"]).between(0.0, 0.5)).all()
    assert taught["positive"].nunique() > 200


def test_a_bundle_teaches(workspace: Path, bundle: Bundle) -> None:
    fetch.main()
    prepare.main()
    taught = lessons_of(teacher={"weight": 1.0, "names": [str(bundle.folder)]})
    model = Model.load(bundle.folder, tag="teacher")
    expected = model.positive(model.bundle.encoder.encode(taught["text"].tolist(), truncate=True))
    assert taught["positive"].to_numpy() == pytest.approx(expected, abs=1e-5)
    with pytest.raises(SettingsError, match=r"compose\.teacher\.names has 'nowhere', which is no teacher"):
        lessons_of(teacher={"weight": 1.0, "names": ["nowhere"]})
