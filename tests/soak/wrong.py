"""Requests that are refused, and how; each quotes a review, which is to be nowhere."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.fleet import ANALYZE
from serving.api import PREFIX

BATCH, STREAM, FEEDBACK = f"{PREFIX}/batch", f"{PREFIX}/stream", f"{PREFIX}/feedback"
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Wrong:
    """A request, and the status that it is refused with."""

    name: str
    status: int
    content: bytes
    path: str = ANALYZE
    headers: Mapping[str, str] = field(default_factory=lambda: _JSON)
    method: str = "POST"
    with_key: bool = True


def wrong(number: int, text: str) -> Wrong:
    """One of the kinds, in turn."""
    kinds = (
        Wrong("not JSON", 400, f'{{"text": "{text}'.encode()),
        Wrong("unknown field", 422, _body({"text": "리뷰", text: 1})),
        Wrong("nothing to judge", 422, _body({"text": " \u200b "})),
        Wrong("no text", 422, _body({"text": [text]})),
        Wrong("lone surrogate", 422, json.dumps({"text": f"{text} \ud800"}).encode()),
        Wrong("too long", 422, _body({"text": f"{text} " * 600})),
        Wrong("plain text", 415, text.encode(), headers={"Content-Type": "text/plain"}),
        Wrong("no gzip", 400, text.encode(), headers={**_JSON, "Content-Encoding": "gzip"}),
        Wrong("no key", 401, _body({"text": text}), with_key=False),
        Wrong("no scope", 403, _body({"who": text}), path=f"{PREFIX}/rollout/promote"),
        Wrong("no route", 404, _body({"text": text}), path=f"{PREFIX}/analyse"),
        Wrong("no method", 405, b"", path=ANALYZE, method="GET"),
        Wrong("too many texts", 422, _body({"texts": [text] * 1_001}), path=BATCH),
        Wrong("no label", 422, _body({"label": text, "text": text}), path=FEEDBACK),
        Wrong("too large", 413, _body({"text": text * (1_100_000 // len(text.encode()))})),
    )
    return kinds[number % len(kinds)]


def _body(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()
