"""Whether reviews are found to be others than those that the model was judged on, and only then."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.bundle import Bundle
from data.journal import Judged, line_of
from pipelines import drift
from pipelines.drift import DRIFTED, Drift, Reference, Thresholds, distance, groups, year
from pipelines.errors import RegistryError, TableError
from pipelines.params import Params
from pipelines.registry import Registry
from tests.pipelines.test_compare import predictions, record, registry

__all__ = ["registry"]  # the fixture


def judged(count: int, seed: int, *, sure: float = 0.25, length: float = 35.0, right: float = 0.9) -> pd.DataFrame:
    """Reviews as ``pipelines.score`` writes them, from a model that is right in a share of them."""
    random = np.random.default_rng(seed)
    positive = random.beta(sure, sure, count)
    truth = np.where(random.random(count) < right, positive >= 0.5, positive < 0.5)
    return pd.DataFrame({
        "document": ["가" * int(size) for size in random.gamma(4.0, length / 4.0, count).clip(1, 500)],
        "positive": positive,
        "sentiment": np.where(abs(positive - 0.5) < 0.05, "중립", np.where(positive >= 0.5, "긍정", "부정")),
        "stars": np.where(truth, 10, 1),
        "label": truth.astype(int),
        "date": np.where(np.arange(count) % 2 == 0, "14.05.01", "2015-06-30"),
    })  # fmt: skip


def against(seed: int = 0) -> Reference:
    table = judged(5_000, seed)
    return Reference.of(
        table["positive"].to_numpy(),
        table["document"].str.len().to_numpy(),
        table["label"].to_numpy() == 1,
        (table["sentiment"] == "중립").to_numpy(),
    )


def found(reviews: pd.DataFrame) -> Drift:
    return drift.drift("all", reviews.assign(characters=reviews["document"].str.len()), against(), Thresholds())


def test_reviews_like_the_reference_are_no_drift() -> None:
    same = found(judged(3_000, 1))
    assert same.beyond == ()
    assert max(same.scores, same.lengths) < 0.05
    assert same.true_accuracy == pytest.approx(0.9, abs=0.02)
    assert same.expected_accuracy == pytest.approx(against().accuracy, abs=0.01)


@pytest.mark.parametrize(
    ("others", "beyond"),
    [
        ({"length": 90.0}, {"lengths"}),
        ({"sure": 0.9}, {"scores", "neutral", "accuracy"}),
        ({"sure": 0.12}, {"scores"}),
    ],
)
def test_other_reviews_are(others: dict[str, float], beyond: set[str]) -> None:
    assert set(found(judged(3_000, 1, **others)).beyond) == beyond


def test_a_distance_is_nought_of_the_same_and_one_of_nothing_in_common() -> None:
    edges = np.linspace(0.0, 1.0, 11)
    assert distance(np.array([0.1, 0.5]), np.array([0.1, 0.5]), edges) == pytest.approx(0.0, abs=1e-7)
    assert distance(np.array([0.1]), np.array([0.9]), edges) == pytest.approx(1.0)


def test_groups_that_are_too_small_are_left_out() -> None:
    reviews = judged(1_000, 1)
    reviews.loc[:3, "date"] = "13.01.01"
    assert list(groups(reviews, None, "date")) == ["all", "2014", "2015"]
    assert [year(date) for date in ("03.01.01", "98.12.31", "2015-06-30", "1999")] == ["2003", "1998", "2015", "1999"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    judged(2_000, 1).to_parquet(tmp_path / "judged.parquet")
    judged(2_000, 2, length=120.0).to_parquet(tmp_path / "longer.parquet")
    return tmp_path / "judged.parquet"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["drift", *map(str, arguments)])
    try:
        drift.main()
    except SystemExit as end:
        return int(str(end.code))
    return 0


def test_the_command_tells_cron_with_its_status(
    table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    longer = table.with_name("longer.parquet")
    assert run(monkeypatch, table, "--reference", table) == 0
    assert "beyond" in capsys.readouterr().out
    assert run(monkeypatch, longer, "--reference", table, "--stars", "stars", "--by-year", "date", "--json") == DRIFTED
    said = capsys.readouterr()
    assert [group["group"] for group in json.loads(said.out)["groups"]] == ["all", "2014", "2015"]
    assert said.err == "beyond what is allowed: lengths; time to retrain\n"
    assert run(monkeypatch, longer, "--reference", table, "--most-lengths", 0.9) == 0


def test_the_reference_is_the_champions_test(
    registry: Registry,
    bundle: Bundle,
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(RegistryError, match="no version of"):
        run(monkeypatch, table)
    registry.promote(record(registry, bundle, tmp_path / "first", predictions(wrong=40)), "the first", {})
    assert run(monkeypatch, table) == DRIFTED
    assert "reference: 400 reviews, accuracy 90.0%" in capsys.readouterr().out


def test_tables_that_are_none(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(TableError, match=r"text\.parquet cannot be read as Parquet"):
        run(monkeypatch, tmp_path / "text.parquet")
    judged(2_000, 1).drop(columns=["positive", "document"]).to_parquet(tmp_path / "less.parquet")
    with pytest.raises(TableError, match=r"has no column positive, .*document"):
        run(monkeypatch, tmp_path / "less.parquet")
    judged(10, 1).to_parquet(tmp_path / "few.parquet")
    with pytest.raises(TableError, match="has 10 reviews; at least 200 are needed"):
        run(monkeypatch, tmp_path / "few.parquet")
    with pytest.raises(TableError, match="column stars must hold 0 and 1 only"):
        run(monkeypatch, table, "--reference", table, "--labels", "stars")


def test_a_journal_tells_of_what_the_version_answered(
    registry: Registry,
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    version = record(registry, bundle, tmp_path / "first", predictions(wrong=40))
    registry.promote(version, "the first", {})
    tag, folder = version.tag(Params.load().register_.model), tmp_path / "journal"
    folder.mkdir()

    def answered(model: str, days_ago: float, characters: int) -> None:
        count = 300
        positive = tuple(predictions(wrong=0)["positive"][:count])
        line = Judged(
            time.time() - days_ago * 86_400, None, model, ("0" * 64,) * count, (characters,) * count, positive
        )
        with (folder / "judged-1.ndjson").open("ab") as file:
            file.write(line_of(line))

    with pytest.raises(TableError, match=f"has nothing that {tag} judged in that time; nobody did"):
        run(monkeypatch, folder)
    answered("another:1", 0.0, 10)
    with pytest.raises(TableError, match=f"has nothing that {tag} judged in that time; another:1 did"):
        run(monkeypatch, folder)
    answered(tag, 1.0, 500)
    answered(tag, 30.0, 10)
    assert run(monkeypatch, folder, "--json") == DRIFTED
    (found,) = json.loads(capsys.readouterr().out)["groups"]
    assert (found["reviews"], found["true_accuracy"]) == (300, None)
    assert 0.3 < found["lengths"] < 0.5, "all of them are as long as three quarters of the test"
    assert run(monkeypatch, folder, "--days", 60, "--by-year", "date") == DRIFTED
    assert "600" in capsys.readouterr().out
    with pytest.raises(TableError, match="a journal holds no stars"):
        run(monkeypatch, folder, "--stars", "stars")
