from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    PreTrainedModel,
)

from training.first_token import with_first_token_only

SHAPE: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 96,
}
IDS = torch.arange(3, 33).view(3, 10)
MASK = torch.tensor([[1] * 10, [1] * 7 + [0] * 3, [1] * 2 + [0] * 8])
Pair = tuple[PreTrainedModel, PreTrainedModel]


def electra() -> PreTrainedModel:
    return ElectraForSequenceClassification(ElectraConfig(**SHAPE, embedding_size=16))


def bert() -> PreTrainedModel:
    return BertForSequenceClassification(BertConfig(**SHAPE))


@pytest.fixture(params=["electra", "bert"])
def both(request: pytest.FixtureRequest) -> Pair:
    """A model that computes everything, and its copy that does not."""
    torch.manual_seed(0)
    whole = {"electra": electra, "bert": bert}[request.param]().eval()
    first = deepcopy(whole)
    with_first_token_only(first)
    return whole, first


def logits(model: PreTrainedModel, mask: Tensor) -> Tensor:
    found: Tensor = model(input_ids=IDS, attention_mask=mask).logits
    return found


@pytest.mark.parametrize("mask", [MASK, torch.ones_like(MASK)])
def test_answers_and_gradients_are_the_same(both: Pair, mask: Tensor) -> None:
    gradients = []
    for model in both:
        logits(model, mask).square().sum().backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert torch.allclose(logits(both[0], mask), logits(both[1], mask), atol=1e-6)
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        other = gradients[1][name]
        assert gradient is not None
        assert other is not None
        assert torch.allclose(gradient, other, atol=1e-6), name


def test_the_last_layer_computes_the_first_token_alone(both: Pair) -> None:
    counted = []
    for model in both:
        with FlopCounterMode(display=False) as counter:
            logits(model, MASK)
        counted.append(counter.get_total_flops())
    saved_weights = SHAPE["hidden_size"] * (2 * SHAPE["hidden_size"] + 2 * SHAPE["intermediate_size"])
    assert counted[0] - counted[1] >= 2 * saved_weights * (IDS.numel() - len(IDS))


def test_a_copy_is_its_own(both: Pair) -> None:
    copied = deepcopy(both[1])
    with torch.no_grad():
        for parameter in both[1].parameters():
            parameter.zero_()
    assert torch.allclose(logits(copied, MASK), logits(both[0], MASK), atol=1e-6)
    assert copied.state_dict().keys() == both[0].state_dict().keys()


def test_attention_dropout_is_that_of_the_model(both: Pair) -> None:
    torch.manual_seed(1)
    model = both[1].train()
    assert not torch.equal(logits(model, MASK), logits(model, MASK))


def test_another_attention_is_left_alone(both: Pair) -> None:
    other = deepcopy(both[0])
    other.config._attn_implementation = "flash_attention_2"
    with_first_token_only(other)
    assert not any("forward" in vars(part) for part in other.modules())
