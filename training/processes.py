"""The processes of a training, as accelerate knows them."""

import torch
from accelerate import PartialState


def on_cpu(wanted: bool = False) -> bool:
    """Whether a training runs on the CPU: because it is wanted, or because there is nothing else."""
    return wanted or not torch.accelerator.is_available()


def this_process() -> PartialState:
    """Which process this is, and of how many; the first call joins them.

    accelerate joins processes over the CPU only where it is told that they are on it: left to itself it takes each for
    the only one.
    """
    return PartialState(cpu=on_cpu())
