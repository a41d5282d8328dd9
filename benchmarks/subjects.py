"""What the benchmarks of training train: shapes of models, and reviews to train them on."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import ElectraConfig, ElectraForSequenceClassification, PreTrainedModel

from data import nsmc
from data.encode import Encoder
from data.labels import NAMES
from data.split import dev_rows
from data.text import clean
from training.config import Architecture, electra_settings
from training.finetune import SpecialIds, Split
from training.vocabulary import train_tokenizer

SAMPLE = Path("data/sample")
SOURCE_VARIABLE = "NSMC_SOURCE"
MAX_LENGTH_TOKENS = 128
"""What the padded way pads to; no way reads more of a review."""
SEED = 42


@dataclass(frozen=True, slots=True)
class Shape:
    """A model, its dropout and the settings it is trained with."""

    architecture: Architecture
    batch_tokens: int
    learning_rate: float
    dropout: float = 0.1
    attention_dropout: float = 0.1

    def model(self, seed: int) -> PreTrainedModel:
        """Random weights, the same for the same seed."""
        torch.manual_seed(seed)
        config = ElectraConfig(**electra_settings(self.architecture, self.dropout, self.attention_dropout))
        config.num_labels = len(NAMES)
        return ElectraForSequenceClassification(config)


SHAPES = {
    "compact": Shape(
        Architecture(layers=3, hidden=192, heads=3, embedding=128, feed_forward=768, vocabulary=16_000),
        batch_tokens=1280,
        learning_rate=5e-4,
        attention_dropout=0.0,
    ),
    # KoELECTRA small v3
    "small": Shape(
        Architecture(layers=12, hidden=256, heads=4, embedding=128, feed_forward=1024, vocabulary=35_000),
        batch_tokens=2048,
        learning_rate=1e-4,
    ),
    # KoELECTRA base v3
    "base": Shape(
        Architecture(layers=12, hidden=768, heads=12, embedding=768, feed_forward=3072, vocabulary=35_000),
        batch_tokens=2048,
        learning_rate=5e-5,
    ),
}


@dataclass(frozen=True, slots=True)
class Corpus:
    """Reviews as token ids: train in a random order, and dev, which shares no text with it."""

    origin: str
    train: Split
    dev: Split
    ids: SpecialIds
    tokenizer_json: str

    @classmethod
    def load(cls, folder: Path, vocabulary: int) -> "Corpus":
        """From NSMC's files, or others like them, in ``folder``; the vocabulary is learned from train."""
        reviews = [(clean(review.text), review.label) for review in nsmc.read(folder / "ratings_train.txt")]
        reviews = [review for review in reviews if review[0]]
        texts, labels = [text for text, _ in reviews], [label for _, label in reviews]
        dev = dev_rows(texts, labels, fraction=0.05, seed=SEED)
        rest = np.setdiff1d(np.arange(len(texts)), dev)
        np.random.default_rng(SEED).shuffle(rest)
        tokenizer_json = train_tokenizer([texts[row] for row in rest], vocabulary).to_str()
        encoder = Encoder(tokenizer_json, MAX_LENGTH_TOKENS)

        def split(rows: Sequence[int]) -> Split:
            return Split(encoder.encode([texts[row] for row in rows], truncate=True), [labels[row] for row in rows])

        own = " (the own sample, which is no measure of quality)" if folder == SAMPLE else ""
        return cls(f"{folder}{own}", split(rest.tolist()), split(dev), SpecialIds.of(encoder), tokenizer_json)

    def embeddings(self, shape: Shape) -> Tensor:
        """(V, E) of the tokens, counted in train (``training.embeddings``)."""
        from training.embeddings import cooccurrence_embeddings  # scikit-learn, which a GPU check does without

        rows = [row[1:-1] for row in self.train.rows]  # without [CLS] and [SEP]
        size = shape.architecture
        return torch.from_numpy(cooccurrence_embeddings(rows, size.vocabulary, size.embedding, SEED))

    def some(self, count: int, start: int = 0) -> Split:
        """So many reviews of train, from ``start`` on, and from its beginning again where it ends."""
        rows = [row % len(self.train.rows) for row in range(start, start + count)]
        return Split([self.train.rows[row] for row in rows], [self.train.positive[row] for row in rows])


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Floating point operations of a training step, forward and backward: two and four a weight and position.

    ``body`` weights are multiplied with every position, ``head`` weights with the first of a review. ``last`` are the
    weights of the last layer of which the head needs the first position's product alone, though transformers computes
    all. Attention adds ``attention`` in each of ``layers`` for each position and each that it attends to. Lookups,
    normalization and the like are left out.
    """

    body: int
    last: int
    head: int
    attention: int
    layers: int
    parameters: int

    @classmethod
    def of(cls, shape: Shape) -> "Arithmetic":
        """That of a model of this shape."""
        model = shape.model(SEED)
        linear = {name: part.weight.numel() for name, part in model.named_modules() if isinstance(part, nn.Linear)}
        layers = shape.architecture.layers
        head = sum(count for name, count in linear.items() if name.startswith("classifier"))
        last = sum(
            count
            for name, count in linear.items()
            if f".layer.{layers - 1}." in name and not name.endswith((".key", ".value"))
        )
        return cls(
            body=sum(linear.values()) - head - last,
            last=last,
            head=head,
            attention=12 * shape.architecture.hidden,
            layers=layers,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
        )

    def needed(self, reviews: int, positions: int, squares: int) -> float:
        """For ``reviews`` that have so many ``positions``, and squared lengths of that sum."""
        weights = self.body * positions + (self.last + self.head) * reviews
        return 6.0 * weights + float(self.attention) * ((self.layers - 1) * squares + positions)

    def whole(self, reviews: int, positions: int, squares: int) -> float:
        """The same where the last layer computes all positions."""
        weights = (self.body + self.last) * positions + self.head * reviews
        return 6.0 * weights + float(self.attention) * self.layers * squares


def nsmc_folder(given: Path | None) -> Path:
    """Where the reviews are. Raises SystemExit where that is no folder with NSMC's files."""
    folder = given or Path(os.environ.get(SOURCE_VARIABLE) or SAMPLE)
    if not (folder / "ratings_train.txt").is_file():
        raise SystemExit(f"{folder} has no ratings_train.txt; --nsmc or {SOURCE_VARIABLE} must name a folder with it")
    return folder
