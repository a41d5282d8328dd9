import pytest
import torch
from torch import nn

from training.dropout import ByteDropout, with_byte_dropout


def test_it_drops_its_share_and_keeps_the_expectation() -> None:
    torch.manual_seed(0)
    dropout, x = ByteDropout(0.1), torch.ones(1_000, 1_001)
    y = dropout(x)
    assert float((y == 0).float().mean()) == pytest.approx(26 / 256, abs=1e-3)
    assert float(y.mean()) == pytest.approx(1.0, abs=2e-3)
    assert y.unique().tolist() == pytest.approx([0.0, 256 / 230])


def test_the_gradient_passes_where_the_value_did() -> None:
    torch.manual_seed(0)
    x = torch.randn(37, 5, requires_grad=True)
    y = ByteDropout(0.5)(x)
    y.backward(torch.ones_like(y))
    assert x.grad is not None
    assert torch.equal(x.grad, torch.where(y == 0, 0.0, 2.0))


def test_evaluation_and_zero_change_nothing() -> None:
    x = torch.randn(3, 4)
    assert ByteDropout(0.5).eval()(x) is x
    assert ByteDropout(0.0)(x) is x


def test_the_same_seed_drops_the_same_and_the_next_call_does_not() -> None:
    x, dropout = torch.ones(100, 100), ByteDropout(0.5)
    torch.manual_seed(3)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(3)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)


def test_every_dropout_inside_is_replaced() -> None:
    module = nn.Sequential(nn.Dropout(0.2), nn.ModuleList([nn.Linear(2, 2), nn.Dropout(0.3)]))
    with_byte_dropout(module)
    assert [part.p for part in module.modules() if isinstance(part, ByteDropout)] == [0.2, 0.3]
    assert not any(isinstance(part, nn.Dropout) for part in module.modules())
    assert "p=0.2" in repr(module)
