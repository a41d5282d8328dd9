"""The linear baseline that a transformer has to beat, on character n-grams; its margins can teach one, too."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from training.errors import ConfigError

IntArray = npt.NDArray[np.integer]
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

    def fit(self, texts: Sequence[str], labels: IntArray) -> "LinearBaseline":
        """Learn from ``texts`` with ``labels`` (N,), 0 or 1, both present, and return itself. Raises ConfigError."""
        return self._fit(_presence(texts), labels)

    def margin(self, texts: Sequence[str]) -> DoubleArray:
        """(N,) log odds of label 1, uncalibrated, once fitted; a text that holds no character gets the intercept."""
        return self._margin(_presence(texts))

    def _fit(self, presence: csr_matrix, labels: IntArray) -> "LinearBaseline":
        found = np.unique(labels).tolist()
        if found != [0, 1]:
            raise ConfigError(f"labels to learn from are {found}; they must be 0 and 1, both present")
        # on several threads liblinear's sums round as the threads fall, and small ones take longer
        with threadpool_limits(1, user_api="blas"):
            self._regression.fit(self._frequency.fit_transform(presence), labels)
        return self

    def _margin(self, presence: csr_matrix) -> DoubleArray:
        return np.asarray(self._regression.decision_function(self._frequency.transform(presence)), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class CrossFitted:
    """Margins of texts by models that never saw them; ``margins`` (N,) is in the order of the texts given."""

    margins: DoubleArray
    models: tuple[LinearBaseline, ...]

    def margin(self, texts: Sequence[str]) -> DoubleArray:
        """(M,) mean margins of all models, for texts that none of them learned from."""
        presence = _presence(texts)
        return np.asarray(np.mean([model._margin(presence) for model in self.models], axis=0))


def cross_fitted(texts: Sequence[str], labels: IntArray, folds: int, seed: int) -> CrossFitted:
    """Fit one model for each fold on the texts outside it, and let it judge those inside.

    Rows of the same text share a fold, so that no model judges a text that it learned; folds are even in distinct
    texts and in the label that a text has first. ``labels`` (N,) are 0 or 1. Raises ConfigError.
    """
    fold = _folds(texts, labels, folds, seed)
    presence = _presence(texts)
    margins = np.empty(len(texts))
    models = []
    for number in range(folds):
        inside = np.flatnonzero(fold == number)
        model = LinearBaseline()._fit(presence[fold != number], labels[fold != number])
        margins[inside] = model._margin(presence[inside])
        models.append(model)
    return CrossFitted(margins, tuple(models))


def _folds(texts: Sequence[str], labels: IntArray, folds: int, seed: int) -> npt.NDArray[np.int_]:
    """The fold of each row, from 0: distinct texts are shuffled, lined up by label and dealt out in turn."""
    distinct, first, place = np.unique(np.asarray(texts, dtype=object), return_index=True, return_inverse=True)
    if not 2 <= folds <= len(distinct):
        raise ConfigError(f"folds is {folds}; it must be from 2 to the {len(distinct)} distinct texts")
    shuffled = np.random.default_rng(seed).permutation(len(distinct))
    lined_up = shuffled[np.argsort(labels[first[shuffled]], kind="stable")]
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
