"""LitServe with batching: ``python litserve_api.py PORT``, in an environment of its own.

After LitServe's "Batching" and its own BERT benchmark, which takes batches of 8 and 10 ms; here batches are of 32, as
everywhere in this comparison. A request may hold several texts, since a client that has 32 would send them together.
"""

import os
import sys
from typing import Any

import litserve
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

MAX_BATCH_SIZE = 32
BATCH_TIMEOUT_S = 0.01


class Classifier(litserve.LitAPI):
    """A transformers model in torch's inference mode."""

    def setup(self, device: str) -> None:
        """Load the model once a worker."""
        folder = os.environ["MODEL_FOLDER"]
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForSequenceClassification.from_pretrained(folder).to(device).eval()

    def decode_request(self, request: dict[str, Any]) -> list[str]:
        """The texts of one request."""
        texts: list[str] = request["texts"]
        return texts

    @torch.inference_mode()
    def predict(self, requests: list[list[str]]) -> list[list[dict[str, Any]]]:
        """Judge the texts of several requests together."""
        texts = [text for request in requests for text in request]
        inputs = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(self.device)
        scores, classes = self.model(**inputs).logits.softmax(-1).max(-1)  # (B,), (B,)
        labels = self.model.config.id2label
        verdicts = ({"label": labels[c], "score": s} for c, s in zip(classes.tolist(), scores.tolist(), strict=True))
        return [[next(verdicts) for _ in request] for request in requests]

    def encode_response(self, output: list[dict[str, Any]]) -> dict[str, Any]:
        """The verdicts of one request."""
        return {"results": output}


if __name__ == "__main__":
    api = Classifier(max_batch_size=MAX_BATCH_SIZE, batch_timeout=BATCH_TIMEOUT_S)
    litserve.LitServer(api, accelerator="cpu").run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
