"""The service's answers, and how they are read from JSON.

The fields that the contract fixes are required; what it may add is None where a service does not give it, and what
this client does not know is ignored. Each ``read_*`` is given the JSON and the id by which the service knows the
request, and raises ValueError naming the field, never its value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeVar, cast, get_args

T = TypeVar("T")
Sentiment = Literal["부정", "긍정", "중립"]
Label = Literal["부정", "긍정"]
_SENTIMENTS = frozenset(get_args(Sentiment))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the service says of one review.

    ``text`` is the review as it was sent. ``score`` is the calibrated probability of the winning class, in [0.5, 1];
    ``sentiment`` is ``중립`` where it lies in the model's neutral band. ``probabilities`` are those of ``부정`` and
    ``긍정``, where they were asked for. ``cached`` says whether the answer was known before, ``model_tag`` whose it is.
    It is number ``index``, from 0, of the request that the service knows as ``request_id``: so ``correct`` may name it.
    Verdicts that say the same are equal, whichever request they come from.
    """

    text: str
    sentiment: Sentiment
    score: float
    probabilities: Mapping[str, float] | None = field(default=None, hash=False)
    cached: bool | None = None
    model_tag: str | None = None
    request_id: str | None = field(default=None, compare=False)
    index: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Correction:
    """What the service kept of a correction: that it is kept does not mean that it is believed.

    ``text_digest`` is what the review is known by, the SHA-256 of its cleaned text in hexadecimal; None where a request
    names it. ``text_kept`` says whether its text was kept, too.
    """

    label: Label
    text_digest: str | None
    text_kept: bool


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the service can answer: ``healthy``, ``degraded`` (it answers, but lacks something) or ``unhealthy``."""

    status: str
    model_loaded: bool
    redis_connected: bool
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model that is live; ``max_length`` is in tokens, ``test_accuracy`` in [0, 1]."""

    model_name: str
    model_type: str
    language: str
    num_labels: int
    max_length: int
    version: str
    model_tag: str | None = None
    mlflow_version: str | None = None
    engine: str | None = None
    precision: str | None = None
    test_accuracy: float | None = None
    preprocessing_fingerprint: str | None = None


def read_verdict(answer: Any, request_id: str, text: str) -> Verdict:
    """The answer of ``/analyze`` about ``text``."""
    data = _data(answer)
    return _verdict(data, text, _optional(data, "model_tag", str), request_id)


def read_verdicts(answer: Any, request_id: str, texts: Sequence[str]) -> list[Verdict]:
    """The answer of ``/batch`` about ``texts``, in their order."""
    data = _data(answer)
    results = _required(data, "results", list)
    if len(results) != len(texts):
        raise ValueError(f"results holds {len(results)} verdicts for {len(texts)} reviews")
    model_tag = _optional(data, "model_tag", str)
    return [
        _verdict(_object(result), text, model_tag, request_id, index)
        for index, (result, text) in enumerate(zip(results, texts, strict=True))
    ]


def read_correction(answer: Any, _request_id: str, label: Label) -> Correction:
    """The answer of ``/feedback`` to a correction to ``label``."""
    data = _data(answer)
    if _required(data, "label", str) != label:
        raise ValueError("a correction is to another label than the one that was sent")
    return Correction(label, _optional(data, "text_digest", str), _required(data, "text_kept", bool))


def read_health(answer: Any, _request_id: str) -> Health:
    """The answer of ``/health``, whether it is well or not."""
    data = _object(answer)
    return Health(
        status=_required(data, "status", str),
        model_loaded=_required(data, "model_loaded", bool),
        redis_connected=_required(data, "redis_connected", bool),
        timestamp=datetime.fromisoformat(_required(data, "timestamp", str)),
    )


def read_model_info(answer: Any, _request_id: str) -> ModelInfo:
    """The answer of ``/model-info``."""
    data = _object(answer)
    return ModelInfo(
        model_name=_required(data, "model_name", str),
        model_type=_required(data, "model_type", str),
        language=_required(data, "language", str),
        num_labels=_required(data, "num_labels", int),
        max_length=_required(data, "max_length", int),
        version=_required(data, "version", str),
        model_tag=_optional(data, "model_tag", str),
        mlflow_version=_optional(data, "mlflow_version", str),
        engine=_optional(data, "engine", str),
        precision=_optional(data, "precision", str),
        test_accuracy=None if data.get("test_accuracy") is None else _fraction(data, "test_accuracy"),
        preprocessing_fingerprint=_optional(data, "preprocessing_fingerprint", str),
    )


def _verdict(data: Mapping[str, Any], text: str, model_tag: str | None, request_id: str, index: int = 0) -> Verdict:
    if _required(data, "text", str) != text:
        raise ValueError("a verdict is about another text than the one in its place")
    sentiment = _required(data, "sentiment", str)
    if sentiment not in _SENTIMENTS:
        raise ValueError("sentiment is none of 부정, 긍정, 중립")
    given = _optional(data, "probabilities", dict)
    return Verdict(
        text=text,
        sentiment=cast(Sentiment, sentiment),
        score=_fraction(data, "score"),
        probabilities=None if given is None else {label: _fraction(given, label) for label in given},
        cached=_optional(data, "cached", bool),
        model_tag=model_tag,
        request_id=request_id,
        index=index,
    )


def _data(answer: Any) -> dict[str, Any]:
    return _required(_object(answer), "data", dict)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("there is no JSON object where one is due")  # noqa: TRY004 - it is about data, not arguments
    return value


def _required(data: Mapping[str, Any], name: str, kind: type[T]) -> T:
    value = data.get(name)
    if not isinstance(value, kind):
        raise ValueError(f"{name} is missing or no {kind.__name__}")  # noqa: TRY004 - as above
    return value


def _optional(data: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    return None if data.get(name) is None else _required(data, name, kind)


def _fraction(data: Mapping[str, Any], name: str) -> float:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} is missing or no number from 0 to 1")
    return float(value)
