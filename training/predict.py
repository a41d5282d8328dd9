"""Logits of many reviews, in batches of equal cost."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from data.encode import pad
from data.labels import NAMES

FloatArray = npt.NDArray[np.float32]


@torch.inference_mode()
def logits(model: nn.Module, rows: Sequence[Sequence[int]], pad_id: int, batch_size: int = 64) -> FloatArray:
    """(N, 2) float32 logits of N token id rows, in their order; runs in full precision on the model's device."""
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    result = np.empty((len(rows), len(NAMES)), dtype=np.float32)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    for start in range(0, len(order), batch_size):
        members = order[start : start + batch_size]
        ids, mask = (torch.from_numpy(part).to(device) for part in pad([rows[i] for i in members], pad_id))
        result[members] = model(input_ids=ids, attention_mask=mask).logits.float().cpu().numpy()  # (B, 2)
    model.train(was_training)
    return result
