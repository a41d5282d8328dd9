"""What one batch of reviews teaches: soft cross entropy, and the switches that change it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.config import Training

Inputs = dict[str, Tensor]
Backward = Callable[[Tensor], None]


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """(B,) cross entropy of (B, 2) logits against P(positive) (B,), in float32."""
    likelihood = functional.log_softmax(logits.float(), dim=-1)
    return -(target * likelihood[:, 1] + (1.0 - target) * likelihood[:, 0])


def symmetric_divergence(first: Tensor, second: Tensor) -> Tensor:
    """(B,) mean of KL(first || second) and KL(second || first) of two (B, 2) logits."""
    p, q = functional.log_softmax(first.float(), dim=-1), functional.log_softmax(second.float(), dim=-1)
    return ((p.exp() - q.exp()) * (p - q)).sum(dim=-1) / 2.0


class Objective:
    """The loss of a batch and its gradients.

    ``label_smoothing`` s draws targets towards 1/2. ``r_drop`` a runs each batch twice under different dropout and adds
    a * KL between the answers (Liang et al., 2021). ``adversarial`` e adds the loss at embeddings moved by e along
    their gradient (FGM; Miyato et al., 2017). ``token_dropout`` p hides that share of the tokens behind ``hidden_id``.
    """

    def __init__(self, config: Training, hidden_id: int, kept_ids: frozenset[int]) -> None:
        """``kept_ids`` are never hidden: [CLS], [SEP], [PAD]."""
        self._config, self._hidden_id = config, hidden_id
        self._kept_ids = torch.tensor(sorted(kept_ids))

    def losses(self, model: nn.Module, inputs: Inputs, target: Tensor) -> Tensor:
        """(B,) loss of each review."""
        config = self._config
        target = target * (1.0 - config.label_smoothing) + 0.5 * config.label_smoothing
        if config.r_drop == 0.0:
            return soft_cross_entropy(model(**inputs).logits, target)
        twice = {name: torch.cat([tensor, tensor]) for name, tensor in inputs.items()}
        first, second = model(**twice).logits.chunk(2)
        entropy = (soft_cross_entropy(first, target) + soft_cross_entropy(second, target)) / 2.0
        return entropy + config.r_drop * symmetric_divergence(first, second)

    def hide(self, inputs: Inputs) -> Inputs:
        """The inputs with some tokens hidden; drawn from torch's CPU generator."""
        if self._config.token_dropout == 0.0:
            return inputs
        ids = inputs["input_ids"]
        hidden = torch.rand(ids.shape) < self._config.token_dropout
        hidden &= ~torch.isin(ids, self._kept_ids)
        return {**inputs, "input_ids": ids.masked_fill(hidden, self._hidden_id)}

    def learn(self, model: nn.Module, embedding: Tensor, inputs: Inputs, target: Tensor, backward: Backward) -> Tensor:
        """Hand what is to be minimized to ``backward``; returns the (B,) losses, detached.

        ``backward`` takes a (B,) loss and accumulates the gradient of its weighted sum.
        """
        losses = self.losses(model, inputs, target)
        backward(losses)
        if self._config.adversarial > 0.0 and embedding.grad is not None:
            with torch.no_grad():
                norm = embedding.grad.norm()
                step = embedding.grad * (self._config.adversarial / norm) if norm > 0 else torch.zeros_like(embedding)
                embedding.add_(step)
            backward(self.losses(model, inputs, target))
            with torch.no_grad():
                embedding.sub_(step)
        return losses.detach()
