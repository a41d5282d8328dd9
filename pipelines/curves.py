"""The curves of a training: as points of an MLflow run, and as the files that DVC plots and a lost run is made from."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from data.files import writing
from pipelines import artifacts

STEP_COLUMNS = ("step", "loss", "learning_rate")
EPOCH_COLUMNS = ("epoch", "step", "train_loss", "dev_loss", "dev_accuracy")

Row = Mapping[str, float]
"""A report of ``training.loop`` by the names of its fields."""
Points = dict[str, float]
"""What is added to an MLflow run at one step."""


def step_points(row: Row) -> Points:
    """The points that a step adds to a run."""
    return {f"train/{name}": float(row[name]) for name in ("loss", "learning_rate")}


def epoch_points(row: Row) -> Points:
    """The points that an epoch adds to a run."""
    return {f"epoch/{name}": float(row[name]) for name in ("train_loss", "dev_loss", "dev_accuracy")}


def write(steps: Iterable[Row], epochs: Iterable[Row]) -> None:
    """Write both curves as CSV; nothing in them depends on how fast the machine was."""
    write_table(artifacts.STEPS_PLOT, STEP_COLUMNS, steps)
    write_table(artifacts.EPOCHS_PLOT, EPOCH_COLUMNS, epochs)


def read() -> tuple[list[Row], list[Row]]:
    """The reports of steps and of epochs that were written."""
    return _read(artifacts.STEPS_PLOT), _read(artifacts.EPOCHS_PLOT)


def recorded() -> Iterator[tuple[int, Points]]:
    """The points that were written, each with its step."""
    for rows, points in zip(read(), (step_points, epoch_points), strict=True):
        for row in rows:
            yield int(row["step"]), points(row)


def _read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def write_table(path: Path, columns: tuple[str, ...], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write ``columns`` of ``rows`` as CSV."""
    with writing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
