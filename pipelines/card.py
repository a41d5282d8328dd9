"""The model card, in Korean and English, filled with the run's own figures."""

from collections.abc import Mapping
from typing import Any

from pipelines import artifacts
from pipelines.params import Params

Report = Mapping[str, Any]

SOURCES = {
    "pretraining": "all texts, without labels, in pretraining / 라벨 없이 사전 학습",
    "train": "train, with labels / 라벨 있는 train",
    "polar": "NSMC's raw crawl, 1-4 and 9-10 stars / 원자료, 별점 1-4와 9-10",
    "neutral": "NSMC's raw crawl, 5-8 stars / 원자료, 별점 5-8",
}


def present_card(params: Params) -> str:
    """The card of the model whose reports lie in ``artifacts``."""
    reports = (artifacts.TRAIN_REPORT, artifacts.EVALUATION_REPORT, artifacts.DATA_REPORT)
    return model_card(params, *(artifacts.read_json(report) for report in reports))


def model_card(params: Params, training: Report, evaluation: Report, data: Report) -> str:
    """Markdown from the reports of ``train``, ``evaluate`` and ``prepare``; every figure is one of theirs."""
    test, dev, baseline = evaluation["test"], evaluation["dev"], evaluation["baseline"]
    bounds, splits, band = evaluation["test_intervals"], data["splits"], evaluation["neutral_band"]
    rows = "\n".join(
        f"| {name} | {test[key]:.4f} | {bounds[key]['low']:.4f} – {bounds[key]['high']:.4f} | {dev[key]:.4f} |"
        for name, key in (
            ("accuracy / 정확도", "accuracy"),
            ("macro F1", "f1_macro"),
            ("MCC", "mcc"),
            ("AUROC", "auroc"),
            ("ECE", "ece"),
            ("Brier", "brier"),
        )
    )
    slices = "\n".join(
        f"| {name} | {row['rows']:,} | {row['accuracy']:.4f} |"
        for name, row in evaluation["slices"].items()
        if row["rows"]
    )
    behaviour = evaluation["behaviour"]
    pretraining = training["pretraining"]
    learned = {"pretraining": pretraining["texts"], **training["lessons_by_source"]}
    sources = "\n".join(f"| {SOURCES[name]} | {count:,} |" for name, count in learned.items() if count)
    return f"""# {params.backbone.name} · {params.profile}

## 한국어
영화 리뷰의 긍정/부정을 판정하는 모델입니다. 리뷰 {training["lessons"]:,}건으로 학습했고,
모든 선택(에폭, 확률 보정, 중립 구간)은 dev {splits["dev"]["rows"]:,}건에서 했으며,
test {splits["test"]["rows"]:,}건은 이 버전에 한 번만 사용했습니다.

- 선형 기준 모델(문자 n-gram) 대비 {100 * baseline["difference"]:+.2f}점 (McNemar p = {baseline["mcnemar_p"]:.2g})
- 중립 구간: 긍정 확률 {band["low"]:.3f} – {band["high"]:.3f}
- 행동 테스트: {behaviour["cases"]}건 중 {behaviour["failures"]}건 실패

용도: 짧은 한국어 리뷰. 다른 분야의 글, 긴 글, 반어·비꼼에는 틀릴 수 있습니다. 사람에 대한 판단에는 쓰지 마세요.

## English
Tells positive from negative movie reviews. It learned from {training["lessons"]:,} reviews; everything was chosen on
{splits["dev"]["rows"]:,} reviews of dev (epoch, calibration, neutral band), and {splits["test"]["rows"]:,} of test were
touched once for this version. {training["parameters"]:,} parameters; best epoch {training["best_epoch"]};
{pretraining["seconds"]:.0f} s of pretraining and {training["seconds"]:.0f} s of training in {training["precision"]}.

| learned from / 학습 자료 | reviews |
|---|---|
{sources}

| figure / 지표 | test | 95 % (bootstrap) | dev |
|---|---|---|---|
{rows}

Against the character n-gram linear baseline ({baseline["accuracy"]:.4f}): {100 * baseline["difference"]:+.2f} points
({100 * baseline["difference_low"]:+.2f} to {100 * baseline["difference_high"]:+.2f}), McNemar
p = {baseline["mcnemar_p"]:.2g}. Calibrated by temperature {evaluation["calibration"]["temperature"]:.3f} and
bias {evaluation["calibration"]["bias"]:+.3f}; called neutral between P(positive)
{band["low"]:.3f} and {band["high"]:.3f}. Behaviour suite: {behaviour["failures"]} of {behaviour["cases"]} cases fail.

| part of test / 구간 | rows | accuracy |
|---|---|---|
{slices}

Meant for short Korean reviews. Other subjects, long texts and sarcasm are where it errs; it judges texts, never people.
"""
