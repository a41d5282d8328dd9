"""Dropout for the CPU, whose random numbers are the costliest part of a small model's training."""

import math

import torch
from torch import Tensor, nn

LEVELS = 256


class _Masked(torch.autograd.Function):
    """x * mask * scale in one pass, forward and backward."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, mask: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.scale = scale  # type: ignore[attr-defined]
        return torch.ops.aten.native_dropout_backward(x, mask, scale)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors  # type: ignore[attr-defined]
        scale: float = ctx.scale  # type: ignore[attr-defined]
        return torch.ops.aten.native_dropout_backward(gradients[0], mask, scale), None, None


class ByteDropout(nn.Module):
    """Dropout that takes one random byte an element, where ``nn.Dropout`` takes a random number of its own.

    ``p`` is rounded to a multiple of 1/256, and the scale is the rounded value's, so that the expectation is exact.
    Draws from torch's default CPU generator, whose state is part of a checkpoint. On other devices, it is
    ``nn.Dropout``.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self._dropped_levels = round(p * LEVELS)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` of any shape."""
        if not self.training or self._dropped_levels == 0:
            return x
        if x.device.type != "cpu":
            return nn.functional.dropout(x, self.p, training=True)
        words = torch.empty(math.ceil(x.numel() / 8), dtype=torch.int64).random_(-(2**63), None)
        kept = (words.view(torch.uint8)[: x.numel()] >= self._dropped_levels).view(x.shape)
        result: Tensor = _Masked.apply(x, kept, LEVELS / (LEVELS - self._dropped_levels))  # type: ignore[no-untyped-call]
        return result

    def extra_repr(self) -> str:
        """Shown by ``repr``."""
        return f"p={self.p}"


def with_byte_dropout(module: nn.Module) -> None:
    """Put ``ByteDropout`` in the place of every ``nn.Dropout`` inside ``module``."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Dropout):
            setattr(module, name, ByteDropout(child.p))
        else:
            with_byte_dropout(child)
