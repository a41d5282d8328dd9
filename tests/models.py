"""A tiny trained-like model and its bundle, made in a second, for tests that need a real one."""

from dataclasses import replace
from pathlib import Path

import torch
from transformers import PreTrainedModel

from benchmarks import bundles
from data.bundle import Bundle
from data.encode import Encoder, pad
from data.labels import NeutralBand
from training import model as models
from training.config import Architecture, Backbone

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
    encoder = Encoder(tokenizer_json, max_length_tokens)
    rows = encoder.encode(GOLDEN_TEXTS)
    return bundles.write_bundle(
        folder,
        model,
        tokenizer_json,
        GOLDEN_TEXTS,
        [pad(rows, encoder.pad_id)],
        name=BACKBONE.name,
        max_length_tokens=max_length_tokens,
        lengths=map(len, rows),
        neutral_band=NeutralBand(0.45, 0.55),
    )
