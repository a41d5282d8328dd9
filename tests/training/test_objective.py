import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from training.config import Training
from training.objective import Objective, soft_cross_entropy, symmetric_divergence


class Linear(nn.Module):
    """Logits from the mean of embeddings, as a transformers model answers."""

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embedding, self.head, self.noise = nn.Embedding(10, 4), nn.Linear(4, 2), noise

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        logits = self.head(self.embedding(input_ids).mean(dim=1))
        return SimpleNamespace(logits=logits + self.noise * torch.randn_like(logits))


INPUTS = {"input_ids": torch.tensor([[2, 5, 3], [2, 6, 3]]), "attention_mask": torch.ones(2, 3, dtype=torch.long)}
TARGET = torch.tensor([1.0, 0.25])


def objective(**switches: float) -> Objective:
    return Objective(Training(**switches), hidden_id=4, kept_ids=frozenset({0, 2, 3}))  # type: ignore[arg-type]


def test_soft_cross_entropy_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)]])  # P(positive) = 3/4
    assert soft_cross_entropy(logits, torch.tensor([1.0])).item() == pytest.approx(-math.log(0.75))
    expected = -(0.25 * math.log(0.75) + 0.75 * math.log(0.25))
    assert soft_cross_entropy(logits, torch.tensor([0.25])).item() == pytest.approx(expected)


def test_divergence_is_symmetric_and_zero_for_equals() -> None:
    one, other = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, -0.3]])
    assert symmetric_divergence(one, one).item() == 0.0
    assert symmetric_divergence(one, other).item() == pytest.approx(symmetric_divergence(other, one).item())
    p, q = torch.softmax(one, 1), torch.softmax(other, 1)
    expected = ((p * (p / q).log()).sum() + (q * (q / p).log()).sum()) / 2
    assert symmetric_divergence(one, other).item() == pytest.approx(expected.item(), rel=1e-5)


def test_label_smoothing_draws_targets_to_the_middle() -> None:
    model = Linear()
    found = objective(label_smoothing=0.2).losses(model, INPUTS, TARGET)
    assert torch.allclose(found, soft_cross_entropy(model(**INPUTS).logits, TARGET * 0.8 + 0.1))


def test_r_drop_adds_the_disagreement_of_two_passes() -> None:
    plain = objective(r_drop=4.0).losses(Linear(), INPUTS, TARGET)
    assert torch.allclose(plain, objective().losses(Linear(), INPUTS, TARGET)), "equal passes do not disagree"
    noisy = Linear(noise=1.0)
    torch.manual_seed(0)
    weak = objective(r_drop=1e-6).losses(noisy, INPUTS, TARGET)
    torch.manual_seed(0)
    strong = objective(r_drop=4.0).losses(noisy, INPUTS, TARGET)
    assert (strong > weak).all()


def test_hidden_tokens_are_never_the_special_ones() -> None:
    ids = torch.tensor([[2, *range(5, 10), 3, 0]]).repeat(2_000, 1)
    torch.manual_seed(0)
    hidden = objective(token_dropout=0.25).hide({"input_ids": ids, "attention_mask": torch.ones_like(ids)})["input_ids"]
    assert torch.equal(hidden[:, [0, 6, 7]], ids[:, [0, 6, 7]])
    share = (hidden[:, 1:6] == 4).float().mean().item()
    assert share == pytest.approx(0.25, abs=0.02)
    assert ((hidden == ids) | (hidden == 4)).all()


def test_adversarial_loss_is_taken_uphill_and_the_embedding_comes_back() -> None:
    model = Linear()
    before = model.embedding.weight.detach().clone()
    seen: list[float] = []

    def backward(losses: Tensor) -> None:
        seen.append(losses.sum().item())
        losses.sum().backward()

    objective(adversarial=0.5).learn(model, model.embedding.weight, INPUTS, TARGET, backward)
    assert len(seen) == 2
    assert seen[1] > seen[0]
    assert torch.allclose(model.embedding.weight, before)


def test_without_switches_there_is_one_pass() -> None:
    model, seen = Linear(), []
    objective().learn(model, model.embedding.weight, INPUTS, TARGET, lambda losses: seen.append(losses))
    assert len(seen) == 1
