"""Judge the trained model: fit calibration and neutral band on dev, then score dev and, once, test."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from transformers import PreTrainedModel

from data import behaviour
from data.encode import Encoder
from data.files import writing
from data.labels import NAMES, NeutralBand
from data.probability import Calibration, margin
from data.text import clean
from pipelines import artifacts, curves, pictures, stage
from pipelines.metric import scores
from pipelines.params import Params
from pipelines.splits import read_split
from training import model as models
from training.calibrate import fit_band, fit_calibration, rises, share_positive_by_star, three_way
from training.metrics import intervals, mcnemar, paired_interval, reliability
from training.mixture import neutral_rows
from training.predict import logits
from training.slices import by_leak, by_length, confident_mistakes, score_slices

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.integer]
Texts = Sequence[str]
Judge = Callable[[Texts], FloatArray]
"""(N, 2) logits of N cleaned texts."""

STAR_OF_LABEL = np.array([1, 10])
"""Stars that stand for NSMC's labels, whose own stars are not published."""


def judge_of(model: PreTrainedModel, encoder: Encoder) -> Judge:
    """The model, from cleaned texts to logits."""
    return lambda texts: logits(model, encoder.encode(texts, truncate=True), encoder.pad_id)


def predictions(judge: Judge) -> pd.DataFrame:
    """A row for each review of dev and test.

    It holds id, label, logits, the baseline's class, the length in characters, and whether the text was learned from.
    """
    baseline = pd.read_parquet(artifacts.BASELINE)
    known = {*read_split("train")["text"][:], *read_split("dev")["text"][:]}
    frames = []
    for name in ("dev", "test"):
        split = read_split(name)
        texts = split["text"][:]
        found = judge(texts)
        columns = {"split": name, "id": split["id"][:], "label": split["label"][:]}
        columns |= {"logit_negative": found[:, 0], "logit_positive": found[:, 1]}
        columns["baseline"] = (baseline.loc[baseline["split"] == name, "margin"].to_numpy() >= 0.0).astype(int)
        columns["characters"] = [len(text) for text in texts]
        columns["leaked"] = by_leak(texts, known)["leaked"] if name == "test" else False
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def neutral_band(positive: FloatArray, labels: IntArray, crawl: FloatArray, stars: IntArray) -> dict[str, Any]:
    """The band fitted on dev and the crawl's part of it, with its figures there."""
    neutral = neutral_rows(stars)
    fit = fit_band(np.concatenate([positive, crawl[neutral]]), np.concatenate([STAR_OF_LABEL[labels], stars[neutral]]))
    return {"low": fit.band.low, "high": fit.band.high, "accuracy": fit.accuracy, "f1_macro": fit.f1_macro}


def against_baseline(labels: IntArray, positive: FloatArray, baseline: IntArray) -> dict[str, float]:
    """The model beside the linear baseline on the same rows, in accuracy."""
    predicted = (positive >= 0.5).astype(int)
    paired = mcnemar(labels, predicted, baseline)
    low, high = paired_interval(labels, predicted, baseline)
    return {
        "accuracy": float((baseline == labels).mean()),
        "difference": paired.difference,
        "difference_low": low,
        "difference_high": high,
        "mcnemar_p": paired.p_value,
    }


def _draw(table: pd.DataFrame, raw: FloatArray) -> None:
    labels, positive = table["label"].to_numpy(), table["positive"].to_numpy()
    before, after = reliability(labels, raw), reliability(labels, positive)
    predicted = (positive >= 0.5).astype(int)
    pictures.confusion(artifacts.CONFUSION_PICTURE, labels, predicted)
    pictures.reliability(artifacts.RELIABILITY_PICTURE, before, after)
    pictures.loss_curves(artifacts.LOSS_PICTURE, *curves.read())
    curves.write_table(
        artifacts.RELIABILITY_PLOT,
        ("confidence", "accuracy", "count"),
        [{"confidence": b.confidence, "accuracy": b.accuracy, "count": b.count} for b in after],
    )
    curves.write_table(
        artifacts.CONFUSION_PLOT,
        ("actual", "predicted"),
        [{"actual": NAMES[a], "predicted": NAMES[b]} for a, b in zip(labels, predicted, strict=True)],
    )


def _by_stars(judge: Judge, calibration: Calibration, band: NeutralBand) -> dict[str, Any]:
    """What the model says of the crawl's test part, by stars; nothing where there is no crawl."""
    crawl = read_split("crawl_test")
    if not len(crawl):
        return {}
    stars = np.asarray(crawl["stars"][:])
    positive = calibration.positive(judge(crawl["text"][:]))
    shares = share_positive_by_star(positive, stars, band)
    pictures.stars(artifacts.STARS_PICTURE, shares)
    return {
        "rows": len(stars),
        **three_way(positive, stars, band),
        "rises_with_stars": float(rises(shares)),
        "by_star": {str(share.star): asdict(share) for share in shares},
    }


def main() -> None:
    """Stage evaluate."""
    params = Params.load()
    encoder = Encoder.from_file(artifacts.MODEL, params.encode.max_length_tokens)
    judge = judge_of(models.load(artifacts.MODEL), encoder)
    table = predictions(judge)
    on_dev = (table["split"] == "dev").to_numpy()
    both, labels = table[["logit_negative", "logit_positive"]].to_numpy(), table["label"].to_numpy()
    calibration = fit_calibration(margin(both[on_dev]), labels[on_dev])
    table["positive"] = positive = calibration.positive(both)

    crawl_dev, neutral = read_split("crawl_dev"), {"low": params.judge.neutral_low, "high": params.judge.neutral_high}
    if len(crawl_dev):
        of_crawl = calibration.positive(judge(crawl_dev["text"][:]))
        neutral = neutral_band(positive[on_dev], labels[on_dev], of_crawl, np.asarray(crawl_dev["stars"][:]))
    band = NeutralBand(neutral["low"], neutral["high"])

    test, texts = table[~on_dev], read_split("test")["text"][:]
    truth, answer = labels[~on_dev], positive[~on_dev]
    leaked = test["leaked"].to_numpy()
    slices = by_length(test["characters"].to_numpy()) | {"leaked": leaked, "clean": ~leaked}
    suite = behaviour.judge(lambda raw: calibration.positive(judge([clean(text) for text in raw])))
    report: dict[str, Any] = {
        "test": scores(answer, truth),
        "dev": scores(positive[on_dev], labels[on_dev]),
        "test_intervals": {
            name: {"low": low, "high": high}
            for name, (low, high) in intervals(truth, answer, resamples=params.judge.resamples).items()
        },
        "baseline": against_baseline(truth, answer, test["baseline"].to_numpy()),
        "majority_accuracy": artifacts.read_json(artifacts.BASELINE_REPORT)["test"]["majority_accuracy"],
        "slices": {row.pop("slice"): row for row in score_slices(truth, answer, slices)},
        "behaviour": {"cases": suite.cases, "failures": suite.failures, "failure_rate": suite.failure_rate},
        "calibration": asdict(calibration),
        "neutral_band": neutral,
        "crawl": _by_stars(judge, calibration, band),
    }
    with writing(artifacts.PREDICTIONS) as temporary:
        table.to_parquet(temporary, index=False)
    _draw(test, Calibration().positive(both[~on_dev]))
    mistakes = confident_mistakes(truth, answer, texts, test["id"].tolist())
    curves.write_table(artifacts.MISTAKES_REPORT, ("confidence", "label", "predicted", "id", "text"), mistakes)
    artifacts.write_json(artifacts.BEHAVIOUR_REPORT, suite.as_dict())
    artifacts.write_calibration(calibration, band)
    artifacts.write_json(artifacts.EVALUATION_REPORT, report)
    print(
        f"test accuracy {report['test']['accuracy']:.4f} on {len(truth):,} reviews, "
        f"{100 * report['baseline']['difference']:+.2f} points against the linear baseline "
        f"(McNemar p = {report['baseline']['mcnemar_p']:.2g}); {suite.failures} of {suite.cases} behaviour cases fail"
    )


if __name__ == "__main__":
    stage.run(main)
