"""The machine under a benchmark: its name, its ceiling, and a meter of seconds and memory."""

import ctypes
import gc
import platform
import resource
import time
from contextlib import suppress
from pathlib import Path
from typing import cast

import accelerate
import torch
import transformers
from accelerate.state import AcceleratorState

from training.config import Precision, Training
from training.loop import resolve_precision


class Meter:
    """Seconds and memory between the first step and the last of each epoch."""

    def __init__(self, cpu: bool) -> None:
        self.seconds, self.peak_mib, self.gpu_peak_mib = 0.0, 0.0, 0.0
        self._gpu = torch.cuda.is_available() and not cpu
        self._started: float | None = None

    def start(self) -> None:
        """Go on, unless it runs."""
        if self._started is None:
            if not self.seconds:
                self._forget_peak()
            self._synchronize()
            self._started = time.perf_counter()

    def stop(self) -> None:
        """Pause, once the device has done what it was given."""
        if self._started is not None:
            self._synchronize()
            self.seconds += time.perf_counter() - self._started
            self._started = None
            self.peak_mib = _peak_mib()
            if self._gpu:
                self.gpu_peak_mib = torch.cuda.max_memory_allocated() / 2**20

    def _synchronize(self) -> None:
        if self._gpu:
            torch.cuda.synchronize()

    def _forget_peak(self) -> None:
        gc.collect()
        if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
            libc.malloc_trim(0)
        with suppress(OSError):  # Linux only
            Path("/proc/self/clear_refs").write_text("5")
        if self._gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def _peak_mib() -> float:
    """Peak resident memory since it was last forgotten, or of the whole process where it cannot be forgotten."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def matmul_flops(size: tuple[int, int, int], precision: Precision, cpu: bool, repeats: int = 5) -> float:
    """Operations a second of the best of several (m, k) x (k, n) products."""
    device = "cuda" if torch.cuda.is_available() and not cpu else "cpu"
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    rows, inner, columns = size
    left = torch.randn(rows, inner, device=device, dtype=dtype)
    right = torch.randn(inner, columns, device=device, dtype=dtype)
    target, best = torch.empty(rows, columns, device=device, dtype=dtype), float("inf")
    for _ in range(1 + repeats):
        started = time.perf_counter()
        torch.mm(left, right, out=target)
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2.0 * rows * inner * columns / best


def default_precision(cpu: bool) -> Precision:
    """fp32 on a CPU, and on a GPU bf16, or fp16 where it has none."""
    if cpu or not torch.cuda.is_available():
        return "fp32"
    return cast("Precision", resolve_precision(Training()))


def forget_accelerator() -> None:
    """Let the next training choose its own device and precision; accelerate keeps those of the first in a process."""
    AcceleratorState._reset_state(reset_partial_state=True)


def described(cpu: bool) -> str:
    """The processor, and the versions of what computes on it."""
    packages = (torch, transformers, accelerate)
    versions = ", ".join(f"{package.__name__} {package.__version__}" for package in packages)
    if torch.cuda.is_available() and not cpu:
        return f"{torch.cuda.get_device_name()}; {versions}"
    model = Path("/proc/cpuinfo")
    named = [line for line in model.read_text().splitlines() if line.startswith("model name")] if model.exists() else []
    name = named[0].partition(":")[2].strip() if named else platform.machine()
    return f"{name}, {torch.get_num_threads()} thread(s); {versions}"
