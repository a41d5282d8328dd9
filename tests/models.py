"""A tiny trained-like model and its bundle, made in a second, for tests that need a real one."""

from dataclasses import replace
from pathlib import Path

import torch
from transformers import PreTrainedModel

from data.bundle import GRAPH_FILE, Bundle, Golden, Manifest
from data.encode import TOKENIZER_FILE, Encoder
from data.files import sha256
from data.labels import NeutralBand
from data.probability import Calibration
from training import model as models
from training.config import Architecture, Backbone
from training.export import export_onnx
from training.predict import logits

BACKBONE = Backbone(
    "tiny-electra",
    architecture=Architecture(layers=1, hidden=32, heads=2, embedding=16, feed_forward=64, vocabulary=600),
)
TEXTS = [
    "정말 재미있어요 최고",
    "시간 낭비 노잼",
    "그냥 그래요",
    "꿀잼 ㅋㅋㅋ 강추",
    "지루하다 별로 ㅠㅠ",
    "연기가 좋다 하지만 이야기가 아쉽다 " * 6,
]
GOLDEN_TEXTS = [text.strip() for text in TEXTS]


def lively(seed: int) -> tuple[PreTrainedModel, str]:
    """A model with random weights so large that its answers differ between texts, and its tokenizer."""
    start = models.build(replace(BACKBONE, seed=seed), TEXTS)
    model = start.model
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(10.0)
    return model.eval(), start.tokenizer_json


def write_bundle(folder: Path, *, seed: int = 0, max_length_tokens: int = 512) -> Bundle:
    """A bundle around a lively model."""
    model, tokenizer_json = lively(seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TOKENIZER_FILE).write_text(tokenizer_json, encoding="utf-8")
    export_onnx(model, folder / GRAPH_FILE)
    encoder = Encoder(tokenizer_json, max_length_tokens)
    rows = encoder.encode(GOLDEN_TEXTS)
    positive = Calibration().positive(logits(model, rows, encoder.pad_id))
    Manifest(
        model_name=BACKBONE.name,
        model_type="ELECTRA",
        max_length_tokens=max_length_tokens,
        calibration=Calibration(),
        neutral_band=NeutralBand(0.45, 0.55),
        fingerprint=encoder.fingerprint,
        files={name: sha256(folder / name) for name in (GRAPH_FILE, TOKENIZER_FILE)},
        golden=tuple(
            Golden(text, tuple(row), float(p)) for text, row, p in zip(GOLDEN_TEXTS, rows, positive, strict=True)
        ),
        metrics={"test_accuracy": 0.5},
        lineage={"profile": "tiny"},
    ).write(folder)
    return Bundle.open(folder)
