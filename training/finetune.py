"""Fine-tuning of the classifier, as a task for the loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from data.encode import FIRST_TOKEN, LAST_TOKEN, MASK_TOKEN, Encoder
from training.batches import TokenBatches, collate
from training.config import Training
from training.dropout import with_byte_dropout
from training.first_token import with_first_token_only
from training.objective import Objective, soft_cross_entropy
from training.predict import logits


@dataclass(frozen=True, slots=True)
class SpecialIds:
    """The ids of a tokenizer's special tokens; ``mask`` is what a hidden token is replaced by."""

    pad: int
    first: int
    last: int
    mask: int

    @classmethod
    def of(cls, encoder: Encoder) -> "SpecialIds":
        """Those of ``encoder``'s tokenizer. Raises BundleInvalid where one is missing."""
        return cls(encoder.pad_id, *(encoder.id_of(token) for token in (FIRST_TOKEN, LAST_TOKEN, MASK_TOKEN)))


@dataclass(frozen=True, slots=True)
class Split:
    """Token id rows, and for each the probability, as its label or a teacher has it, that it is positive."""

    rows: Sequence[Sequence[int]]
    positive: Sequence[float]


class FineTuning:
    """Learns ``train`` and is judged on ``dev``, whose targets are 0 or 1."""

    def __init__(self, model: PreTrainedModel, train: Split, dev: Split, config: Training, ids: SpecialIds) -> None:
        with_byte_dropout(model)
        with_first_token_only(model)
        self.model: nn.Module = model
        self.batches = TokenBatches([len(row) for row in train.rows], config.batch_tokens, config.seed)
        self._rows, self._positive = train.rows, np.asarray(train.positive, dtype=np.float32)
        self._dev, self._ids = dev, ids
        self._objective = Objective(config, ids.mask, frozenset({ids.pad, ids.first, ids.last}))
        self._embedding: Tensor = model.get_input_embeddings().get_parameter("weight")

    def learn(self, model: nn.Module, rows: Sequence[int], backward: Callable[[Tensor], None]) -> Tensor:
        """One pass; see ``Task``."""
        inputs = self._objective.hide(collate([self._rows[row] for row in rows], self._ids.pad))
        device = self._embedding.device
        target = torch.from_numpy(self._positive[list(rows)]).to(device)
        inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
        return self._objective.learn(model, self._embedding, inputs, target, backward)

    def judge(self, model: nn.Module) -> tuple[float, float]:
        """Mean cross entropy and accuracy on dev."""
        found = logits(model, self._dev.rows, self._ids.pad)
        target = np.asarray(self._dev.positive, dtype=np.float32)
        loss = soft_cross_entropy(torch.from_numpy(found), torch.from_numpy(target)).mean()
        return float(loss), float((found.argmax(axis=1) == (target >= 0.5)).mean())
