"""The linear baseline that a transformer has to beat, on character n-grams; its margins can teach one, too."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from training.calibrate import fit_calibration
from training.errors import ConfigError

Array = npt.NDArray[np.integer | np.floating]
DoubleArray = npt.NDArray[np.float64]

NGRAMS = (1, 5)
"""Shortest and longest n-gram, in characters; they do not reach over a word's ends (``char_wb``)."""
FEATURES = 2**21
INVERSE_PENALTY = 2.0
MAX_ITERATIONS = 1000


class LinearBaseline:
    """Logistic regression on the TF-IDF of which character n-grams a text holds.

    n-gram presence with a linear classifier is the baseline of Wang and Manning, 2012, "Baselines and Bigrams: Simple,
    Good Sentiment and Topic Classification"; characters instead of words spare Korean a morphological analyser. It is
    deterministic and learns on one core.
    """

    def __init__(self) -> None:
        self._frequency = TfidfTransformer()
        # liblinear's primal Newton method: no chance in it, hence no seed
        self._regression = LogisticRegression(C=INVERSE_PENALTY, solver="liblinear", max_iter=MAX_ITERATIONS)

    def fit(self, texts: Sequence[str], targets: Array) -> "LinearBaseline":
        """Learn from ``texts`` with ``targets`` (N,), each P(label 1), and return itself. Raises ConfigError."""
        return self._fit(_presence(texts), targets)

    def margin(self, texts: Sequence[str]) -> DoubleArray:
        """(N,) log odds of label 1, uncalibrated, once fitted; a text that holds no character gets the intercept."""
        return self._margin(_presence(texts))

    def _fit(self, presence: csr_matrix, targets: Array) -> "LinearBaseline":
        # a row whose label is not certain counts as a part of one of either label
        rows = np.concatenate([np.flatnonzero(targets < 1.0), np.flatnonzero(targets > 0.0)])
        labels = np.arange(len(rows)) >= np.count_nonzero(targets < 1.0)
        weights = np.where(labels, targets[rows], 1.0 - targets[rows])
        if labels.all() or not labels.any():
            raise ConfigError(f"all targets to learn from are {float(targets[0]):g}; they must not be all 0 or all 1")
        features = self._frequency.fit_transform(presence)
        # on several threads liblinear's sums round as the threads fall, and small ones take longer
        with threadpool_limits(1, user_api="blas"):
            self._regression.fit(features[rows], labels, sample_weight=weights)
        return self

    def _margin(self, presence: csr_matrix) -> DoubleArray:
        return np.asarray(self._regression.decision_function(self._frequency.transform(presence)), dtype=np.float64)


def cross_fitted(texts: Sequence[str], targets: Array, folds: int, seed: int) -> DoubleArray:
    """(N,) log odds of label 1, each by a model that never saw the text; ``targets`` (N,) are P(label 1).

    One model is fitted for each fold on the texts outside it. Rows of the same text share a fold; folds are even in
    distinct texts and in the label that a text more likely has. The margins are calibrated on the rows that have a
    certain label (Platt, 1999): so those that have not may have another class prior. Raises ConfigError.
    """
    fold = _folds(texts, targets, folds, seed)
    presence = _presence(texts)
    margins = np.empty(len(texts))

    def judge(number: int) -> None:
        inside, outside = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        margins[inside] = LinearBaseline()._fit(presence[outside], targets[outside])._margin(presence[inside])

    # liblinear lets go of the interpreter lock; the outer limit holds until the last fold has ended
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(min(folds, os.cpu_count() or 1)) as pool:
        list(pool.map(judge, range(folds)))
    certain = (targets == 0.0) | (targets == 1.0)
    return fit_calibration(margins[certain], targets[certain]).log_odds(margins)


def _folds(texts: Sequence[str], targets: Array, folds: int, seed: int) -> npt.NDArray[np.int_]:
    """The fold of each row, from 0: distinct texts are shuffled, lined up by label and dealt out in turn."""
    distinct, first, place = np.unique(np.asarray(texts, dtype=object), return_index=True, return_inverse=True)
    if not 2 <= folds <= len(distinct):
        raise ConfigError(f"folds is {folds}; it must be from 2 to the {len(distinct)} distinct texts")
    shuffled = np.random.default_rng(seed).permutation(len(distinct))
    lined_up = shuffled[np.argsort(targets[first[shuffled]] > 0.5, kind="stable")]
    dealt = np.empty(len(distinct), dtype=int)
    dealt[lined_up] = np.arange(len(distinct)) % folds
    return np.asarray(dealt[place])


def _presence(texts: Sequence[str]) -> csr_matrix:
    """(N, FEATURES) 0 or 1: the character n-grams that each text holds, hashed, so that no vocabulary is kept."""
    return HashingVectorizer(
        analyzer="char_wb",
        ngram_range=NGRAMS,
        n_features=FEATURES,
        alternate_sign=False,
        norm=None,
        binary=True,
        dtype=np.float32,
    ).transform(texts)
