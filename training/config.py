"""Settings of a model and of its training: frozen, range-checked when built, units in the names."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from training.errors import ConfigError

Precision = Literal["auto", "fp32", "bf16", "fp16"]
_PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def _require(valid: bool, field: str, value: object, allowed: str) -> None:
    if not valid:
        raise ConfigError(f"{field} is {value!r}; it must be {allowed}")


@dataclass(frozen=True, slots=True)
class Architecture:
    """Shape of an ELECTRA discriminator that is trained from scratch, and of its vocabulary."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    layers: int
    hidden: int
    heads: int
    embedding: int
    feed_forward: int
    vocabulary: int
    positions: int = 512

    def __post_init__(self) -> None:
        for name in ("layers", "hidden", "heads", "embedding", "feed_forward"):
            _require(getattr(self, name) >= 1, f"architecture.{name}", getattr(self, name), "at least 1")
        _require(self.hidden % self.heads == 0, "architecture.hidden", self.hidden, f"a multiple of {self.heads} heads")
        _require(self.vocabulary >= 256, "architecture.vocabulary", self.vocabulary, "at least 256")
        _require(self.positions >= 3, "architecture.positions", self.positions, "at least 3")


@dataclass(frozen=True, slots=True)
class Backbone:
    """What training starts from: a name on the hub (or a folder), or, with ``architecture``, nothing.

    ``name`` is always given: it is what the model is called in the registry and in ``/model-info``.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    revision: str = "main"
    architecture: Architecture | None = None
    dropout: float = 0.1

    def __post_init__(self) -> None:
        _require(bool(self.name.strip()), "backbone.name", self.name, "a hub name, a folder, or a name of your own")
        _require(0.0 <= self.dropout < 1.0, "backbone.dropout", self.dropout, "at least 0 and below 1")

    @property
    def from_scratch(self) -> bool:
        """Whether there are no weights to start from."""
        return self.architecture is not None


@dataclass(frozen=True, slots=True)
class Training:
    """Settings of one fine-tuning.

    ``batch_size`` counts the reviews that one optimizer step takes on one process.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 5e-5
    warmup_fraction: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    precision: Precision = "auto"
    seed: int = 42
    log_every_steps: int = 50

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "log_every_steps"):
            _require(getattr(self, name) >= 1, f"train.{name}", getattr(self, name), "at least 1")
        _require(0.0 < self.learning_rate < 1.0, "train.learning_rate", self.learning_rate, "above 0 and below 1")
        _require(0.0 <= self.warmup_fraction < 1.0, "train.warmup_fraction", self.warmup_fraction, "in [0, 1)")
        _require(0.0 <= self.weight_decay < 1.0, "train.weight_decay", self.weight_decay, "in [0, 1)")
        _require(self.clip_norm > 0.0, "train.clip_norm", self.clip_norm, "above 0")
        _require(self.precision in _PRECISIONS, "train.precision", self.precision, f"one of {', '.join(_PRECISIONS)}")
        _require(0 <= self.seed < 2**32, "train.seed", self.seed, "in [0, 2**32)")


def electra_settings(architecture: Architecture, dropout: float) -> dict[str, Any]:
    """``architecture`` in the words of transformers' ``ElectraConfig``."""
    return {
        "vocab_size": architecture.vocabulary,
        "embedding_size": architecture.embedding,
        "hidden_size": architecture.hidden,
        "num_hidden_layers": architecture.layers,
        "num_attention_heads": architecture.heads,
        "intermediate_size": architecture.feed_forward,
        "max_position_embeddings": architecture.positions,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }
