"""An exponential moving average of weights: what is judged and kept in the place of the last step's."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class Average:
    """The moving average of ``parameters`` (Polyak averaging, with a decay that grows to its full value).

    After t updates the decay is min(decay, (1 + t) / (10 + t)), so that the random weights of the start are soon
    forgotten.
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self._parameters = list(parameters)
        self._shadow = [parameter.detach().clone() for parameter in self._parameters]
        self._decay = decay
        self._updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights in."""
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        torch._foreach_lerp_(self._shadow, self._parameters, 1.0 - decay)
        self._updates += 1

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block, the model's weights are the average."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, shadow in zip(self._parameters, self._shadow, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(shadow)
            shadow.copy_(kept)

    def state_dict(self) -> dict[str, object]:
        """What a checkpoint keeps."""
        return {"shadow": self._shadow, "updates": self._updates}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Take up where ``state_dict`` was called."""
        for shadow, kept in zip(self._shadow, state["shadow"], strict=True):  # type: ignore[call-overload]
            shadow.copy_(kept)
        self._updates = int(state["updates"])  # type: ignore[call-overload]
