"""ONNX Runtime, on the CPU or on a CUDA device."""

from pathlib import Path

import onnxruntime as ort

from data.bundle import FULL
from data.encode import pad
from serving.engine import ONE, Layout, LogitArray, Rows
from serving.errors import EngineFailed

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_SLOW_FUSIONS = {"cpu": ["SkipLayerNormFusion", "BiasGeluFusion"], "cuda": []}
"""On a CPU they cost an 8 bit graph more than they save, and save a full one nothing: a bias that is not fused with
what follows it is fused with the product before it."""


def why_not(device: str) -> str | None:
    """Why there is no ONNX Runtime for ``device``; None where there is."""
    if _PROVIDERS[device] in ort.get_available_providers():
        return None
    return f"ONNX Runtime {ort.__version__} has no {_PROVIDERS[device]} here"


class OnnxEngine:
    """Runs a graph of a bundle; see ``serving.engine.Engine``."""

    def __init__(
        self, graph: Path, pad_id: int, precision: str = FULL, layout: Layout = ONE, *, device: str = "cpu"
    ) -> None:
        """Raises EngineFailed for a broken graph, and for a device that is not there."""
        self.name, self.precision, self.layout = f"onnxruntime-{device}", precision, layout
        self._pad_id = pad_id
        options = ort.SessionOptions()
        options.intra_op_num_threads = layout.threads
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # it keeps a plan for every shape there ever was
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        try:
            self.session = ort.InferenceSession(
                str(graph), options, providers=[_PROVIDERS[device]], disabled_optimizers=_SLOW_FUSIONS[device]
            )
        except Exception as error:  # the runtime raises its own types, which share no base but Exception
            raise EngineFailed(f"{graph.name} cannot be loaded by {self.name}: {type(error).__name__}") from error
        if self.session.get_providers()[0] != _PROVIDERS[device]:  # it falls back without a word
            raise EngineFailed(f"ONNX Runtime cannot use the {device} device")

    def logits(self, rows: Rows) -> LogitArray:
        """See ``Engine.logits``."""
        ids, mask = pad(rows, self._pad_id)  # (B, T)
        try:
            (found,) = self.session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
        except Exception as error:
            raise EngineFailed(f"{self.name} failed on {len(rows)} rows: {type(error).__name__}") from error
        return found  # type: ignore[no-any-return]
