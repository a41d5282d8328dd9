"""An ELECTRA or BERT sequence classifier as an ONNX graph of standard operators, written node by node.

Each part of the model is one operator of opset 23 (``Attention``, ``Gelu``, ``LayerNormalization``), so nothing has to
be found and fused again, any runtime can read it, and its weights can be quantized by name. Query, key and value are
one product. Of the last layer the first token alone is computed, which is all that the head reads (see
``training.first_token``).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from training.errors import ExportMismatch

OPSET = 23
INPUT_NAMES = ("input_ids", "attention_mask")
HEAD_PRODUCTS = ("head.dense.product", "head.output.product")
"""Names of the nodes that multiply what is one row of each review."""
OUTPUT_NAME = "logits"
PRODUCER = "nsmc-sentiment"

Weights = Mapping[str, npt.NDArray[Any]]
_GELU = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}


@dataclass(frozen=True, slots=True)
class Network:
    """What the weights of a classifier do not say of it; names and values are those of its ``config.json``."""

    family: str
    layers: int
    heads: int
    activation: str
    epsilon: float

    @classmethod
    def of(cls, config: Any) -> "Network":
        """That of a transformers configuration. Raises ExportMismatch where the graph cannot be that of the model."""
        if config.model_type not in ("electra", "bert"):
            raise ExportMismatch(f"model_type is {config.model_type!r}; graphs are written of electra and bert")
        if config.hidden_act not in (*_GELU, "relu"):
            raise ExportMismatch(
                f"hidden_act is {config.hidden_act!r}; it must be one of {', '.join((*_GELU, 'relu'))}"
            )
        return cls(
            family=config.model_type,
            layers=config.num_hidden_layers,
            heads=config.num_attention_heads,
            activation=config.hidden_act,
            epsilon=config.layer_norm_eps,
        )


@dataclass(slots=True)
class _Graph:
    """Nodes and initializers so far; values are called after the weights that make them."""

    weights: Weights
    network: Network
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def linear(self, value: str, name: str, sources: list[str]) -> str:
        """(..., I) to (..., O): one product with the ``sources``' weights side by side, then their biases."""
        weight = np.concatenate([self.weights[f"{source}.weight"].T for source in sources], axis=1)  # (I, O)
        bias = np.concatenate([self.weights[f"{source}.bias"] for source in sources])  # (O,)
        product = self.node("MatMul", [value, self.constant(f"{name}.weight", weight)], f"{name}.product")
        return self.node("Add", [product, self.constant(f"{name}.bias", bias)], name)

    def normalized(self, value: str, name: str, source: str) -> str:
        scale, bias = (self.constant(f"{name}.{part}", self.weights[f"{source}.{part}"]) for part in ("weight", "bias"))
        return self.node("LayerNormalization", [value, scale, bias], name, axis=-1, epsilon=self.network.epsilon)

    def activated(self, value: str, activation: str, name: str) -> str:
        if activation in _GELU:
            return self.node("Gelu", [value], name, approximate=_GELU[activation])
        return self.node({"relu": "Relu", "tanh": "Tanh"}[activation], [value], name)

    def first_token(self, value: str, name: str) -> str:
        """(B, T, H) to (B, 1, H)."""
        zero, one = (self.constant(f"const.{number}", np.array([number], dtype=np.int64)) for number in (0, 1))
        return self.node("Slice", [value, zero, one, one], name)


def classifier_graph(network: Network, weights: Weights) -> onnx.ModelProto:
    """The model whose state dictionary is ``weights``, in their precision.

    ``input_ids`` and ``attention_mask`` are (B, T) int64, ``logits`` is (B, C). The mask has to end where padding
    begins and nowhere else. The same weights give the same bytes.
    """
    graph = _Graph(weights, network)
    hidden = _embedded(graph)
    masks = _masks(graph)
    for layer in range(network.layers):
        hidden = _layer(graph, hidden, masks, layer)
    _head(graph, hidden)
    proto = helper.make_graph(
        graph.nodes,
        network.family,
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in INPUT_NAMES],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["batch", "classes"])],
        list(graph.initializers.values()),
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], producer_name=PRODUCER)
    helper.set_model_props(model, {"network": json.dumps({name: getattr(network, name) for name in network.__slots__})})
    return model


def _embedded(graph: _Graph) -> str:
    """(B, T) ids to (B, T, H): the sum of token, position and first type, normalized, and widened where narrow."""
    family = graph.network.family
    names = {part: f"{family}.embeddings.{part}_embeddings.weight" for part in ("word", "position", "token_type")}
    positions = graph.weights[names["position"]] + graph.weights[names["token_type"]][0]  # (P, E)
    words = graph.constant("embeddings.word.weight", graph.weights[names["word"]])
    tokens = graph.node("Gather", [words, "input_ids"], "embeddings.word")
    graph.node("Shape", ["input_ids"], "length", start=1, end=2)
    first, step = (graph.constant(f"const.scalar.{number}", np.array(number, dtype=np.int64)) for number in (0, 1))
    place = graph.node("Range", [first, graph.node("Squeeze", ["length"], "length.scalar"), step], "place")
    table = graph.constant("embeddings.position.weight", positions)
    places = graph.node("Gather", [table, place], "embeddings.position")  # (T, E)
    both = graph.node("Add", [tokens, places], "embeddings.sum")
    hidden = graph.normalized(both, "embeddings.norm", f"{family}.embeddings.LayerNorm")
    projection = f"{family}.embeddings_project"
    if f"{projection}.weight" in graph.weights:
        hidden = graph.linear(hidden, "embeddings.projection", [projection])
    return hidden


def _masks(graph: _Graph) -> tuple[str, str]:
    """Whom each token attends to, (B, 1, T, T), and whom the first does, (B, 1, 1, T)."""
    axes = graph.constant("const.1-2", np.array([1, 2], dtype=np.int64))
    one = graph.constant("const.1", np.array([1], dtype=np.int64))
    real = graph.node("Cast", ["attention_mask"], "mask.real", to=TensorProto.BOOL)
    row = graph.node("Unsqueeze", [real, axes], "mask.first")
    shape = graph.node("Concat", [one, one, "length", "length"], "mask.shape", axis=0)
    return graph.node("Expand", [row, shape], "mask.all"), row


def _layer(graph: _Graph, hidden: str, masks: tuple[str, str], layer: int) -> str:
    """(B, T, H) to the same, or, in the last layer, to (B, 1, H)."""
    network, name = graph.network, f"layer.{layer}"
    source = f"{network.family}.encoder.layer.{layer}"
    query, key, value = (f"{source}.attention.self.{part}" for part in ("query", "key", "value"))
    last = layer == network.layers - 1
    everywhere = hidden
    if last:
        hidden = graph.first_token(hidden, f"{name}.first")
        both = graph.linear(everywhere, f"{name}.attention.key_value", [key, value])
        parts = [graph.linear(hidden, f"{name}.attention.query", [query]), *_cut(graph, both, 2)]
    else:
        parts = _cut(graph, graph.linear(hidden, f"{name}.attention.query_key_value", [query, key, value]), 3)
    mixed = graph.node(
        "Attention",
        [*parts, masks[1] if last else masks[0]],
        f"{name}.attention",
        q_num_heads=network.heads,
        kv_num_heads=network.heads,
    )
    mixed = graph.linear(mixed, f"{name}.attention.output", [f"{source}.attention.output.dense"])
    mixed = graph.node("Add", [mixed, hidden], f"{name}.attention.sum")
    mixed = graph.normalized(mixed, f"{name}.attention.norm", f"{source}.attention.output.LayerNorm")
    inner = graph.linear(mixed, f"{name}.feed_forward.inner", [f"{source}.intermediate.dense"])
    inner = graph.activated(inner, network.activation, f"{name}.feed_forward.active")
    outer = graph.linear(inner, f"{name}.feed_forward.outer", [f"{source}.output.dense"])
    outer = graph.node("Add", [outer, mixed], f"{name}.feed_forward.sum")
    return graph.normalized(outer, f"{name}.feed_forward.norm", f"{source}.output.LayerNorm")


def _cut(graph: _Graph, value: str, count: int) -> list[str]:
    """(B, T, count * H) to as many (B, T, H)."""
    outputs = [f"{value}.{number}" for number in range(count)]
    graph.nodes.append(helper.make_node("Split", [value], outputs, name=f"{value}.split", axis=-1, num_outputs=count))
    return outputs


def _head(graph: _Graph, first: str) -> None:
    """(B, 1, H) to (B, C) float32 logits."""
    dense, activation, output = {
        "electra": ("classifier.dense", "gelu", "classifier.out_proj"),
        "bert": ("bert.pooler.dense", "tanh", "classifier"),
    }[graph.network.family]
    one = graph.constant("const.1", np.array([1], dtype=np.int64))
    first = graph.node("Squeeze", [first, one], "head.first")
    dense = graph.activated(graph.linear(first, "head.dense", [dense]), activation, "head.active")
    graph.node("Cast", [graph.linear(dense, "head.output", [output])], OUTPUT_NAME, to=TensorProto.FLOAT)
