import pytest

from training.config import Architecture, Backbone, Training
from training.errors import ConfigError

GOOD = {"layers": 1, "hidden": 32, "heads": 2, "embedding": 16, "feed_forward": 64, "vocabulary": 600}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": 0}, "architecture.layers is 0; it must be at least 1"),
        ({"heads": 3}, "architecture.hidden is 32; it must be a multiple of 3 heads"),
        ({"vocabulary": 10}, "architecture.vocabulary is 10"),
        ({"positions": 2}, "architecture.positions is 2"),
        ({"initializer_range": 0}, "architecture.initializer_range is 0"),
        ({"embeddings": "best"}, "architecture.embeddings is 'best'; it must be one of random, cooccurrence"),
    ],
)
def test_architectures_out_of_range(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Architecture(**{**GOOD, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "train.epochs is 0"),
        ({"batch_tokens": 15}, "train.batch_tokens is 15; it must be at least 16"),
        ({"layer_decay": 0.0}, "train.layer_decay is 0.0"),
        ({"average_decay": 1.0}, "train.average_decay is 1.0"),
        ({"patience_epochs": -1}, "train.patience_epochs is -1"),
        ({"checkpoint_every_steps": 0}, "train.checkpoint_every_steps is 0"),
        ({"r_drop": -1.0}, "train.r_drop is -1.0"),
        ({"token_dropout": 1.0}, "train.token_dropout is 1.0"),
        ({"learning_rate": 0.0}, "train.learning_rate is 0.0; it must be above 0"),
        ({"warmup_fraction": 1.0}, "train.warmup_fraction"),
        ({"weight_decay": -0.1}, "train.weight_decay"),
        ({"clip_norm": 0.0}, "train.clip_norm"),
        ({"precision": "int4"}, "train.precision is 'int4'; it must be one of auto, fp32, bf16, fp16"),
        ({"seed": -1}, "train.seed"),
    ],
)
def test_trainings_out_of_range(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Training(**changes)  # type: ignore[arg-type]


def test_backbones_out_of_range() -> None:
    with pytest.raises(ConfigError, match=r"backbone\.name"):
        Backbone(" ")
    with pytest.raises(ConfigError, match=r"backbone\.dropout is 1\.0"):
        Backbone("x", dropout=1.0)
    with pytest.raises(ConfigError, match=r"backbone\.attention_dropout is -0\.1"):
        Backbone("x", attention_dropout=-0.1)
