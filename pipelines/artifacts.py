"""Where the stages' results lie, and how the small ones among them are written."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data.files import writing
from data.labels import NeutralBand
from data.probability import Calibration

ROOT = Path("artifacts")
EMBEDDED = Path("data") / "backbone"
"""Weights that are committed: what the demo starts from."""
TRAIN_FILE = ROOT / "raw" / "train.txt"
TEST_FILE = ROOT / "raw" / "test.txt"
CRAWL_FILE = ROOT / "raw" / "crawl.parquet"
FEEDBACK_FILE = ROOT / "raw" / "feedback.parquet"
PREPARED = ROOT / "prepared"
BASELINE = ROOT / "baseline.parquet"
LESSONS = ROOT / "lessons.parquet"
BACKBONE = ROOT / "backbone"
ORIGIN = BACKBONE / "origin.json"
MODEL = ROOT / "model"
RUN = ROOT / "run.json"
PREDICTIONS = ROOT / "predictions.parquet"
CALIBRATION = ROOT / "calibration.json"
BUNDLE = ROOT / "bundle"
REGISTRATION = ROOT / "registration.json"
DECISION = ROOT / "decision.json"
PACKAGE = ROOT / "package.json"

REPORTS = ROOT / "reports"
DATA_REPORT = REPORTS / "data.json"
FEEDBACK_REPORT = REPORTS / "feedback.csv"
BASELINE_REPORT = REPORTS / "baseline.json"
TRAIN_REPORT = REPORTS / "train.json"
EVALUATION_REPORT = REPORTS / "evaluation.json"
EXPORT_REPORT = REPORTS / "export.json"
PRECISIONS_REPORT = REPORTS / "precisions.json"
BEHAVIOUR_REPORT = REPORTS / "behaviour.json"
MISTAKES_REPORT = REPORTS / "mistakes.csv"

PLOTS = ROOT / "plots"
STEPS_PLOT = PLOTS / "steps.csv"
EPOCHS_PLOT = PLOTS / "epochs.csv"
RELIABILITY_PLOT = PLOTS / "reliability.csv"
CONFUSION_PLOT = PLOTS / "confusion.csv"

PICTURES = ROOT / "pictures"
CONFUSION_PICTURE = PICTURES / "confusion.png"
RELIABILITY_PICTURE = PICTURES / "reliability.png"
LOSS_PICTURE = PICTURES / "loss.png"
STARS_PICTURE = PICTURES / "stars.png"

CACHE = Path(".cache")
"""Downloads and checkpoints: what outlives an interrupted stage, whose outputs DVC deletes before it runs again."""


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` so that a person and a diff can read it."""
    with writing(path) as temporary:
        temporary.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """What ``write_json`` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_calibration(calibration: Calibration, band: NeutralBand) -> None:
    """Keep what makes verdicts of the trained model's logits."""
    write_json(CALIBRATION, asdict(calibration) | {"neutral_low": band.low, "neutral_high": band.high})


def read_calibration() -> tuple[Calibration, NeutralBand]:
    """What ``write_calibration`` kept."""
    found = read_json(CALIBRATION)
    return (
        Calibration(found["temperature"], found["bias"]),
        NeutralBand(found["neutral_low"], found["neutral_high"]),
    )
