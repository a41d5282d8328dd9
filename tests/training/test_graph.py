"""The graph that is written by hand says what transformers' model says."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, DistilBertConfig, ElectraConfig, PreTrainedModel

from data.encode import pad
from serving.engine.onnx import OnnxEngine
from tests.models import BACKBONE, TEXTS, lively
from training import model as models
from training.errors import ExportMismatch
from training.export import export_onnx
from training.graph import Network
from training.predict import logits

SHAPE: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}


def rows() -> list[list[int]]:
    generator = np.random.default_rng(0)
    return [[2, *generator.integers(5, 90, size=length).tolist(), 3] for length in (1, 3, 3, 17, 40)]


def bert(**changes: Any) -> PreTrainedModel:
    torch.manual_seed(1)
    model = BertForSequenceClassification(BertConfig(vocab_size=100, max_position_embeddings=64, **SHAPE, **changes))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model.eval()
    return model


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_a_bert_classifier(tmp_path: Path, activation: str) -> None:
    model = bert(hidden_act=activation)
    export_onnx(model, tmp_path / "graph")
    found, expected = answers(tmp_path / "graph"), logits(model, rows(), 0)
    assert np.ptp(expected[:, 0]) > 0.1, "the answers differ, so that a wrong mask or order would show"
    assert np.abs(found - expected).max() < 1e-4


def test_an_electra_classifier_with_narrow_embeddings(tmp_path: Path) -> None:
    model, _ = lively(seed=3)
    export_onnx(model, tmp_path / "graph")
    found, expected = answers(tmp_path / "graph"), logits(model, rows(), 0)
    assert np.ptp(expected[:, 0]) > 0.1
    assert np.abs(found - expected).max() < 1e-4


def answers(graph: Path) -> np.ndarray:
    return OnnxEngine(graph, 0).logits(rows())


def test_padding_changes_nothing(tmp_path: Path) -> None:
    model = bert()
    export_onnx(model, tmp_path / "graph")
    engine = OnnxEngine(tmp_path / "graph", 0)
    alone = np.concatenate([engine.logits([row]) for row in rows()])
    assert np.abs(engine.logits(rows()) - alone).max() < 1e-5


def test_half_precision_is_in_and_out_as_the_full_one(tmp_path: Path) -> None:
    model = bert()
    export_onnx(model, tmp_path / "graph", "fp16")
    graph = onnx.load(tmp_path / "graph")
    onnx.checker.check_model(graph, full_check=True)
    weights = [each for each in graph.graph.initializer if not each.name.startswith("const.")]
    assert {each.data_type for each in weights} == {onnx.TensorProto.FLOAT16}
    assert graph.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_each_part_is_one_operator(tmp_path: Path) -> None:
    export_onnx(bert(), tmp_path / "graph")
    graph = onnx.load(tmp_path / "graph")
    onnx.checker.check_model(graph, full_check=True)
    counts = Counter(node.op_type for node in graph.graph.node)
    assert counts["Attention"] == counts["Gelu"] == 3
    assert counts["LayerNormalization"] == 7
    assert not {"Softmax", "Erf", "ReduceMean", "Sqrt"} & set(counts)
    assert {node.domain for node in graph.graph.node} == {""}, "standard operators, for any runtime"


def test_batch_and_length_are_free(tmp_path: Path) -> None:
    export_onnx(bert(), tmp_path / "graph")
    session = ort.InferenceSession(tmp_path / "graph")
    for some in ([rows()[0]], rows()[1:3], rows()):
        ids, mask = pad(some, 0)
        assert session.run(None, {"input_ids": ids, "attention_mask": mask})[0].shape == (len(some), 2)


def test_an_export_is_the_same_to_the_byte_and_holds_no_path(tmp_path: Path) -> None:
    for name in ("a", "b"):
        export_onnx(models.build(BACKBONE, TEXTS).model, tmp_path / name)
    content = (tmp_path / "a").read_bytes()
    assert content == (tmp_path / "b").read_bytes()
    assert b".py" not in content


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DistilBertConfig(), "model_type is 'distilbert'; graphs are written of electra and bert"),
        (ElectraConfig(hidden_act="silu"), "hidden_act is 'silu'; it must be one of gelu, gelu_new"),
    ],
)
def test_other_models_are_refused(config: Any, message: str) -> None:
    with pytest.raises(ExportMismatch, match=message):
        Network.of(config)
