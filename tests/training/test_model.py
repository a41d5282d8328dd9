from pathlib import Path

import numpy as np
import pytest
import torch

from data.bundle import GRAPH_FILE, Bundle
from data.encode import TOKENIZER_FILE, pad
from serving.engine.onnx import OnnxEngine
from tests.models import BACKBONE, TEXTS, lively
from training import model as models
from training.config import Backbone
from training.errors import BackboneUnavailable
from training.export import export_onnx
from training.predict import logits

HEAD = "classifier.dense.weight"
EMBEDDINGS = "electra.embeddings.word_embeddings.weight"


def test_what_is_saved_is_loaded_and_is_safetensors(tmp_path: Path) -> None:
    model, tokenizer_json = models.build(BACKBONE, TEXTS, seed=1)
    models.save(model, tokenizer_json, tmp_path)
    assert {"config.json", "model.safetensors", TOKENIZER_FILE} == {path.name for path in tmp_path.iterdir()}
    again = models.load(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    assert models.model_type(again) == "ELECTRA"
    assert not again.training


def test_weights_are_drawn_by_the_seed() -> None:
    one, two, other = (models.build(BACKBONE, TEXTS, seed)[0] for seed in (1, 1, 2))
    assert torch.equal(one.state_dict()[HEAD], two.state_dict()[HEAD])
    assert not torch.equal(one.state_dict()[HEAD], other.state_dict()[HEAD])


def test_a_local_backbone_is_read_from_its_folder(tmp_path: Path) -> None:
    model, _ = models.build(BACKBONE, TEXTS, seed=1)
    model.save_pretrained(tmp_path)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "영화", "##가", "좋다"]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false, "tokenizer_class": "ElectraTokenizer"}')
    loaded, tokenizer_json = models.build(Backbone(str(tmp_path)), [], seed=1)
    assert torch.equal(loaded.state_dict()[EMBEDDINGS], model.state_dict()[EMBEDDINGS])
    assert "##가" in tokenizer_json


def test_a_backbone_that_cannot_be_had_names_the_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BackboneUnavailable) as caught:
        models.build(Backbone(str(tmp_path / "nowhere")), [], seed=1)
    for way_out in ("HF_ENDPOINT", "HF_HOME", "backbone.name in params.yaml", "PROFILE=compact"):
        assert way_out in str(caught.value)


def test_a_backbone_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(BackboneUnavailable, match="a 'gpt2' model; it must be one of electra, bert"):
        models.build(Backbone(str(tmp_path)), [], seed=1)


def test_predictions_keep_the_order_and_do_not_depend_on_the_batch(bundle: Bundle) -> None:
    model, _ = lively(seed=0)
    rows = bundle.encoder.encode(TEXTS)
    together = logits(model, rows, 0)
    alone = np.concatenate([logits(model, [row], 0) for row in rows])
    assert np.abs(together - alone).max() < 1e-5


def test_the_exported_graph_answers_like_the_model(tmp_path: Path, bundle: Bundle) -> None:
    model, _ = lively(seed=3)
    export_onnx(model, tmp_path / GRAPH_FILE)
    rows = bundle.encoder.encode(TEXTS)
    found = OnnxEngine(tmp_path / GRAPH_FILE, 0).logits(rows)
    assert np.ptp(found[:, 0]) > 0.1, "the texts' answers differ, so that a wrong mask or order would show"
    assert np.abs(found - logits(model, rows, 0)).max() < 1e-4
    ids, _ = pad(rows, 0)
    assert ids.shape[1] == max(map(len, rows))


def test_an_export_is_the_same_to_the_byte_and_holds_no_path(tmp_path: Path) -> None:
    for name in ("a", "b"):
        export_onnx(models.build(BACKBONE, TEXTS, seed=3)[0], tmp_path / name)
    content = (tmp_path / "a").read_bytes()
    assert content == (tmp_path / "b").read_bytes()
    assert b".py" not in content
