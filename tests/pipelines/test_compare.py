"""Against a real MLflow store on SQLite, with two versions whose answers are made up."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.behaviour import Case, judge
from data.bundle import Bundle
from pipelines import artifacts, compare, profile
from pipelines.compare import as_json, judged, report
from pipelines.errors import RegistryError
from pipelines.params import PARAMS_FILE, Params
from pipelines.registry import EVALUATION, ROWS_TAG, Registry, Version, place
from tests.models import write_bundle

ROWS = 400
LABELS = np.arange(ROWS) % 2
CASES = [Case("praise", "minimum", f"좋다 {number}", label="긍정") for number in range(20)]
CASES += [Case("blame", "minimum", f"나쁘다 {number}", label="부정") for number in range(5)]


def predictions(wrong: int, sure: float = 0.9) -> pd.DataFrame:
    """LABELS as test, with the first ``wrong`` rows wrong, and as dev, where all is right; both with the same ids."""
    right = np.where(LABELS == 1, sure, 1.0 - sure)
    given = np.where(np.arange(ROWS) < wrong, 1.0 - right, right)
    columns = {
        "id": [str(number) for number in range(ROWS)],
        "label": LABELS,
        "characters": np.where(np.arange(ROWS) < 100, 5, 30),
        "leaked": np.arange(ROWS) >= 350,
    }
    splits = {"dev": right, "test": given}
    return pd.concat([pd.DataFrame({"split": name, "positive": each} | columns) for name, each in splits.items()])


def record(
    registry: Registry,
    bundle: Bundle,
    folder: Path,
    table: pd.DataFrame,
    *,
    blamed: int = 0,
    rows: str = "the rows",
    cases: Sequence[Case] = CASES,
) -> Version:
    """Register ``bundle`` with a recorded evaluation, in which it calls the first ``blamed`` cases of praise bad."""
    run_id = registry.start_run("demo", {}, [], commit="")
    folder.mkdir()
    table.to_parquet(folder / artifacts.PREDICTIONS.name, index=False)
    bad = {case.text for number, case in enumerate(cases) if number < blamed or case.label == "부정"}
    suite = judge(lambda texts: np.array([0.1 if text in bad else 0.9 for text in texts]), cases)
    artifacts.write_json(folder / artifacts.BEHAVIOUR_REPORT.name, suite.as_dict())
    registry.attach(run_id, folder, place(EVALUATION, bundle.manifest.digest))
    return registry.register(run_id, bundle, {ROWS_TAG: rows}, "")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    profile.write("demo", PARAMS_FILE)
    return Registry(Params.load().register_)


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "other", seed=1)


def compared(registry: Registry, first: str, second: str) -> compare.Comparison:
    return compare.compare(judged(registry, first), judged(registry, second), 0.05)


def test_two_versions_side_by_side(registry: Registry, bundle: Bundle, other: Bundle, tmp_path: Path) -> None:
    registry.promote(record(registry, bundle, tmp_path / "first", predictions(wrong=40)), "the first", {})
    record(registry, other, tmp_path / "second", predictions(wrong=10, sure=0.99), blamed=12)
    found = compared(registry, "candidate", "champion")
    assert found.versions == (2, 1)
    whole = found.accuracy
    assert (whole.rows, whole.first, whole.second) == (400, 0.975, 0.9)
    assert whole.points == pytest.approx(7.5)
    assert 4.0 < whole.points_low < 7.5 < whole.points_high < 11.0
    assert whole.p_value == pytest.approx(2 / 2**30)
    assert set(found.figures) == {"f1_macro", "mcc", "auroc", "log_loss", "brier", "ece"}
    ece = found.figures["ece"]
    assert (ece.first, ece.second) == pytest.approx((0.99 - 0.975, 0.0), abs=1e-9)
    assert ece.difference == ece.first - ece.second
    assert {name: each.rows for name, each in found.slices.items()} == {
        "1-9 characters": 100,
        "20-39 characters": 300,
        "leaked": 50,
        "clean": 350,
    }
    assert found.slices["1-9 characters"].points == pytest.approx(30.0)
    assert found.slices["leaked"].p_value == 1.0
    assert (found.behaviour["praise"].first, found.behaviour["praise"].second) == (12, 0)
    assert [each.capability for each in found.worse] == ["praise", "suite"]
    assert found.better == ()


def test_the_other_way_round_the_signs_change(
    registry: Registry, bundle: Bundle, other: Bundle, tmp_path: Path
) -> None:
    record(registry, bundle, tmp_path / "first", predictions(wrong=40))
    record(registry, other, tmp_path / "second", predictions(wrong=10), blamed=12)
    one, two = compared(registry, "1", "2"), compared(registry, "2", "1")
    assert one.accuracy.points == -two.accuracy.points
    assert one.figures["mcc"].difference == -two.figures["mcc"].difference
    assert (one.worse, one.better) == (two.better, two.worse)
    same = compared(registry, "2", "candidate")
    assert (same.accuracy.points, same.accuracy.points_low, same.accuracy.p_value) == (0.0, 0.0, 1.0)


def test_the_command_line_shows_a_table_or_json(
    registry: Registry,
    bundle: Bundle,
    other: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record(registry, bundle, tmp_path / "first", predictions(wrong=40))
    record(registry, other, tmp_path / "second", predictions(wrong=10), blamed=12)
    monkeypatch.setattr(sys, "argv", ["compare", "2", "1"])
    compare.main()
    shown = capsys.readouterr().out
    assert shown.startswith("koelectra-nsmc: version 2 (A) against version 1 (B) on 400 test reviews\n")
    assert "accuracy 97.50% against 90.00%: +7.50 [" in shown
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "20-39 characters 300 100.00% 100.00% +0.00 [+0.00, +0.00] 1" in lines
    assert "ece (lower is better) 0.0750 0.0000 +0.0750" in lines
    assert "praise 20 12 0" in lines
    assert "A is significantly worse in behaviour: praise (p = 0.0" in shown
    assert "A is significantly better in behaviour: nowhere" in shown
    monkeypatch.setattr(sys, "argv", ["compare", "2", "1", "--json"])
    compare.main()
    found = compared(registry, "2", "1")
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(as_json(found, "koelectra-nsmc")))
    assert report(found, "koelectra-nsmc") + "\n" == shown


def test_what_does_not_exist_is_told_with_what_does(registry: Registry, bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"no version of koelectra-nsmc is registered in sqlite:.* yet"):
        judged(registry, "1")
    version = record(registry, bundle, tmp_path / "first", predictions(wrong=40))
    assert registry.version("1") == registry.version("candidate") == version
    with pytest.raises(RegistryError, match=r"'champion' is no version of .*; there are 1, candidate \(1\)$"):
        judged(registry, "champion")
    with pytest.raises(RegistryError, match=r"^'7' is no version"):
        judged(registry, "7")


@pytest.mark.parametrize(
    ("rows", "cases", "said"),
    [
        ("other rows", CASES, "versions 2 and 1 were judged on different test rows, other rows and the rows"),
        ("", CASES, "versions 2 and 1 were judged on different test rows, unknown ones and the rows"),
        ("the rows", CASES[1:], "versions 2 and 1 were judged on different behaviour suites"),
    ],
)
def test_what_was_not_judged_on_the_same_is_refused(
    registry: Registry, bundle: Bundle, other: Bundle, tmp_path: Path, rows: str, cases: list[Case], said: str
) -> None:
    record(registry, bundle, tmp_path / "first", predictions(wrong=40))
    record(registry, other, tmp_path / "second", predictions(wrong=10), rows=rows, cases=cases)
    with pytest.raises(RegistryError, match=said):
        compared(registry, "2", "1")


def test_a_version_of_an_older_pipeline_says_what_it_lacks(registry: Registry, bundle: Bundle, tmp_path: Path) -> None:
    record(registry, bundle, tmp_path / "first", predictions(wrong=40).drop(columns=["characters", "leaked"]))
    with pytest.raises(RegistryError, match="version 1 was registered without characters, leaked, by an older"):
        judged(registry, "1")


def test_a_version_without_its_behaviour_says_so(registry: Registry, bundle: Bundle, tmp_path: Path) -> None:
    run_id = registry.start_run("demo", {}, [], commit="")
    (tmp_path / artifacts.PREDICTIONS.name).touch()
    registry.attach(run_id, tmp_path / artifacts.PREDICTIONS.name, place(EVALUATION, bundle.manifest.digest))
    registry.register(run_id, bundle, {ROWS_TAG: "the rows"}, "")
    with pytest.raises(RegistryError, match=r"version 1 was registered without behaviour.json, by an older"):
        judged(registry, "1")
