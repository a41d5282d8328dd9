"""The stages fetch and prepare on the own sample, in a folder of their own."""

import json
from pathlib import Path

import pandas as pd
import pytest

from data.bundle import Bundle
from data.crawl import RatedReview
from data.feedback import Vote
from data.files import sha256
from data.journal import text_digest
from data.nsmc import read
from data.text import clean
from pipelines import artifacts, compose, fetch, prepare, profile, splits
from pipelines.errors import SettingsError, SourceError, TableError, WrongFile
from pipelines.params import Compose, FeedbackSource
from pipelines.votes import Collected, write
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
    write([], artifacts.FEEDBACK_FILE)
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
    return compose.lessons(Compose.model_validate(raw), *map(splits.read_split, ("train", "crawl_train", "feedback")))


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


def ballots(text: str, label: int, callers: int, *, known: bool = True) -> list[Collected]:
    return [
        Collected(Vote(text_digest(text), f"caller-{number}-{label}", label), 1.0, text if known else None)
        for number in range(callers)
    ]


def test_callers_are_believed_where_many_agree_and_never_on_what_models_are_judged_on(workspace: Path) -> None:
    fetch.main()
    prepare.main()
    train, dev, test = (splits.read_split(name) for name in ("train", "dev", "test"))
    right, wrong = train["label"][0], 1 - train["label"][1]
    votes = [
        *ballots("참 재밌기도 하겠다", 0, 3),
        *ballots("둘만 안 영화", 1, 2),
        *ballots("의견이 갈린다", 1, 4),
        *ballots("의견이 갈린다", 0, 3),
        *ballots("글이 없다", 1, 3, known=False),
        *ballots(train["text"][0], right, 3),
        *ballots(train["text"][1], wrong, 3),
        *ballots(dev["text"][0], 1 - dev["label"][0], 5),
        *ballots(test["text"][0], 1 - test["label"][0], 5),
    ]
    before = {name: splits.rows_digest(split) for name, split in (("train", train), ("dev", dev), ("test", test))}
    write(votes, artifacts.FEEDBACK_FILE)
    prepare.main()
    assert {name: splits.rows_digest(splits.read_split(name)) for name in before} == before
    taken = splits.read_split("feedback")
    assert (taken["text"][:], taken["label"][:]) == (["참 재밌기도 하겠다"], [0])
    assert json.loads(artifacts.DATA_REPORT.read_text())["feedback"] == {
        "votes": len(votes), "taken": 1, "too_few": 1, "disputed": 1, "without_text": 1, "known": 1,
        "against_train": 1, "held_out": 2,
    }  # fmt: skip
    report = artifacts.FEEDBACK_REPORT.read_text()
    assert f"{text_digest('의견이 갈린다')},1,3,4,disputed" in report
    assert "재밌기도" not in report, "a report is passed around; texts are not"
    lessons = lessons_of()
    assert lessons["source"].value_counts().to_dict() == {"train": 450, "feedback": 1}
    assert lessons.loc[lessons["source"] == "feedback", ["text", "positive"]].to_numpy().tolist() == [
        ["참 재밌기도 하겠다", 0.0]
    ]


def test_corrections_are_a_bounded_share_of_what_is_learned(workspace: Path) -> None:
    fetch.main()
    write([vote for number in range(30) for vote in ballots(f"새 리뷰 {number}", 1, 3)], artifacts.FEEDBACK_FILE)
    prepare.main()
    counts = json.loads(artifacts.DATA_REPORT.read_text())["feedback"]
    assert (counts["taken"], counts["over_share"]) == (9, 21), "2 % of 450 reviews"


def test_feedback_comes_from_a_pinned_table(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = workspace / "votes.parquet"
    write(ballots("새 리뷰", 1, 2), table)
    monkeypatch.setenv("NSMC_FEEDBACK", str(table))
    assert fetch.read_feedback(FeedbackSource(source=None, sha256=sha256(table))) == ballots("새 리뷰", 1, 2)
    with pytest.raises(WrongFile, match=r"is not the pinned table: expected SHA-256 0000"):
        fetch.read_feedback(FeedbackSource(source=None, sha256="0" * 64))
    monkeypatch.delenv("NSMC_FEEDBACK")
    assert fetch.read_feedback(FeedbackSource(source=None, sha256=None)) == []
    with pytest.raises(SourceError, match=r"fetch\.feedback\.source is 'nowhere', which is no file"):
        fetch.read_feedback(FeedbackSource(source="nowhere", sha256=None))
    (workspace / "other.parquet").write_text("no table")
    with pytest.raises(TableError, match=r"other\.parquet is not what pipelines\.feedback wrote"):
        fetch.read_feedback(FeedbackSource(source=str(workspace / "other.parquet"), sha256=None))
    write([Collected(Vote("0" * 64, "a", 1), 1.0, "a text of another digest")], table)
    with pytest.raises(TableError, match="row 0: the text is not the one of its digest"):
        fetch.read_feedback(FeedbackSource(source=str(table), sha256=None))
