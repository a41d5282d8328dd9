"""OpenVINO on the CPU; an optional extra."""

import queue
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from data.bundle import FULL
from data.encode import pad
from serving.engine import ONE, Layout, LogitArray, Rows
from serving.errors import EngineFailed


def why_not() -> str | None:
    """Why there is no OpenVINO; None where there is."""
    return None if find_spec("openvino") else "openvino is not installed"


class OpenVinoEngine:
    """Runs a graph of a bundle; see ``serving.engine.Engine``."""

    name = "openvino-cpu"

    def __init__(self, graph: Path, pad_id: int, precision: str = FULL, layout: Layout = ONE) -> None:
        """Raises EngineFailed for a broken graph."""
        import openvino

        # its binding looks NumPy up once, in a way that never ends where two threads are the first to need it
        openvino.Type.i64.to_dtype()
        self.precision, self.layout = precision, layout
        self._pad_id = pad_id
        settings = {
            "NUM_STREAMS": layout.streams,
            "INFERENCE_NUM_THREADS": layout.streams * layout.threads,
            "INFERENCE_PRECISION_HINT": "f32",  # what is not in 8 bits; left alone, it takes bf16 where there is some
        }
        try:
            compiled = openvino.Core().compile_model(str(graph), "CPU", settings)
        except RuntimeError as error:
            raise EngineFailed(f"{graph.name} cannot be loaded by {self.name}: {type(error).__name__}") from error
        self._requests: queue.SimpleQueue[openvino.InferRequest] = queue.SimpleQueue()
        for _ in range(layout.streams):
            self._requests.put(compiled.create_infer_request())

    def logits(self, rows: Rows) -> LogitArray:
        """See ``Engine.logits``."""
        ids, mask = pad(rows, self._pad_id)  # (B, T)
        request = self._requests.get()
        try:
            found = request.infer({"input_ids": ids, "attention_mask": mask}, share_inputs=True)
            return np.array(found[0], dtype=np.float32)
        except RuntimeError as error:
            raise EngineFailed(f"{self.name} failed on {len(rows)} rows: {type(error).__name__}") from error
        finally:
            self._requests.put(request)
