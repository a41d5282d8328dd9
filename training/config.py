"""Settings of a model and of its training: frozen, range-checked when built, units in the names."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from training.errors import ConfigError

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Embeddings = Literal["random", "cooccurrence"]
_PRECISIONS, _EMBEDDINGS = get_args(Precision), get_args(Embeddings)


def _require(valid: bool, field: str, value: object, allowed: str) -> None:
    if not valid:
        raise ConfigError(f"{field} is {value!r}; it must be {allowed}")


@dataclass(frozen=True, slots=True)
class Architecture:
    """Shape of an ELECTRA discriminator that is trained from scratch, and of its vocabulary.

    ``initializer_range`` is the standard deviation of its first weights. BERT's 0.02 is meant for 768 wide layers;
    pretraining of narrow ones needs about 1/sqrt(hidden) to get off the ground. ``embeddings`` of tokens are drawn
    like all other weights, or begin, at the same size, where counting ends (``training.embeddings``).
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    layers: int
    hidden: int
    heads: int
    embedding: int
    feed_forward: int
    vocabulary: int
    positions: int = 512
    initializer_range: float = 0.02
    embeddings: Embeddings = "random"

    def __post_init__(self) -> None:
        for name in ("layers", "hidden", "heads", "embedding", "feed_forward"):
            _require(getattr(self, name) >= 1, f"architecture.{name}", getattr(self, name), "at least 1")
        _require(self.hidden % self.heads == 0, "architecture.hidden", self.hidden, f"a multiple of {self.heads} heads")
        _require(self.vocabulary >= 256, "architecture.vocabulary", self.vocabulary, "at least 256")
        _require(self.positions >= 3, "architecture.positions", self.positions, "at least 3")
        name = "architecture.initializer_range"
        _require(0.0 < self.initializer_range <= 1.0, name, self.initializer_range, "above 0 and at most 1")
        allowed = f"one of {', '.join(_EMBEDDINGS)}"
        _require(self.embeddings in _EMBEDDINGS, "architecture.embeddings", self.embeddings, allowed)


@dataclass(frozen=True, slots=True)
class Backbone:
    """What training starts from: a name on the hub, a folder, or, with ``architecture``, nothing.

    ``name`` is always given: it is what the model is called in the registry and in ``/model-info``. ``sha256`` pins
    the file of weights. ``seed`` draws what is not pretrained; with ``keep_head`` the head is, too, as it is in a
    classifier that is trained further.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    revision: str = "main"
    folder: str | None = None
    sha256: str | None = None
    architecture: Architecture | None = None
    dropout: float = 0.1
    attention_dropout: float = 0.1
    keep_head: bool = False
    seed: int = 42

    def __post_init__(self) -> None:
        _require(bool(self.name.strip()), "backbone.name", self.name, "a hub name, or a name of your own")
        scratch = self.architecture is not None
        _require(not (scratch and self.folder), "backbone.folder", self.folder, "null beside backbone.architecture")
        _require(not (scratch and self.keep_head), "backbone.keep_head", True, "false beside backbone.architecture")
        for name in ("dropout", "attention_dropout"):
            _require(
                0.0 <= getattr(self, name) < 1.0, f"backbone.{name}", getattr(self, name), "at least 0 and below 1"
            )
        _require(0 <= self.seed < 2**32, "backbone.seed", self.seed, "in [0, 2**32)")


@dataclass(frozen=True, slots=True)
class Schedule:
    """How any training goes: its length, its steps, and what is kept on the way.

    ``batch_tokens`` counts the tokens, padding included, that one optimizer step takes over all processes;
    ``accumulation`` cuts each process's share of them into so many passes, for memory's sake. Neither changes what
    is learned. ``average_decay`` of 0 keeps no average of the weights; ``patience_epochs`` of 0 never stops early.
    ``section`` is what the settings are called in ``params.yaml`` and in messages.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    section: ClassVar[str] = "train"
    least_epochs: ClassVar[int] = 1

    epochs: int = 3
    batch_tokens: int = 1024
    accumulation: int = 1
    learning_rate: float = 5e-5
    warmup_fraction: float = 0.1
    weight_decay: float = 0.01
    layer_decay: float = 1.0
    clip_norm: float = 1.0
    average_decay: float = 0.0
    patience_epochs: int = 0
    precision: Precision = "auto"
    seed: int = 42
    log_every_steps: int = 50
    checkpoint_every_steps: int = 500

    def __post_init__(self) -> None:
        self._check("epochs", self.epochs >= self.least_epochs, f"at least {self.least_epochs}")
        for name in ("accumulation", "log_every_steps", "checkpoint_every_steps"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        self._check("batch_tokens", self.batch_tokens >= 16, "at least 16")
        self._check("learning_rate", 0.0 < self.learning_rate < 1.0, "above 0 and below 1")
        for name in ("warmup_fraction", "weight_decay", "average_decay"):
            self._check(name, 0.0 <= getattr(self, name) < 1.0, "in [0, 1)")
        self._check("layer_decay", 0.0 < self.layer_decay <= 1.0, "above 0 and at most 1")
        self._check("clip_norm", self.clip_norm > 0.0, "above 0")
        self._check("patience_epochs", self.patience_epochs >= 0, "at least 0")
        self._check("precision", self.precision in _PRECISIONS, f"one of {', '.join(_PRECISIONS)}")
        self._check("seed", 0 <= self.seed < 2**32, "in [0, 2**32)")

    def _check(self, field: str, valid: bool, allowed: str) -> None:
        _require(valid, f"{self.section}.{field}", getattr(self, field), allowed)


@dataclass(frozen=True, slots=True)
class Training(Schedule):
    """Settings of one fine-tuning; see ``training.objective`` for the switches, all of which are off at 0."""

    label_smoothing: float = 0.0
    r_drop: float = 0.0
    adversarial: float = 0.0
    token_dropout: float = 0.0

    def __post_init__(self) -> None:
        Schedule.__post_init__(self)
        for name in ("label_smoothing", "token_dropout"):
            self._check(name, 0.0 <= getattr(self, name) < 1.0, "in [0, 1)")
        for name in ("r_drop", "adversarial"):
            self._check(name, 0.0 <= getattr(self, name) <= 100.0, "in [0, 100]")


def electra_settings(architecture: Architecture, dropout: float, attention_dropout: float) -> dict[str, Any]:
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
        "attention_probs_dropout_prob": attention_dropout,
        "initializer_range": architecture.initializer_range,
    }
