"""ONNX Runtime on the CPU."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from data.encode import pad
from serving.engine import LogitArray
from serving.errors import ModelUnavailable

SUB_BATCH_ROWS = 32
"""Rows run together. Sorted by length they are of nearly equal length, so little of the arithmetic is padding."""


class OnnxEngine:
    """Runs the graph of a bundle; see ``serving.engine.Engine``."""

    name = "onnxruntime-cpu"

    def __init__(self, graph: Path, pad_id: int, threads: int = 0) -> None:
        """``threads`` within one operator; 0 leaves it to the runtime. Raises ModelUnavailable for a broken graph."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime raises its own types, which share no base but Exception
            raise ModelUnavailable(f"{graph.name} cannot be loaded by ONNX Runtime: {type(error).__name__}") from error
        self._pad_id = pad_id

    def logits(self, rows: Sequence[Sequence[int]]) -> LogitArray:
        """See ``Engine.logits``."""
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        result = np.empty((len(rows), 2), dtype=np.float32)
        for start in range(0, len(order), SUB_BATCH_ROWS):
            members = order[start : start + SUB_BATCH_ROWS]
            ids, mask = pad([rows[index] for index in members], self._pad_id)  # (B, T)
            (result[members],) = self._session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
        return result
