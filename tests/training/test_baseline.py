import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from training import baseline
from training.baseline import LinearBaseline, cross_fitted
from training.errors import ConfigError

Array = npt.NDArray[Any]
GOOD, BAD = ("재미있어요", "최고예요", "감동이에요"), ("지루해요", "별로예요", "아까워요")
TEXTS = [
    f"{subject} {verdict}{mark}"
    for subject in ("영화", "연기", "음악", "결말")
    for verdict in (*GOOD, *BAD)
    for mark in ("", "!", "ㅋㅋ")
]
LABELS = np.array([int(any(verdict in text for verdict in GOOD)) for text in TEXTS])


@pytest.fixture(autouse=True)
def few_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "FEATURES", 2**14)


def test_margins_are_signed_log_odds_and_carry_over_to_words_around() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = LinearBaseline().fit(TEXTS, LABELS)
        margins = model.margin(["배우 최고예요", "배우 별로예요", ""])
    assert margins.shape == (3,)
    assert margins.dtype == np.float64
    assert margins[0] > 0.5 > -0.5 > margins[1]
    assert margins[1] < margins[2] < margins[0]


def test_the_same_texts_give_the_same_margins() -> None:
    first, second = (LinearBaseline().fit(TEXTS, LABELS).margin(TEXTS) for _ in range(2))
    assert np.array_equal(first, second)


def test_an_ngram_counts_once_however_often_it_stands() -> None:
    model = LinearBaseline().fit(TEXTS, LABELS)
    once, twice = model.margin(["최고예요 영화", "최고예요 최고예요 영화"])
    assert once == twice


@pytest.mark.parametrize("target", [0, 1])
def test_labels_that_teach_nothing_are_refused(target: int) -> None:
    with pytest.raises(ConfigError, match=f"all targets to learn from are {target}"):
        LinearBaseline().fit(TEXTS[:2], np.array([target, target]))


def test_a_doubtful_label_counts_as_a_part_of_either() -> None:
    doubtful = LinearBaseline().fit([*TEXTS, "배우 글쎄요"], np.array([*LABELS, 0.25]))
    doubled = LinearBaseline().fit([*TEXTS, "배우 글쎄요"], np.array([*LABELS, 0.75]))
    assert doubtful.margin(["배우 글쎄요"]) < doubled.margin(["배우 글쎄요"])
    sure = LinearBaseline().fit([*TEXTS, "배우 글쎄요"], np.array([*LABELS, 0]))
    assert sure.margin(["배우 글쎄요"]) < doubtful.margin(["배우 글쎄요"])


def test_a_margin_out_of_fold_is_by_a_model_that_never_saw_the_text() -> None:
    margins = cross_fitted(TEXTS, LABELS, folds=3, seed=0)
    fold = baseline._folds(TEXTS, LABELS, 3, 0)
    raw = np.empty(len(TEXTS))
    for number in range(3):
        inside, outside = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        model = LinearBaseline().fit([TEXTS[row] for row in outside], LABELS[outside])
        raw[inside] = model.margin([TEXTS[row] for row in inside])
    scale, shift = np.polyfit(raw, margins, 1)
    assert scale > 0.0
    assert margins == pytest.approx(scale * raw + shift)
    assert ((margins > 0) == LABELS).mean() > 0.9


def test_margins_are_calibrated_on_the_rows_whose_label_is_certain() -> None:
    generator = np.random.default_rng(1)
    good = generator.random(3000) < 0.5
    labels = np.where(generator.random(3000) < 0.8, good, ~good).astype(float)  # one in five contradicts its text
    texts = [f"{GOOD[row % 3] if one else BAD[row % 3]} {row}" for row, one in enumerate(good)]
    others, targets = [f"{GOOD[row % 3]} 음 {row}" for row in range(1500)], np.full(1500, 0.9)  # another prior
    margins = cross_fitted([*texts, *others], np.concatenate([labels, targets]), folds=3, seed=0)[:3000]
    positive = 1.0 / (1.0 + np.exp(-margins))
    assert positive.mean() == pytest.approx(labels.mean(), abs=1e-3)
    assert positive[good].mean() == pytest.approx(labels[good].mean(), abs=0.03)


def test_memory_is_no_help_out_of_fold() -> None:
    generator = np.random.default_rng(0)
    words = ["".join(chr(0xAC00 + code) for code in generator.integers(0, 11_172, 4)) for _ in range(60)]
    labels = generator.permutation([0, 1] * 30)  # nothing to learn but by heart
    texts, twice = words * 2, np.tile(labels, 2)
    assert ((LinearBaseline().fit(texts, twice).margin(texts) > 0) == twice).all()
    margins = cross_fitted(texts, twice, folds=3, seed=0)
    assert ((margins > 0) == twice).mean() < 0.75
    assert np.array_equal(margins[:60], margins[60:])  # a text's copies are in one fold


def test_folds_are_even_in_size_and_label_and_follow_the_seed() -> None:
    fold = baseline._folds(TEXTS, LABELS, 3, 0)
    assert np.bincount(fold).tolist() == [24, 24, 24]
    assert np.bincount(fold, weights=LABELS).tolist() == [12, 12, 12]
    assert np.array_equal(fold, baseline._folds(TEXTS, LABELS, 3, 0))
    assert not np.array_equal(fold, baseline._folds(TEXTS, LABELS, 3, 1))


@pytest.mark.parametrize("folds", [0, 1, 3])
def test_folds_need_texts_to_fill_them(folds: int) -> None:
    with pytest.raises(ConfigError, match=f"folds is {folds}; it must be from 2 to the 2 distinct texts"):
        cross_fitted(["좋아요", "별로", "별로"], np.array([1, 0, 0]), folds, seed=0)
