"""A tiny trained-like model and its bundle, made in a second, for tests that need a real one."""

from dataclasses import replace
from pathlib import Path

import torch
from transformers import PreTrainedModel

from data.bundle import FULL, GRAPH_FILE, Bundle, Golden, Manifest
from data.encode import TOKENIZER_FILE, Encoder, pad
from data.files import sha256
from data.labels import NeutralBand
from data.probability import Calibration
from serving.engine.onnx import OnnxEngine
from serving.engine.schedule import DEFAULT_CUT, Schedule
from training import model as models
from training import quantize
from training.config import Architecture, Backbone
from training.export import export_onnx
from training.predict import logits

INT8_FILE = "model.int8.onnx"
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
    """A bundle around a lively model, in full precision and in 8 bits."""
    model, tokenizer_json = lively(seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TOKENIZER_FILE).write_text(tokenizer_json, encoding="utf-8")
    export_onnx(model, folder / GRAPH_FILE)
    encoder = Encoder(tokenizer_json, max_length_tokens)
    rows = encoder.encode(GOLDEN_TEXTS)
    quantize.static(folder / GRAPH_FILE, folder / INT8_FILE, [pad(rows, encoder.pad_id)])
    int8 = Schedule(OnnxEngine(folder / INT8_FILE, encoder.pad_id, "int8"), DEFAULT_CUT)
    positive = zip(
        Calibration().positive(logits(model, rows, encoder.pad_id)).tolist(),
        Calibration().positive(int8.logits(rows)).tolist(),
        strict=True,
    )
    Manifest(
        model_name=BACKBONE.name,
        model_type="ELECTRA",
        max_length_tokens=max_length_tokens,
        calibration=Calibration(),
        neutral_band=NeutralBand(0.45, 0.55),
        fingerprint=encoder.fingerprint,
        graphs={FULL: GRAPH_FILE, "int8": INT8_FILE},
        token_lengths=tuple(sorted(len(row) for row in rows)),
        files={name: sha256(folder / name) for name in (GRAPH_FILE, INT8_FILE, TOKENIZER_FILE)},
        golden=tuple(
            Golden(text, tuple(row), dict(zip((FULL, "int8"), p, strict=True)))
            for text, row, p in zip(GOLDEN_TEXTS, rows, positive, strict=True)
        ),
        metrics={"test_accuracy": 0.5},
        lineage={"profile": "tiny"},
    ).write(folder)
    return Bundle.open(folder)
