"""One model that nobody trained, in every form that a server wants: a bundle, a Bento around it, and transformers'."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import ElectraForSequenceClassification, PreTrainedTokenizerFast

from benchmarks.bundles import SAMPLES, calibration_batches, write_bundle
from benchmarks.reviews import cleaned
from benchmarks.subjects import SEED, Corpus, Shape
from data.bundle import GRAPH_FILE
from data.encode import Encoder
from data.labels import NAMES
from data.probability import margin
from pipelines.serve import STORE_FOLDER, environment
from training.predict import logits

MAX_LENGTH_TOKENS = 512
MARGIN_DEVIATION = 2.0
"""Of the log odds, over reviews: random weights alone would call every review about as likely good as bad."""
JUDGED = 512


@dataclass(frozen=True, slots=True)
class Weights:
    """Folders of the same weights, and the texts that servers are asked."""

    folder: Path
    parameters: int

    @property
    def bundle(self) -> Path:
        """What serving reads."""
        return self.folder / "bundle"

    @property
    def transformers(self) -> Path:
        """What ``from_pretrained`` reads, and the full graph, which optimum reads."""
        return self.folder / "transformers"

    @property
    def workspace(self) -> Path:
        """A workspace whose package is a Bento around the bundle."""
        return self.folder / "workspace"

    @property
    def texts(self) -> Path:
        """NSMC's test reviews, as JSON."""
        return self.folder / "texts.json"

    def log(self, server: str) -> Path:
        """Where a server writes."""
        return self.folder / f"{server}.log"

    @classmethod
    def make(cls, shape: Shape, corpus: Corpus, test: Path, folder: Path) -> "Weights":
        """Write all of it into ``folder``."""
        model = _decided(shape, corpus)
        made = cls(folder, sum(parameter.numel() for parameter in model.parameters()))
        pad_id = Encoder(corpus.tokenizer_json, MAX_LENGTH_TOKENS).pad_id
        write_bundle(
            made.bundle,
            model,
            corpus.tokenizer_json,
            SAMPLES,
            calibration_batches(corpus.dev.rows, pad_id),
            name="random",
            max_length_tokens=MAX_LENGTH_TOKENS,
            lengths=map(len, corpus.dev.rows),
        )
        model.save_pretrained(made.transformers)
        _save_tokenizer(corpus.tokenizer_json, made.transformers)
        shutil.copy(made.bundle / GRAPH_FILE, made.transformers)
        (made.workspace / STORE_FOLDER).mkdir(parents=True)
        subprocess.run(
            [sys.executable, "-m", "benchmarks.packaged", made.bundle, made.workspace],
            env=environment(made.workspace),
            check=True,
        )
        made.texts.write_text(json.dumps(cleaned(test), ensure_ascii=False), encoding="utf-8")
        return made


def _decided(shape: Shape, corpus: Corpus) -> ElectraForSequenceClassification:
    """Random weights whose last layer is stretched until answers differ between reviews, so that they can be told."""
    model = cast("ElectraForSequenceClassification", shape.model(SEED).eval())
    model.config.id2label, model.config.label2id = dict(enumerate(NAMES)), {name: at for at, name in enumerate(NAMES)}
    pad_id = Encoder(corpus.tokenizer_json, MAX_LENGTH_TOKENS).pad_id
    margins = margin(logits(model, corpus.dev.rows[:JUDGED], pad_id))  # (N,)
    stretch, middle = MARGIN_DEVIATION / float(np.std(margins)), float(np.mean(margins))
    with torch.no_grad():
        model.classifier.out_proj.weight.mul_(stretch)
        model.classifier.out_proj.bias.copy_(torch.tensor([0.5, -0.5]) * stretch * middle)
    return model


def _save_tokenizer(tokenizer_json: str, folder: Path) -> None:
    """Under the class name that transformers 4 and 5 both know."""
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(tokenizer_json), model_max_length=MAX_LENGTH_TOKENS, **special
    )
    tokenizer.save_pretrained(folder)
    settings = folder / "tokenizer_config.json"
    named = json.loads(settings.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    settings.write_text(json.dumps(named, indent=2), encoding="utf-8")
