"""The stages from raw files to the reports, in one process, with a crawl: what the end-to-end tests do not have."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from data.crawl import RatedReview
from data.encode import TOKENIZER_FILE
from pipelines import artifacts, backbone, baseline, compose, embed, evaluate, fetch, prepare, profile, train
from pipelines.errors import PipelineError
from pipelines.splits import read_split
from training import model as models
from training.config import Backbone
from training.metrics import Scores

ARCHITECTURE = {
    **{"layers": 1, "hidden": 64, "heads": 2, "embedding": 32, "feed_forward": 256, "vocabulary": 2500},
    "embeddings": "cooccurrence",
}
GOOD, BAD = ("최고다", "재밌다", "감동이다"), ("최악이다", "지루하다", "아깝다")


def rated(count: int) -> list[RatedReview]:
    """Reviews with as many good words of ten as they have stars."""
    reviews = []
    for number in range(count):
        stars = number % 10 + 1
        words = [(GOOD if (place * 7 + number) % 10 < stars else BAD)[place % 3] for place in range(10)]
        reviews.append(RatedReview(f"c{number}", f"{number} {' '.join(words)}", stars, "15.01.01"))
    return reviews


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Any:
    """Run everything up to ``evaluate`` with a crawl; yields the evaluation report, in that folder."""
    folder = tmp_path_factory.mktemp("judged")
    settings = profile.resolve("demo")
    settings["fetch"]["source"] = str(root / "data" / "sample")
    settings["backbone"] |= {"folder": None, "sha256": None, "keep_head": False, "architecture": ARCHITECTURE}
    settings["compose"] |= {"polar": True, "neutral": True}
    settings["train"] |= {"epochs": 4, "learning_rate": 2e-3, "patience_epochs": 0, "checkpoint_every_steps": 7}
    settings["pretrain"] |= {"epochs": 1, "batch_tokens": 512}
    settings["judge"]["resamples"] = 200
    (folder / "params.yaml").write_text(yaml.safe_dump(settings))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("MLFLOW_TRACKING_URI", "NSMC_SOURCE", "NSMC_CRAWL"):
            patch.delenv(name, raising=False)
        fetch.main()
        fetch.write_crawl(rated(2_000), artifacts.CRAWL_FILE)
        for stage in (prepare, baseline, compose, backbone, train, evaluate):
            stage.main()
        yield json.loads(artifacts.EVALUATION_REPORT.read_text())


def test_every_figure_has_an_interval_around_it(judged: Any) -> None:
    assert set(judged["test"]) == set(judged["test_intervals"]) == set(Scores.__dataclass_fields__)
    for name in ("accuracy", "f1_macro", "mcc", "auroc", "brier", "log_loss"):
        assert judged["test_intervals"][name]["low"] <= judged["test"][name] <= judged["test_intervals"][name]["high"]


def test_the_neutral_band_is_fitted_on_the_crawl_and_handed_on(judged: Any) -> None:
    band = judged["neutral_band"]
    assert 0.0 < band["low"] <= 0.5 <= band["high"] < 1.0
    assert (band["low"], band["high"]) != (0.4, 0.6)
    calibration = json.loads(artifacts.CALIBRATION.read_text())
    assert calibration == {
        **judged["calibration"],
        "neutral_low": band["low"],
        "neutral_high": band["high"],
    }


def test_the_share_called_positive_is_told_by_stars(judged: Any) -> None:
    by_star = judged["crawl"]["by_star"]
    assert set(by_star) == {str(star) for star in range(1, 11)}
    assert by_star["10"]["positive"] > by_star["1"]["positive"]
    assert judged["crawl"]["rows"] == len(read_split("crawl_test"))
    assert 0.0 <= judged["crawl"]["balanced_accuracy"] <= 1.0
    assert artifacts.STARS_PICTURE.read_bytes().startswith(b"\x89PNG")


def test_slices_baseline_and_behaviour_are_in_the_report(judged: Any) -> None:
    slices = judged["slices"]
    assert slices["leaked"]["rows"] + slices["clean"]["rows"] == len(read_split("test")) == 180
    assert sum(row["rows"] for name, row in slices.items() if "characters" in name) == 180
    assert judged["baseline"]["difference"] == pytest.approx(
        judged["test"]["accuracy"] - judged["baseline"]["accuracy"], abs=1e-9
    )
    assert (
        judged["baseline"]["difference_low"]
        <= judged["baseline"]["difference"]
        <= judged["baseline"]["difference_high"]
    )
    suite = json.loads(artifacts.BEHAVIOUR_REPORT.read_text())
    assert len(suite["capabilities"]) >= 12
    assert judged["behaviour"]["cases"] >= 300


def test_the_most_confident_mistakes_are_a_table(judged: Any) -> None:
    table = pd.read_csv(artifacts.MISTAKES_REPORT)
    wrong = round(180 * (1 - judged["test"]["accuracy"]))
    assert len(table) == min(50, wrong)
    assert table["confidence"].is_monotonic_decreasing
    assert (table["label"] != table["predicted"]).all()


def test_predictions_hold_what_comparing_needs(judged: Any) -> None:
    table = pd.read_parquet(artifacts.PREDICTIONS)
    assert set(table["split"]) == {"dev", "test"}
    assert set(table["baseline"]) <= {0, 1}
    assert (table["characters"] > 0).all()
    assert not table.loc[table["split"] == "dev", "leaked"].any()


def test_the_backbone_was_pretrained_and_says_so(judged: Any) -> None:
    origin = json.loads(artifacts.ORIGIN.read_text())
    assert origin["origin"] is None
    assert origin["pretraining"]["texts"] == len(read_split("train")) + len(read_split("crawl_train"))


def test_pictures_and_curves_are_drawn(judged: Any) -> None:
    for picture in (artifacts.CONFUSION_PICTURE, artifacts.RELIABILITY_PICTURE, artifacts.LOSS_PICTURE):
        assert picture.read_bytes().startswith(b"\x89PNG")
    assert len(pd.read_csv(artifacts.EPOCHS_PLOT)) == 4
    assert not list(Path(".cache/checkpoints").iterdir()), "what was put away leaves no checkpoint"


def test_the_model_can_be_embedded_in_half_precision(judged: Any) -> None:
    embed.main()
    assert {path.name for path in embed.FOLDER.iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
        TOKENIZER_FILE,
    }
    found = models.build(Backbone("own", folder=str(embed.FOLDER), keep_head=True), []).model.state_dict()
    trained = models.load(artifacts.MODEL).state_dict()
    assert all(torch.equal(found[name], trained[name].half().float()) for name in trained)
    card = (embed.FOLDER / "README.md").read_text()
    assert f"| accuracy / 정확도 | {judged['test']['accuracy']:.4f}" in card
    assert "answers on dev 0 changed sides" in card


@pytest.mark.parametrize(
    ("limit", "message"), [("LIMIT_BYTES", "at most 0 are embedded"), ("MOST_FLIPS", "0 of .* answers on dev")]
)
def test_what_does_not_bear_embedding_is_refused(
    judged: Any, monkeypatch: pytest.MonkeyPatch, limit: str, message: str
) -> None:
    monkeypatch.setattr(embed, limit, -1 if limit == "MOST_FLIPS" else 0)
    before = fingerprint(embed.FOLDER)
    with pytest.raises(PipelineError, match=message):
        embed.main()
    assert fingerprint(embed.FOLDER) == before


def fingerprint(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*")}
