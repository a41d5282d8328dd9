"""Pictures of a model's figures, as PNG files; their bytes depend on the figures and matplotlib's version only."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from data.files import writing
from training.calibrate import StarShare
from training.metrics import ReliabilityBin

IntArray = npt.NDArray[np.integer]
Row = Mapping[str, float]
"""A report of ``training.loop`` by the names of its fields, as ``pipelines.curves`` writes them."""

CLASSES = ("negative", "positive")
"""The classes in letters that every font has: matplotlib brings no Korean one."""
NEGATIVE, NEUTRAL, POSITIVE = "#c4553b", "#b4b9bf", "#2c6da4"
BEFORE, AFTER = "#e0993d", POSITIVE
FAINT, INK = "#e3e6e9", "#333a41"
SIZE_INCHES = (6.0, 4.0)
DOTS_PER_INCH = 120
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
}


@contextmanager
def _picture(path: Path) -> Iterator[Figure]:
    """A figure that is written to ``path`` when the block ends well. No pyplot: no window and no global state."""
    with style.context(["default", STYLE]):
        figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with writing(path) as temporary:
            figure.savefig(temporary, format="png", metadata={"Software": None})


def confusion(path: Path, labels: IntArray, predicted: IntArray) -> None:
    """Counts of ``labels`` (N,) against ``predicted`` (N,), 0 or 1; shaded by the share of the label's row."""
    counts = np.bincount(2 * np.asarray(labels) + np.asarray(predicted), minlength=4).reshape(2, 2)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with _picture(path) as figure:
        axes = figure.add_subplot()
        axes.imshow(shares, cmap=LinearSegmentedColormap.from_list("share", ["white", POSITIVE]), vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            share = shares[row, column]
            color = "white" if share > 0.5 else INK
            axes.text(
                column,
                row,
                f"{count:,}\n{share:.1%}",
                ha="center",
                va="center",
                color=color,
                fontsize=12,
                linespacing=1.4,
            )
        axes.set_xticks(range(2), CLASSES)
        axes.set_yticks(range(2), CLASSES)
        axes.tick_params(length=0)
        axes.set(xlabel="predicted", ylabel="label")
        right = np.trace(counts) / max(int(counts.sum()), 1)
        axes.set_title(f"Confusion: {counts.sum():,} reviews, {right:.2%} right")


def reliability(path: Path, before: Sequence[ReliabilityBin], after: Sequence[ReliabilityBin]) -> None:
    """Accuracy against confidence by bin, before and after calibration, above how many reviews each bin holds."""
    with _picture(path) as figure:
        curve, amount = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        curve.plot([0.5, 1.0], [0.5, 1.0], color=NEUTRAL, linestyle="--", linewidth=1, label="as sure as right")
        for name, bins, color in (("before", before, BEFORE), ("after", after, AFTER)):
            confidence, counts = [found.confidence for found in bins], [found.count for found in bins]
            label = f"{name} calibration, ECE {_ece(bins):.2%}"
            curve.plot(confidence, [found.accuracy for found in bins], "o-", color=color, markersize=4, label=label)
            amount.plot(confidence, counts, "o-", color=color, markersize=3, linewidth=1)
        curve.set(title="Reliability", ylabel="accuracy", xlim=(0.49, 1.01))
        curve.legend(loc="upper left")
        amount.set(xlabel="confidence: probability of the answer", ylabel="reviews", yscale="log")
        for axes in (curve, amount):
            _grid(axes)
        _percent(curve, "xy")


def loss_curves(path: Path, steps: Sequence[Row], epochs: Sequence[Row]) -> None:
    """Losses by optimizer step, above dev accuracy by epoch; the best on dev is marked, chosen as training does.

    ``steps`` have ``step`` and ``loss``; ``epochs``, at least one, ``epoch step train_loss dev_loss dev_accuracy``.
    """
    best = max(epochs, key=lambda row: (row["dev_accuracy"], -row["dev_loss"]))
    at = [row["step"] for row in epochs]
    with _picture(path) as figure:
        loss, accuracy = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
        loss.plot(
            [row["step"] for row in steps],
            [row["loss"] for row in steps],
            color=NEUTRAL,
            linewidth=1,
            label="train, by step",
        )
        loss.plot(at, [row["train_loss"] for row in epochs], "o-", color=BEFORE, markersize=4, label="train, by epoch")
        loss.plot(at, [row["dev_loss"] for row in epochs], "o-", color=AFTER, markersize=4, label="dev, by epoch")
        accuracy.plot(at, [row["dev_accuracy"] for row in epochs], "o-", color=AFTER, markersize=4)
        loss.set(title="Training", ylabel="loss (nats)", ylim=(0, None))
        loss.legend(loc="upper right")
        accuracy.set(xlabel="optimizer step", ylabel="dev accuracy")
        accuracy.set_title(
            f"best: epoch {best['epoch']:.0f}, {best['dev_accuracy']:.2%}", loc="right", fontweight="normal", fontsize=9
        )
        accuracy.xaxis.set_major_locator(MaxNLocator(integer=True))
        accuracy.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        for axes in (loss, accuracy):
            axes.axvline(best["step"], color=INK, linewidth=0.8, linestyle=":")
            _grid(axes)
        accuracy.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))


def stars(path: Path, shares: Sequence[StarShare]) -> None:
    """What reviews with each number of stars are called, neutral ones too, as shares that stack to 1."""
    at = [row.star for row in shares]
    neutral = np.array([row.neutral for row in shares])
    positive = np.array([row.positive_with_band for row in shares])
    negative = 1.0 - neutral - positive
    with _picture(path) as figure:
        axes = figure.add_subplot()
        axes.bar(at, negative, color=NEGATIVE, label="negative")
        axes.bar(at, neutral, bottom=negative, color=NEUTRAL, label="neutral")
        axes.bar(at, positive, bottom=negative + neutral, color=POSITIVE, label="positive")
        axes.set_xticks(at, [f"{row.star}\n{row.count:,}" for row in shares])
        axes.tick_params(axis="x", length=0, labelsize=7.5)
        axes.set(xlabel="stars, and reviews with them", ylabel="share of reviews", ylim=(0, 1))
        axes.set_title("Verdicts by stars")
        _percent(axes, "y")
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, columnspacing=1.2, handlelength=1.2)


def _ece(bins: Sequence[ReliabilityBin]) -> float:
    gaps = sum(abs(found.confidence - found.accuracy) * found.count for found in bins)
    return gaps / max(sum(found.count for found in bins), 1)


def _grid(axes: Axes) -> None:
    axes.grid(visible=True, linewidth=0.8)


def _percent(axes: Axes, which: str) -> None:
    for letter in which:
        axis = axes.xaxis if letter == "x" else axes.yaxis
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
