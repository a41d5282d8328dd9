import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pipelines import pictures
from training.calibrate import StarShare
from training.metrics import ReliabilityBin

Array = npt.NDArray[Any]
LABELS, PREDICTED = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 1])
BEFORE = [ReliabilityBin(0.6, 0.5, 10), ReliabilityBin(0.95, 0.8, 90)]
AFTER = [ReliabilityBin(0.6, 0.6, 40), ReliabilityBin(0.9, 0.9, 60)]
STEPS = [{"step": float(step), "loss": 0.7 / step, "learning_rate": 1e-5} for step in range(1, 21)]
EPOCHS = [
    {"epoch": 1.0, "step": 10.0, "train_loss": 0.5, "dev_loss": 0.4, "dev_accuracy": 0.8},
    {"epoch": 2.0, "step": 20.0, "train_loss": 0.3, "dev_loss": 0.3, "dev_accuracy": 0.9},
]
SHARES = [StarShare(star, 100, star / 10, star / 12, 0.1, star / 10) for star in range(1, 11)]

DRAWN: dict[str, Callable[[Path], None]] = {
    "confusion": lambda path: pictures.confusion(path, LABELS, PREDICTED),
    "reliability": lambda path: pictures.reliability(path, BEFORE, AFTER),
    "loss_curves": lambda path: pictures.loss_curves(path, STEPS, EPOCHS),
    "stars": lambda path: pictures.stars(path, SHARES),
}
OTHER: dict[str, Callable[[Path], None]] = {
    "confusion": lambda path: pictures.confusion(path, LABELS, LABELS),
    "reliability": lambda path: pictures.reliability(path, BEFORE, BEFORE),
    "loss_curves": lambda path: pictures.loss_curves(path, STEPS, EPOCHS[:1]),
    "stars": lambda path: pictures.stars(path, SHARES[:9]),
}


def share_of(path: Path, color: str) -> float:
    """Which part of a picture has exactly this color."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    wanted = [int(color[start : start + 2], 16) for start in (1, 3, 5)]
    return float((pixels == wanted).all(axis=-1).mean())


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_a_png_of_the_stated_size_and_always_the_same(name: str, tmp_path: Path) -> None:
    first, second, other = tmp_path / "first.png", tmp_path / "new" / "second.png", tmp_path / "other.png"
    DRAWN[name](first)
    DRAWN[name](second)
    OTHER[name](other)
    assert first.read_bytes() == second.read_bytes() != other.read_bytes()
    with Image.open(first) as image:
        assert image.format == "PNG"
        assert image.size == (720, 480)
        assert not {"Software", "Creation Time"} & image.info.keys()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.png", "new", "other.png"]


def test_stars_have_the_areas_of_their_shares(tmp_path: Path) -> None:
    pictures.stars(tmp_path / "all.png", [StarShare(star, 10, 1.0, 0.5, 0.25, 0.9) for star in range(1, 11)])
    positive, neutral, negative = (
        share_of(tmp_path / "all.png", color) for color in (pictures.POSITIVE, pictures.NEUTRAL, pictures.NEGATIVE)
    )
    assert positive / negative == pytest.approx(2.0, rel=0.1)
    assert neutral / negative == pytest.approx(1.0, rel=0.1)
    assert positive > 0.2


def test_confusion_is_shaded_by_the_share_of_the_label(tmp_path: Path) -> None:
    pictures.confusion(tmp_path / "right.png", LABELS, LABELS)
    pictures.confusion(tmp_path / "half.png", np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0]))
    assert share_of(tmp_path / "right.png", pictures.POSITIVE) > 0.15  # two full cells of four
    assert share_of(tmp_path / "half.png", pictures.POSITIVE) < 0.01


def test_a_class_that_does_not_occur_is_drawn_empty(tmp_path: Path) -> None:
    pictures.confusion(tmp_path / "one.png", np.ones(3, dtype=int), np.ones(3, dtype=int))
    assert share_of(tmp_path / "one.png", pictures.POSITIVE) > 0.07


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_needs_no_pyplot_and_no_settings_of_others(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DRAWN[name](tmp_path / "default.png")
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it fails
    with matplotlib.rc_context({"font.size": 20.0, "lines.linewidth": 9.0, "savefig.dpi": 50.0, "axes.grid": True}):
        settings = matplotlib.rcParams.copy()
        DRAWN[name](tmp_path / "changed.png")
        assert matplotlib.rcParams.copy() == settings
    assert (tmp_path / "changed.png").read_bytes() == (tmp_path / "default.png").read_bytes()
