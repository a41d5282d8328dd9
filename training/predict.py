"""Logits of many reviews, in batches of equal cost."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from data.encode import pad

FloatArray = npt.NDArray[np.float32]


@torch.inference_mode()
def logits(model: PreTrainedModel, rows: Sequence[Sequence[int]], pad_id: int, batch_size: int = 64) -> FloatArray:
    """(N, C) float32 logits of N token id rows, in their order; runs in full precision on the model's device."""
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    result = np.empty((len(rows), int(model.config.num_labels or 0)), dtype=np.float32)
    was_training = model.training
    model.eval()
    for start in range(0, len(order), batch_size):
        members = order[start : start + batch_size]
        ids, mask = (torch.from_numpy(part).to(model.device) for part in pad([rows[i] for i in members], pad_id))
        result[members] = model(input_ids=ids, attention_mask=mask).logits.float().cpu().numpy()  # (B, C)
    model.train(was_training)
    return result
