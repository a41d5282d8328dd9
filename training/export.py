"""From a trained model to the ONNX graph of a bundle."""

import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from training.errors import ExportMismatch

OPSET = 18
INPUT_NAMES = ("input_ids", "attention_mask")
OUTPUT_NAME = "logits"


class _Logits(torch.nn.Module):
    """The model as a function of two tensors to one, which is what a graph is."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T) token ids and mask to (B, C) logits."""
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def export_onnx(model: PreTrainedModel, path: Path) -> None:
    """Write the float32 graph of ``model``, with free batch and length, into the single file ``path``.

    ``input_ids`` and ``attention_mask`` are (B, T) int64, ``logits`` is (B, C) float32. The same weights give the
    same bytes.
    """
    model.eval()
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens", max=model.config.max_position_embeddings)
    # two tensors, since the exporter takes one that is passed twice for one input; and one row padded, so that the
    # mask is not traced as superfluous
    ids, mask = torch.ones((2, 8), dtype=torch.long), torch.ones((2, 8), dtype=torch.long)
    mask[1, 5:] = 0
    with warnings.catch_warnings():
        # the exporter's own deprecations, and its remark that both inputs share their dimensions
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
        program = torch.onnx.export(
            _Logits(model),
            (ids, mask),
            input_names=list(INPUT_NAMES),
            output_names=[OUTPUT_NAME],
            dynamic_shapes={name: {0: batch, 1: tokens} for name in INPUT_NAMES},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ExportMismatch("torch.onnx.export gave no program")
    # the exporter notes for each node where in the source it comes from: paths of this machine
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
    program.save(path, external_data=False)
