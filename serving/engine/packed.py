"""PyTorch on a CUDA device, in bf16 or fp16 and without any padding.

The tokens of all rows lie one after the other, (N, H), through every product; only attention knows where a row ends
(flash attention with variable lengths; Dao, 2023). Weights are read from the bundle's full graph, whose initializers
``training.graph`` names. It runs on the CPU too, row by row in attention, which is how it is tested and how what bf16
costs is measured.
"""

import ctypes
import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from serving.engine import ONE, Layout, LogitArray, Rows
from serving.errors import EngineFailed

if TYPE_CHECKING:
    from torch import Tensor

_HEAD_ACTIVATIONS = {"electra": "gelu", "bert": "tanh"}


def why_not() -> str | None:
    """Why PyTorch cannot be used on a CUDA device; None where it can."""
    missing = [name for name in ("torch", "onnx") if find_spec(name) is None]
    if missing:
        return f"{missing[0]} is not installed"
    try:
        ctypes.CDLL("libcuda.so.1")  # before seconds are spent on importing torch
    except OSError:
        return "there is no CUDA driver"
    import torch

    return None if torch.cuda.is_available() else "PyTorch sees no CUDA device"


class PackedEngine:
    """Computes what a graph of ``training.graph`` says; see ``serving.engine.Engine``."""

    def __init__(self, graph: Path, pad_id: int, precision: str, layout: Layout = ONE, *, device: str = "cuda") -> None:
        """Nothing is padded, so ``pad_id`` goes unused.

        Raises EngineFailed for a graph of another kind, and for a device that is missing, busy or full.
        """
        import torch

        self.name, self.precision, self.layout = f"pytorch-{device}", precision, layout
        self._device = torch.device(device)
        network, weights = _read(graph)
        try:
            dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]
            self._weights = {name: weight.to(self._device, dtype) for name, weight in weights.items()}
        except (RuntimeError, KeyError) as error:
            raise EngineFailed(f"{graph.name} cannot be put on {device}: {type(error).__name__}") from error
        self._layers, self._heads = int(network["layers"]), int(network["heads"])
        self._epsilon = float(network["epsilon"])
        self._activation, self._head_activation = str(network["activation"]), _HEAD_ACTIVATIONS[network["family"]]

    def logits(self, rows: Rows) -> LogitArray:
        """See ``Engine.logits``. Rows that do not fit into the device's memory are run half by half."""
        import torch

        try:
            with torch.inference_mode():
                return self._forward(rows).float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            if len(rows) == 1:
                raise EngineFailed(f"{self.name} has no memory for a row of {len(rows[0])} tokens") from error
        except RuntimeError as error:
            raise EngineFailed(f"{self.name} failed on {len(rows)} rows: {type(error).__name__}") from error
        torch.cuda.empty_cache()
        half = len(rows) // 2
        return np.concatenate([self.logits(rows[:half]), self.logits(rows[half:])])

    def _forward(self, rows: Rows) -> "Tensor":
        """(B, C) logits; N below is the number of tokens of all rows."""
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        ends = np.concatenate([[0], np.cumsum(lengths)])  # (B + 1,)
        places = np.arange(ends[-1]) - np.repeat(ends[:-1], lengths)  # (N,)
        ids, position, end = (self._on_device(array) for array in (np.concatenate(rows), places, ends))
        weights = self._weights
        hidden = weights["embeddings.word.weight"][ids] + weights["embeddings.position.weight"][position]  # (N, E)
        hidden = self._normalized(hidden, "embeddings.norm")
        if "embeddings.projection.weight" in weights:
            hidden = self._linear(hidden, "embeddings.projection")  # (N, H)
        spans = _Spans(end.int(), lengths)
        for layer in range(self._layers):
            hidden = self._layer(hidden, f"layer.{layer}", spans, last=layer == self._layers - 1)
        return self._linear(_activated(self._linear(hidden, "head.dense"), self._head_activation), "head.output")

    def _on_device(self, array: "np.ndarray[Any, Any]") -> "Tensor":
        import torch

        return torch.from_numpy(array.astype(np.int64)).to(self._device, non_blocking=True)

    def _layer(self, hidden: "Tensor", name: str, spans: "_Spans", *, last: bool) -> "Tensor":
        """(N, H) to the same, or, in the last layer, to (B, H): the first token of each row."""
        if last:
            everywhere, hidden = hidden, hidden[spans.ends[:-1].long()]
            query = self._linear(hidden, f"{name}.attention.query")
            key, value = self._linear(everywhere, f"{name}.attention.key_value").chunk(2, dim=-1)
        else:
            query, key, value = self._linear(hidden, f"{name}.attention.query_key_value").chunk(3, dim=-1)
        heads = [part.unflatten(-1, (self._heads, -1)) for part in (query, key, value)]  # (N, A, H / A)
        mixed = self._linear(spans.attention(*heads, first_only=last).flatten(1), f"{name}.attention.output")
        mixed = self._normalized(mixed + hidden, f"{name}.attention.norm")
        inner = _activated(self._linear(mixed, f"{name}.feed_forward.inner"), self._activation)
        return self._normalized(self._linear(inner, f"{name}.feed_forward.outer") + mixed, f"{name}.feed_forward.norm")

    def _linear(self, value: "Tensor", name: str) -> "Tensor":
        import torch

        return torch.addmm(self._weights[f"{name}.bias"], value, self._weights[f"{name}.weight"])

    def _normalized(self, value: "Tensor", name: str) -> "Tensor":
        import torch

        scale, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return torch.nn.functional.layer_norm(value, scale.shape, scale, bias, self._epsilon)


class _Spans:
    """Where each row's tokens lie among those of all rows: from ``ends[i]`` to ``ends[i + 1]``."""

    def __init__(self, ends: "Tensor", lengths: "np.ndarray[Any, Any]") -> None:
        self.ends, self._longest, self._lengths = ends, int(lengths.max()), lengths.tolist()

    def attention(self, query: "Tensor", key: "Tensor", value: "Tensor", *, first_only: bool) -> "Tensor":
        """(N, A, D) queries, or (B, A, D) of the first tokens, to the same: each row attends to itself."""
        import torch

        if query.device.type == "cuda":
            from torch.nn.attention.varlen import varlen_attn

            starts = torch.arange(len(self.ends), dtype=torch.int32, device=query.device) if first_only else self.ends
            longest = 1 if first_only else self._longest
            return cast("Tensor", varlen_attn(query, key, value, starts, self.ends, longest, self._longest))
        queries = query.split(1 if first_only else self._lengths)
        rows = zip(queries, key.split(self._lengths), value.split(self._lengths), strict=True)
        mixed = [
            torch.nn.functional.scaled_dot_product_attention(*(part.transpose(0, 1) for part in row)).transpose(0, 1)
            for row in rows
        ]
        return torch.cat(mixed)


def _activated(value: "Tensor", activation: str) -> "Tensor":
    import torch

    if activation in ("gelu_new", "gelu_pytorch_tanh"):
        return torch.nn.functional.gelu(value, approximate="tanh")
    functions = {"gelu": torch.nn.functional.gelu, "relu": torch.relu, "tanh": torch.tanh}
    return functions[activation](value)


def _read(graph: Path) -> tuple[dict[str, Any], dict[str, "Tensor"]]:
    """The network that the graph describes, and its weights by name."""
    import onnx
    import torch
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(graph)
        network = json.loads({entry.key: entry.value for entry in model.metadata_props}["network"])
    except (DecodeError, OSError, KeyError, ValueError) as error:
        raise EngineFailed(f"{graph.name} is no graph of this project: {type(error).__name__}") from error
    weights = {
        initializer.name: torch.from_numpy(onnx.numpy_helper.to_array(initializer).copy())
        for initializer in model.graph.initializer
        if not initializer.name.startswith("const.")
    }
    return network, weights
