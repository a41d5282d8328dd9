"""The calls of the REST contract: what is sent, and how the answer to it is read. No I/O."""

import json
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar, get_args

from nsmc_sentiment import answers
from nsmc_sentiment.answers import Correction, Health, Label, ModelInfo, Verdict

T = TypeVar("T")
PREFIX = "/api/v1/sentiment"
REQUEST_ID, CLIENT_ID = "X-Request-ID", "X-Client-ID"
_IDS = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""Request ids that the service takes over; it replaces others by its own."""
_CLIENTS = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True, slots=True)
class Flags:
    """What a caller may ask for beside the verdicts; only what is asked for is sent."""

    probabilities: bool = False
    truncate: bool = False
    fresh: bool = False

    @property
    def fields(self) -> dict[str, bool]:
        """The request's fields."""
        wanted = {"return_probabilities": self.probabilities, "truncate": self.truncate}
        return {name: True for name, asked in wanted.items() if asked}


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call: the request, the same for each attempt, and ``read``, which raises ValueError for what it cannot read.

    ``read`` is given the JSON of the answer and the id by which the service knows the request. ``statuses`` are those
    whose JSON is an answer. ``first`` is the place of the first text among the caller's.
    """

    method: str
    path: str
    request_id: str
    read: Callable[[Any, str], T]
    content: bytes | None = field(default=None, repr=False)
    statuses: frozenset[int] = frozenset({200})
    fresh: bool = False
    first: int = 0
    client_id: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers that are this call's own."""
        headers = {REQUEST_ID: self.request_id}
        if self.content is not None:
            headers["Content-Type"] = "application/json"
        if self.fresh:
            headers["Cache-Control"] = "no-cache"
        if self.client_id is not None:
            headers[CLIENT_ID] = self.client_id
        return headers


def analyze(text: str, flags: Flags, request_id: str | None, client_id: str | None = None) -> Call[Verdict]:
    """One review."""
    if not isinstance(text, str):
        raise TypeError(f"text is a {type(text).__name__}; it must be a str")
    return Call(
        "POST",
        f"{PREFIX}/analyze",
        identity(request_id),
        partial(answers.read_verdict, text=text),
        _json({"text": text} | flags.fields),
        fresh=flags.fresh,
        client_id=client(client_id),
    )


def batch(
    texts: Iterable[str], flags: Flags, request_id: str | None, client_id: str | None = None, *, first: int = 0
) -> Call[list[Verdict]]:
    """Several reviews, the first of which is number ``first`` of the caller's."""
    if isinstance(texts, str):
        raise TypeError("texts is a str; it must be several of them")
    held = list(texts)
    for index, text in enumerate(held, first):
        if not isinstance(text, str):
            raise TypeError(f"text {index} is a {type(text).__name__}; it must be a str")
    return Call(
        "POST",
        f"{PREFIX}/batch",
        identity(request_id),
        partial(answers.read_verdicts, texts=held),
        _json({"texts": held} | flags.fields),
        fresh=flags.fresh,
        first=first,
        client_id=client(client_id),
    )


def correct(
    label: Label,
    *,
    text: str | None = None,
    text_digest: str | None = None,
    request_id: str | None = None,
    index: int = 0,
    keep_text: bool = False,
    client_id: str | None = None,
) -> Call[Correction]:
    """What a review should have been called; ``request_id`` is that of the call which asked about it, not of this one.

    Raises ValueError, which quotes no argument, where they say no label or not which review.
    """
    if label not in get_args(Label):
        raise ValueError(f"label must be one of {', '.join(get_args(Label))}")
    given = {"text": text, "text_digest": text_digest, "request_id": request_id}
    review = {name: value for name, value in given.items() if value is not None}
    if len(review) != 1:
        raise ValueError("exactly one of text, text_digest and request_id must be given")
    for name, value in review.items():
        if not isinstance(value, str):
            raise TypeError(f"{name} is a {type(value).__name__}; it must be a str")
    if index and request_id is None:
        raise ValueError("index is that of a review within request_id, which is not given")
    if keep_text and text is None:
        raise ValueError("keep_text needs text: there is none to keep")
    wanted = {"index": index, "keep_text": keep_text}
    return Call(
        "POST",
        f"{PREFIX}/feedback",
        identity(None),
        partial(answers.read_correction, label=label),
        _json({"label": label} | review | {name: value for name, value in wanted.items() if value}),
        statuses=frozenset({202}),
        client_id=client(client_id),
    )


def health(request_id: str | None) -> Call[Health]:
    """Whether the service can answer; 503 with a body of the contract is an answer, too."""
    statuses = frozenset({200, 503})
    return Call("GET", f"{PREFIX}/health", identity(request_id), answers.read_health, statuses=statuses)


def model_info(request_id: str | None) -> Call[ModelInfo]:
    """What model is live."""
    return Call("GET", f"{PREFIX}/model-info", identity(request_id), answers.read_model_info)


def identity(request_id: str | None) -> str:
    """The caller's request id, or a new one. Raises ValueError for one that the service would not take over."""
    if request_id is None:
        return uuid.uuid4().hex
    if not _IDS.fullmatch(request_id):
        raise ValueError(
            f"request_id is {request_id!r}; it must be 1 to 128 of the characters A-Z, a-z, 0-9, '.', '_' and '-'"
        )
    return request_id


def client(client_id: str | None) -> str | None:
    """Whom the caller asks for. Raises ValueError, without quoting it, for what no header can hold."""
    if client_id is not None and not _CLIENTS.fullmatch(client_id):
        raise ValueError("client_id must be 1 to 128 visible characters of ASCII")
    return client_id


def _json(body: dict[str, Any]) -> bytes:
    """UTF-8 JSON."""
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        # lone surrogates have no UTF-8; escaped, they reach the service, which says in which text they are
        return json.dumps(body).encode()
