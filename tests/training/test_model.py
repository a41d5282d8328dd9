from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.bundle import Bundle
from data.encode import TOKENIZER_FILE, Encoder
from data.files import sha256
from tests.models import BACKBONE, TEXTS, lively
from training import model as models
from training.config import Backbone
from training.errors import BackboneUnavailable
from training.predict import logits

HEAD = "classifier.dense.weight"
EMBEDDINGS = "electra.embeddings.word_embeddings.weight"


def test_what_is_saved_is_loaded_and_is_safetensors(tmp_path: Path) -> None:
    start = models.build(BACKBONE, TEXTS)
    model = start.model
    models.save(model, start.tokenizer_json, tmp_path)
    assert {"config.json", "model.safetensors", TOKENIZER_FILE} == {path.name for path in tmp_path.iterdir()}
    again = models.load(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    assert models.model_type(again) == "ELECTRA"
    assert not again.training


def test_weights_are_drawn_by_the_seed() -> None:
    one, two, other = (models.build(replace(BACKBONE, seed=seed), TEXTS).model for seed in (1, 1, 2))
    assert torch.equal(one.state_dict()[HEAD], two.state_dict()[HEAD])
    assert not torch.equal(one.state_dict()[HEAD], other.state_dict()[HEAD])


def test_embeddings_may_begin_where_counting_ends() -> None:
    assert BACKBONE.architecture is not None
    counted = replace(BACKBONE, architecture=replace(BACKBONE.architecture, embeddings="cooccurrence"))
    start, drawn = models.build(counted, TEXTS), models.build(BACKBONE, TEXTS)
    assert start.tokenizer_json == drawn.tokenizer_json
    ours, theirs = start.model.state_dict(), drawn.model.state_dict()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == [EMBEDDINGS]
    same = (ours[EMBEDDINGS] == theirs[EMBEDDINGS]).all(dim=1)
    encoder = Encoder(start.tokenizer_json, 512)
    neighbours = {token for row in encoder.encode(TEXTS) for token in row[1:-1]}
    assert set(torch.nonzero(~same).flatten().tolist()) == neighbours
    size = ours[EMBEDDINGS][~same].square().mean(dim=1).sqrt()
    assert size.numpy() == pytest.approx(BACKBONE.architecture.initializer_range, rel=1e-4)


def test_a_local_backbone_is_read_from_its_folder(tmp_path: Path) -> None:
    start = models.build(BACKBONE, TEXTS)
    models.save(start.model, start.tokenizer_json, tmp_path)
    again = models.build(Backbone("own", folder=str(tmp_path), dropout=0.3), [])
    assert again.tokenizer_json == start.tokenizer_json
    assert torch.equal(again.model.state_dict()[EMBEDDINGS], start.model.state_dict()[EMBEDDINGS])
    assert again.model.config.hidden_dropout_prob == 0.3
    assert again.origin is not None
    assert set(again.origin.files) == {"config.json", "model.safetensors", TOKENIZER_FILE}


def test_predictions_keep_the_order_and_do_not_depend_on_the_batch(bundle: Bundle) -> None:
    model, _ = lively(seed=0)
    rows = bundle.encoder.encode(TEXTS)
    together = logits(model, rows, 0)
    alone = np.concatenate([logits(model, [row], 0) for row in rows])
    assert np.abs(together - alone).max() < 1e-5


def test_a_classifier_can_be_trained_further_with_its_head(tmp_path: Path) -> None:
    start = models.build(BACKBONE, TEXTS)
    models.save(start.model, start.tokenizer_json, tmp_path)
    fresh = models.build(Backbone("own", folder=str(tmp_path), seed=1), []).model
    kept = models.build(Backbone("own", folder=str(tmp_path), seed=1, keep_head=True), []).model
    assert not torch.equal(fresh.state_dict()[HEAD], start.model.state_dict()[HEAD])
    assert torch.equal(kept.state_dict()[HEAD], start.model.state_dict()[HEAD])


def test_a_head_that_is_not_there_cannot_be_kept(tmp_path: Path) -> None:
    start = models.build(BACKBONE, TEXTS)
    weights = {name: weight for name, weight in start.model.state_dict().items() if "classifier" not in name}
    models.save(start.model, start.tokenizer_json, tmp_path, weights)
    with pytest.raises(BackboneUnavailable, match=r"classifier\.dense\.bias is missing"):
        models.build(Backbone("own", folder=str(tmp_path), keep_head=True), [])


def test_pinned_weights_are_those_or_none(tmp_path: Path) -> None:
    start = models.build(BACKBONE, TEXTS)
    models.save(start.model, start.tokenizer_json, tmp_path)
    digest = sha256(tmp_path / "model.safetensors")
    assert models.build(Backbone("own", folder=str(tmp_path), sha256=digest), []).origin is not None
    with pytest.raises(BackboneUnavailable, match=rf"backbone\.sha256 is {'0' * 64}; the weights .* have {digest}"):
        models.build(Backbone("own", folder=str(tmp_path), sha256="0" * 64), [])


def test_half_precision_weights_are_taken_in_full(tmp_path: Path) -> None:
    start = models.build(BACKBONE, TEXTS)
    halves = {name: weight.half() for name, weight in start.model.state_dict().items()}
    models.save(start.model, start.tokenizer_json, tmp_path, halves)
    again = models.build(Backbone("own", folder=str(tmp_path), keep_head=True), []).model
    assert {weight.dtype for weight in again.state_dict().values()} == {torch.float32}
    assert torch.equal(again.state_dict()[HEAD], halves[HEAD].float())
