"""What each server wants to be asked and how it answers: the words between the load generator and a server."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from data.labels import NAMES, NEGATIVE, POSITIVE

Answer = tuple[str, float]
"""A label, and the probability of the winning class as the server gives it."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Paths and bodies for one text and for several, and the answers in a response's JSON, in order."""

    single_path: str
    batch_path: str
    single: Callable[[str], Any]
    batch: Callable[[Sequence[str]], Any]
    answers: Callable[[Any], list[Answer]]

    def request(self, texts: Sequence[str], batch: bool) -> bytes:
        """An HTTP/1.1 request, ready to be sent."""
        content = self.batch(texts) if batch else self.single(texts[0])
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        path = self.batch_path if batch else self.single_path
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def read(self, body: bytes) -> list[Answer]:
        """The answers in a response's body. Raises ValueError, KeyError, TypeError or IndexError for anything else."""
        return self.answers(json.loads(body))


def _labelled(results: Sequence[Any]) -> list[Answer]:
    return [(result["label"], result["score"]) for result in results]


def _contract(content: Any) -> list[Answer]:
    data = content["data"]
    return [(result["sentiment"], result["score"]) for result in data.get("results", [data])]


def _pipeline(content: Any) -> list[Answer]:
    return _labelled(content if isinstance(content, list) else [content])


def _litserve(content: Any) -> list[Answer]:
    return _labelled(content["results"])


def _infinity(content: Any) -> list[Answer]:
    return _labelled([max(scores, key=lambda each: each["score"]) for scores in content["data"]])


def _text(text: str) -> Any:
    return {"text": text}


def _texts(texts: Sequence[str]) -> Any:
    return {"texts": texts}


def _texts_of_one(text: str) -> Any:
    return {"texts": [text]}


DIALECTS = {
    "contract": Dialect("/api/v1/sentiment/analyze", "/api/v1/sentiment/batch", _text, _texts, _contract),
    "fastapi": Dialect("/classify", "/classify-batch", _text, _texts, _pipeline),
    "bento": Dialect("/classify", "/classify", _texts_of_one, _texts, _pipeline),
    "litserve": Dialect("/predict", "/predict", _texts_of_one, _texts, _litserve),
    "infinity": Dialect(
        "/classify",
        "/classify",
        lambda text: {"model": "sentiment", "input": [text]},
        lambda texts: {"model": "sentiment", "input": texts},
        _infinity,
    ),
}


def label_of(positive: float) -> str:
    """What a server without a neutral band calls this probability."""
    return NAMES[POSITIVE if positive >= 0.5 else NEGATIVE]
