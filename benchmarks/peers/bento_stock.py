"""A stock BentoML service with adaptive batching: ``bentoml serve benchmarks.peers.bento_stock:Classifier``.

After BentoML's "Adaptive batching": one batchable method that takes a list, batches of 32. The latency limit stays at
BentoML's default, because that page says to raise it where requests are refused with 503.
"""

import os

import bentoml
import torch
from pydantic import BaseModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer


class Verdict(BaseModel):
    """The likelier label and its probability."""

    label: str
    score: float


@bentoml.service
class Classifier:
    """A transformers model in torch's inference mode."""

    def __init__(self) -> None:
        folder = os.environ["MODEL_FOLDER"]
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForSequenceClassification.from_pretrained(folder).eval()

    @bentoml.api(batchable=True, max_batch_size=32)
    def classify(self, texts: list[str]) -> list[Verdict]:
        """Judge texts of several callers."""
        inputs = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            scores, classes = self.model(**inputs).logits.softmax(-1).max(-1)  # (B,), (B,)
        labels = self.model.config.id2label
        return [
            Verdict(label=labels[label], score=score)
            for label, score in zip(classes.tolist(), scores.tolist(), strict=True)
        ]
