"""Token embeddings from which tokens stand near each other: a start for a model that has no pretrained weights.

The positive pointwise mutual information of tokens within a window, cut down by a singular value decomposition (Levy,
Goldberg and Dagan, 2015, https://aclanthology.org/Q15-1016), from which they take context distribution smoothing, the
weight by distance and the square root of the singular values.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix, csr_matrix
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from training.errors import ConfigError

FloatArray = npt.NDArray[np.float32]

WINDOW = 4
"""Tokens so far apart still count, as 1 / distance."""
SMOOTHING = 0.75
"""Exponent of how often a context occurs: rare contexts say less than their PMI."""
ITERATIONS = 3


def cooccurrence_embeddings(rows: Sequence[Sequence[int]], vocabulary: int, dimensions: int, seed: int) -> FloatArray:
    """(vocabulary, dimensions) embeddings of the token ids in ``rows``, the same every time.

    Each has a root mean square of 1; those of tokens that never stand beside another are zeros. ``seed`` draws where
    the decomposition starts. Raises ConfigError for more dimensions than tokens.
    """
    if dimensions > vocabulary:
        raise ConfigError(
            f"architecture.embedding is {dimensions}; it must be at most the {vocabulary} tokens there are"
        )
    information = _positive_information(_cooccurrences(rows, vocabulary))
    # on several threads the sums round as the threads fall
    with threadpool_limits(1):
        left, strength, _ = randomized_svd(information, dimensions, n_iter=ITERATIONS, random_state=seed)
    embeddings = left * np.sqrt(strength)
    size = np.sqrt((embeddings**2).mean(axis=1, keepdims=True))
    found = information.getnnz(axis=1) > 0
    return np.where(found[:, None], embeddings / np.maximum(size, np.finfo(np.float32).tiny), 0.0).astype(np.float32)


def _cooccurrences(rows: Sequence[Sequence[int]], vocabulary: int) -> csr_matrix:
    """(V, V), symmetric: how often two tokens stand in one row, weighed by their distance."""
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    tokens = np.fromiter((token for row in rows for token in row), dtype=np.int32, count=int(lengths.sum()))
    owner = np.repeat(np.arange(len(rows), dtype=np.int32), lengths)
    after = csr_matrix((vocabulary, vocabulary))
    for distance in range(1, WINDOW + 1):
        together = owner[distance:] == owner[:-distance]
        pair = tokens[:-distance][together], tokens[distance:][together]
        after += coo_matrix((np.full(len(pair[0]), 1.0 / distance), pair), shape=after.shape).tocsr()
    return csr_matrix(after + after.T)


def _positive_information(counts: csr_matrix) -> csr_matrix:
    """(V, V): log(P(a, b) / (P(a) P(b))) where it is above 0, with P(b) smoothed."""
    pairs = counts.tocoo()
    frequency = np.asarray(counts.sum(axis=1)).ravel()
    context = frequency**SMOOTHING
    information = np.log(pairs.data * context.sum() / (frequency[pairs.row] * context[pairs.col]))
    positive = information > 0.0
    return csr_matrix(
        (information[positive], (pairs.row[positive], pairs.col[positive])), shape=counts.shape, dtype=np.float32
    )
