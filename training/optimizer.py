"""AdamW with a learning rate by depth, and the linear schedule."""

import re
from functools import partial

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from training.config import Schedule

_LAYER = re.compile(r"\.layer\.(\d+)\.")


def optimizer_for(model: nn.Module, config: Schedule) -> torch.optim.AdamW:
    """AdamW without decay for biases and normalization, as in the BERT recipe.

    With ``layer_decay`` d below 1, layer k of n learns at d^(n - k) of the full rate, the embeddings at d^(n + 1), and
    the head at the full rate (ELECTRA's fine-tuning, Clark et al., 2020).
    """
    depth = 1 + max(
        (int(found[1]) for name, _ in model.named_parameters() if (found := _LAYER.search(name))), default=-1
    )
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((_below_head(name, depth), parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": config.learning_rate * config.layer_decay**below,
                "weight_decay": config.weight_decay if decayed else 0.0,
            }
            for (below, decayed), parameters in sorted(groups.items(), key=lambda group: group[0])
        ],
        lr=config.learning_rate,
        fused=True,
    )


def linear_schedule(optimizer: torch.optim.Optimizer, warmup_steps: int, total_steps: int) -> LambdaLR:
    """From 0 up to the full rate within ``warmup_steps``, then down to 0 at ``total_steps``."""
    return LambdaLR(optimizer, partial(_share, warmup_steps=warmup_steps, total_steps=total_steps))


def _share(step: int, warmup_steps: int, total_steps: int) -> float:
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return max(0.0, (total_steps - step) / max(1, total_steps - warmup_steps))


def _below_head(name: str, depth: int) -> int:
    """How many steps below the classification head the parameter lies."""
    if found := _LAYER.search(name):
        return depth - int(found[1])
    return depth + 1 if "embeddings" in name else 0
