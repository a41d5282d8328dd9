import pytest
import torch

from tests.models import TEXTS
from training import model as models
from training.config import Architecture, Backbone, Training
from training.optimizer import linear_schedule, optimizer_for

DEEP = Backbone(
    "deep", architecture=Architecture(layers=3, hidden=32, heads=2, embedding=16, feed_forward=64, vocabulary=600)
)


def rates(layer_decay: float) -> dict[str, tuple[float, float]]:
    model = models.build(DEEP, TEXTS).model
    optimizer = optimizer_for(model, Training(learning_rate=1e-3, weight_decay=0.1, layer_decay=layer_decay))
    by_id = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    names = {name: by_id[id(parameter)] for name, parameter in model.named_parameters()}
    assert len(by_id) == len(names)
    return names


def test_depth_decides_the_rate() -> None:
    found = rates(layer_decay=0.5)
    expected = {
        "classifier.dense.weight": 1e-3,
        "electra.encoder.layer.2.output.dense.weight": 5e-4,
        "electra.encoder.layer.0.output.dense.weight": 1.25e-4,
        "electra.embeddings.word_embeddings.weight": 6.25e-5,
        "electra.embeddings_project.weight": 6.25e-5,
    }
    assert {name: found[name][0] for name in expected} == pytest.approx(expected)


def test_without_layer_decay_all_learn_at_the_same_rate() -> None:
    assert {rate for rate, _ in rates(layer_decay=1.0).values()} == {1e-3}


def test_biases_and_normalization_do_not_decay() -> None:
    for name, (_, decay) in rates(layer_decay=1.0).items():
        assert decay == (0.0 if name.endswith("bias") or "LayerNorm" in name else 0.1), name


def test_the_rate_rises_then_falls_to_nothing() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = linear_schedule(optimizer, warmup_steps=3, total_steps=7)
    seen = []
    for _ in range(7):
        seen.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert seen == pytest.approx([0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25])
    assert schedule.get_last_lr() == [0.0]
