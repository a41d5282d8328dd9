"""From a trained model to the ONNX graphs of a bundle."""

from pathlib import Path

import numpy as np
import onnx
from transformers import PreTrainedModel

from training.graph import Network, classifier_graph

_TYPES = {"fp32": np.float32, "fp16": np.float16}


def export_onnx(model: PreTrainedModel, path: Path, precision: str = "fp32") -> None:
    """Write the graph of ``model``, with free batch and length, into the single file ``path``.

    ``input_ids`` and ``attention_mask`` are (B, T) int64, ``logits`` is (B, C) float32; between them all is ``fp32``
    or ``fp16``. The same weights give the same bytes. Raises ExportMismatch for a model that is no ELECTRA or BERT.
    """
    weights = {
        name: weight.detach().float().cpu().numpy().astype(_TYPES[precision])
        for name, weight in model.state_dict().items()
    }
    onnx.save(classifier_graph(Network.of(model.config), weights), path)
