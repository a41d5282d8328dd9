"""Compose the lessons: NSMC's train, the crawl where it is wanted, callers' corrections, and what the teachers say."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from datasets import Dataset
from scipy.special import logit

from data.crawl import NEUTRAL_STARS
from data.errors import BundleError
from data.files import writing
from pipelines import artifacts, stage
from pipelines.errors import SettingsError
from pipelines.params import Compose, Params
from pipelines.splits import read_split
from serving.model import Model
from training.baseline import cross_fitted
from training.mixture import neutral_rows, resampled, taught

LINEAR = "linear"
FOLDS = 4
FloatArray = npt.NDArray[np.float64]


def lessons(settings: Compose, train: Dataset, crawl: Dataset, feedback: Dataset) -> pd.DataFrame:
    """Text, P(positive) and source of everything that is learned from, in a fixed order."""
    table = _reviews(settings, train, crawl, feedback)
    if settings.teacher.weight > 0.0:
        margins = np.mean([_margins(name, table, settings.seed) for name in settings.teacher.names], axis=0)
        table["positive"] = taught(table["positive"].to_numpy(dtype=float), margins, settings.teacher.weight)
    return table


def _reviews(settings: Compose, train: Dataset, crawl: Dataset, feedback: Dataset) -> pd.DataFrame:
    """What people wrote, and the P(positive) that their stars, or callers' corrections, stand for."""
    if (settings.polar or settings.neutral) and not len(crawl):
        raise SettingsError(
            "compose.polar or compose.neutral is on, but there is no crawl; set fetch.crawl.source or NSMC_CRAWL"
        )
    labels = np.asarray(train["label"][:])
    parts = [pd.DataFrame({"text": train["text"][:], "positive": labels.astype(float), "source": "train"})]
    texts, stars = np.asarray(crawl["text"][:], dtype=object), np.asarray(crawl["stars"][:], dtype=np.int64)
    if settings.polar:
        polar = resampled(stars, float(labels.mean()), settings.seed)
        parts.append(pd.DataFrame({"text": texts[polar.rows], "positive": polar.labels, "source": "polar"}))
    if settings.neutral:
        rows = neutral_rows(stars)
        target = np.asarray(settings.neutral_targets)[stars[rows] - NEUTRAL_STARS.start]
        parts.append(pd.DataFrame({"text": texts[rows], "positive": target, "source": "neutral"}))
    if len(feedback):
        corrected = np.asarray(feedback["label"][:], dtype=float)
        parts.append(pd.DataFrame({"text": feedback["text"][:], "positive": corrected, "source": "feedback"}))
    return pd.concat(parts, ignore_index=True)


def _margins(name: str, table: pd.DataFrame, seed: int) -> FloatArray:
    """(N,) log odds that the teacher gives each lesson; of a linear one, by those that have not seen it."""
    texts = table["text"].tolist()
    if name != LINEAR:
        return _bundle_margins(Path(name), texts)
    return cross_fitted(texts, table["positive"].to_numpy(), FOLDS, seed)


def _bundle_margins(folder: Path, texts: Sequence[str]) -> FloatArray:
    try:
        model = Model.load(folder, tag=folder.name)
    except BundleError as error:
        raise SettingsError(f"compose.teacher.names has {str(folder)!r}, which is no teacher: {error}") from error
    return np.asarray(logit(model.positive_of(texts).clip(1e-6, 1.0 - 1e-6)))


def main() -> None:
    """Stage compose."""
    table = lessons(Params.load().compose, *map(read_split, ("train", "crawl_train", "feedback")))
    with writing(artifacts.LESSONS) as temporary:
        table.to_parquet(temporary, index=False)
    counts = table["source"].value_counts(sort=False)
    print("lessons: " + ", ".join(f"{count:,} {source}" for source, count in counts.items()))


if __name__ == "__main__":
    stage.run(main)
