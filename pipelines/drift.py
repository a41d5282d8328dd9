"""Whether the reviews that come are still those that the model was judged on: ``python -m pipelines.drift JUDGED``.

JUDGED is what ``pipelines.score`` wrote of them, or the JOURNAL_FOLDER of a service, which holds what the version said
and how long the reviews were, but no texts (``--days`` for the last ones alone). They are held against the champion's
own test reviews, as MLflow keeps them: scores and lengths by Jensen-Shannon distance (0: the same, 1: nothing in
common), the share of 중립, and the accuracy that is to be expected without labels. Ends with status 3 where a threshold
is crossed, for cron or CI to retrain. ``--by COLUMN`` tells it by group, ``--by-year COLUMN`` by the year of dates that
begin with it (yy or yyyy), ``--stars COLUMN`` adds the true accuracy where stars are known.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
from scipy.spatial.distance import jensenshannon
from scipy.stats import spearmanr

from data.bundle import Manifest
from data.crawl import NEGATIVE_STARS, POSITIVE_STARS
from data.labels import NEUTRAL, NeutralBand
from pipelines import artifacts, stage
from pipelines.errors import RegistryError, TableError
from pipelines.params import Params
from pipelines.registry import BUNDLE, EVALUATION, Registry, Version
from pipelines.scoring.source import TEXT_COLUMNS
from pipelines.served import read as read_journal
from pipelines.table import text_table

FloatArray = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]

DRIFTED = 3
"""The exit status where a threshold is crossed; 1 is an error, as everywhere."""
SCORE_EDGES = np.linspace(0.0, 1.0, 21)
LENGTH_QUANTILES = np.linspace(0.0, 1.0, 11)[1:-1]
FEWEST_GROUPS = 5
FEWEST = 200
"""Of fewer reviews nothing is said: their distance from anything is chance."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """By how much reviews may differ before they count as others. Shares and distances are from 0 to 1."""

    scores: float = 0.15
    lengths: float = 0.15
    neutral: float = 0.05
    accuracy: float = 0.03
    """By so much may the expected accuracy be below that of the test."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Labelled reviews that the model has judged: P(positive) (N,), characters (N,), accuracy, share of 중립."""

    positive: FloatArray
    characters: FloatArray
    accuracy: float
    neutral: float

    @classmethod
    def of(cls, positive: FloatArray, characters: FloatArray, positives: Mask, neutral: Mask) -> "Reference":
        """From P(positive) (N,), characters (N,), which are positive (N,) and which were called 중립 (N,)."""
        accuracy = float(((positive >= 0.5) == positives).mean())
        return cls(positive, characters.astype(float), accuracy, float(neutral.mean()))


@dataclass(frozen=True, slots=True)
class Drift:
    """How a group of reviews differs from the reference, and what is out of bounds.

    ``expected_accuracy`` is the reference's, moved by the difference of mean confidences (Guillory et al., 2021,
    "Predicting with Confidence on Unseen Distributions"). ``true_accuracy`` is there where labels are.
    """

    group: str
    reviews: int
    scores: float
    lengths: float
    neutral: float
    expected_accuracy: float
    true_accuracy: float | None
    labelled: int
    beyond: tuple[str, ...]


def recorded_reference(registry: Registry, version: Version) -> tuple[Reference, NeutralBand]:
    """The test of a registered version, and its band. Raises RegistryError."""
    with tempfile.TemporaryDirectory(prefix="drift-") as folder:
        recorded = registry.download(version, EVALUATION, Path(folder)) / artifacts.PREDICTIONS.name
        if not recorded.exists():
            raise RegistryError(f"version {version.number} was registered without {recorded.name}")
        table = pd.read_parquet(recorded)
        manifest = Manifest.read(registry.download(version, BUNDLE, Path(folder)))
    test = table[table["split"] == "test"]
    positive, band = test["positive"].to_numpy(), manifest.neutral_band
    neutral = (positive >= band.low) & (positive <= band.high)
    return Reference.of(positive, test["characters"].to_numpy(), test["label"].to_numpy() == 1, neutral), band


def judged_reference(judged: Path, labels: str) -> Reference:
    """A judged table with labels, 0 or 1, in a column. Raises TableError."""
    table = read(judged, (labels,), None)
    truth = pd.to_numeric(table[labels], errors="coerce")
    if not truth.isin([0, 1]).all():
        raise TableError(f"{judged}: column {labels} must hold 0 and 1 only")
    neutral = (table["sentiment"] == NEUTRAL).to_numpy()
    return Reference.of(table["positive"].to_numpy(), table["characters"].to_numpy(), truth.to_numpy() == 1, neutral)


def confidence(positive: FloatArray) -> float:
    """The accuracy that calibrated probabilities (N,) expect of themselves."""
    return float(np.maximum(positive, 1.0 - positive).mean())


def distance(ours: FloatArray, theirs: FloatArray, edges: FloatArray) -> float:
    """Jensen-Shannon distance of two samples, in the bins between ``edges`` and beyond them."""
    bins = [np.searchsorted(edges, each, side="right") for each in (ours, theirs)]
    return float(jensenshannon(*(np.bincount(each, minlength=len(edges) + 1) for each in bins), base=2))


def drift(group: str, reviews: pd.DataFrame, against: Reference, allowed: Thresholds) -> Drift:
    """Of reviews with the columns positive, characters and sentiment, and stars where they are known."""
    positive = reviews["positive"].to_numpy()
    scores = distance(positive, against.positive, SCORE_EDGES)
    lengths = distance(
        reviews["characters"].to_numpy(dtype=float),
        against.characters,
        np.unique(np.quantile(against.characters, LENGTH_QUANTILES)),
    )
    neutral = float((reviews["sentiment"] == NEUTRAL).mean())
    expected = against.accuracy + confidence(positive) - confidence(against.positive)
    beyond = {
        "scores": scores > allowed.scores,
        "lengths": lengths > allowed.lengths,
        "neutral": abs(neutral - against.neutral) > allowed.neutral,
        "accuracy": against.accuracy - expected > allowed.accuracy,
    }
    true, labelled = None, 0
    if "stars" in reviews:
        polar = reviews["stars"].isin([*NEGATIVE_STARS, *POSITIVE_STARS]).to_numpy()
        labels = reviews["stars"].to_numpy()[polar] >= POSITIVE_STARS.start
        labelled = int(polar.sum())
        true = float(((positive[polar] >= 0.5) == labels).mean()) if labelled else None
        # what is expected is expected of reviews like the test's, which have no neutral ones
        if labelled:
            expected = against.accuracy + confidence(positive[polar]) - confidence(against.positive)
    crossed = tuple(name for name, is_so in beyond.items() if is_so)
    return Drift(group, len(reviews), scores, lengths, neutral, expected, true, labelled, crossed)


def groups(reviews: pd.DataFrame, by: str | None, by_year: str | None) -> Mapping[str, pd.DataFrame]:
    """All of them, then each group that has enough."""
    found = {"all": reviews}
    if by or by_year:
        keys = reviews[by].astype(str) if by else reviews[by_year].astype(str).map(year)
        found |= {str(key): group for key, group in reviews.groupby(keys) if len(group) >= FEWEST}
    return found


def year(date: str) -> str:
    """Of a date that begins with its year, in two digits or four."""
    digits = date.partition(".")[0].partition("-")[0]
    return digits if len(digits) == 4 else f"20{digits}" if int(digits or 0) < 70 else f"19{digits}"


def read(judged: Path, by: tuple[str, ...], stars: str | None) -> pd.DataFrame:
    """The columns that are needed. Raises TableError naming those that are missing."""
    try:
        names = pq.read_schema(judged).names
    except (OSError, ValueError) as error:
        raise TableError(f"{judged} cannot be read as Parquet: {type(error).__name__}") from error
    text = next((name for name in TEXT_COLUMNS if name in names), None)
    needed = ["positive", "sentiment", *by, *([stars] if stars else [])]
    missing = [name for name in needed if name not in names] + ([] if text else [" or ".join(TEXT_COLUMNS)])
    if missing or text is None:
        raise TableError(f"{judged} has no column {', '.join(missing)}; it is to be what pipelines.score wrote")
    table = pd.read_parquet(judged, columns=list(dict.fromkeys([*needed, text])))
    enough(judged, table)
    table["characters"] = table[text].str.len()
    if stars:
        table["stars"] = pd.to_numeric(table[stars], errors="coerce")
    return table


def enough(judged: Path, reviews: pd.DataFrame) -> pd.DataFrame:
    """The same. Raises TableError where it is too few to tell anything."""
    if len(reviews) < FEWEST:
        raise TableError(f"{judged} has {len(reviews)} reviews; at least {FEWEST} are needed to tell")
    return reviews


def served(journal: Path, version: str, days: float) -> tuple[pd.DataFrame, Reference]:
    """What a version said in the last days, and its test. Raises RegistryError or TableError."""
    names = Params.load().register_
    registry = Registry(names)
    registered = registry.version(version)
    against, band = recorded_reference(registry, registered)
    return enough(
        journal, read_journal(journal, registered.tag(names.model), band, time.time() - days * 86_400)
    ), against


def report(found: list[Drift], against: Reference) -> str:
    """For a person at a terminal."""
    rows = [
        (
            each.group,
            f"{each.reviews:,}",
            f"{each.scores:.3f}",
            f"{each.lengths:.3f}",
            f"{each.neutral:.1%}",
            f"{each.expected_accuracy:.1%}",
            "-" if each.true_accuracy is None else f"{each.true_accuracy:.1%}",
            ", ".join(each.beyond) or "-",
        )
        for each in found
    ]
    known = [(each.expected_accuracy, each.true_accuracy) for each in found[1:] if each.true_accuracy is not None]
    agreement = []
    if len(known) >= FEWEST_GROUPS:
        off = float(np.mean([true - expected for expected, true in known]))
        rank = float(spearmanr(known).statistic)
        agreement = [f"true - expected accuracy by group: {off:+.1%} on average; rank correlation of both {rank:.2f}"]
    return "\n\n".join(
        (
            f"reference: {len(against.positive):,} reviews, accuracy {against.accuracy:.1%}, "
            f"중립 {against.neutral:.1%}",
            text_table(("reviews of", "number", "scores", "lengths", "중립", "expected", "true", "beyond"), rows),
            *agreement,
        )
    )


def main() -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(prog="pipelines.drift", description=__doc__)
    parser.add_argument("judged", metavar="JUDGED", type=Path, help="what pipelines.score wrote")
    parser.add_argument("--version", default="champion", help="a number or an alias: whose test is the reference")
    parser.add_argument("--reference", type=Path, help="another judged table, with labels, instead of that test")
    parser.add_argument("--labels", metavar="COLUMN", default="label", help="of the other table: 0 or 1")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--by", metavar="COLUMN", help="tell it by group, too")
    which.add_argument("--by-year", metavar="COLUMN", help="tell it by year, too")
    parser.add_argument("--stars", metavar="COLUMN", help="stars from 1 to 10, for the true accuracy")
    parser.add_argument("--days", type=float, default=7.0, help="of a journal, the last ones; by itself 7")
    parser.add_argument("--json", action="store_true", help="for machines")
    for name, value in asdict(Thresholds()).items():
        parser.add_argument(f"--most-{name}", type=float, default=value, help=f"threshold, by itself {value:g}")
    arguments = parser.parse_args()
    allowed = Thresholds(**{name: getattr(arguments, f"most_{name}") for name in asdict(Thresholds())})
    by = tuple(name for name in (arguments.by, arguments.by_year) if name)
    if arguments.judged.is_dir():
        if arguments.reference or arguments.stars:
            raise TableError("a journal holds no stars, and what its model was tested on is in MLflow")
        reviews, against = served(arguments.judged, arguments.version, arguments.days)
    else:
        reviews = read(arguments.judged, by, arguments.stars)
        if arguments.reference:
            against = judged_reference(arguments.reference, arguments.labels)
        else:
            registry = Registry(Params.load().register_)
            against, _ = recorded_reference(registry, registry.version(arguments.version))
    found = [
        drift(name, group, against, allowed) for name, group in groups(reviews, arguments.by, arguments.by_year).items()
    ]
    if arguments.json:
        content: dict[str, Any] = {"thresholds": asdict(allowed), "groups": [asdict(each) for each in found]}
        print(json.dumps(content, ensure_ascii=False, indent=2))
    else:
        print(report(found, against))
    if found[0].beyond:
        print(f"beyond what is allowed: {', '.join(found[0].beyond)}; time to retrain", file=sys.stderr)
        sys.exit(DRIFTED)


if __name__ == "__main__":
    stage.run(main)
