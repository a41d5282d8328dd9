"""Requests and responses of the REST contract."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Sentiment = Literal["부정", "긍정", "중립"]


class Request(BaseModel):
    """What a caller sends: nothing unknown, nothing converted, and never quoted."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class AnalyzeRequest(Request):
    """One review."""

    text: str = Field(description="The review as written.", examples=["이 영화 정말 재미있어요! 강력 추천합니다."])
    return_probabilities: bool = Field(default=False, description="Add the probability of each class.")
    truncate: bool = Field(default=False, description="Read the beginning of a text that is too long, not refuse it.")


class BatchRequest(Request):
    """Several reviews."""

    texts: list[str] = Field(
        min_length=1,
        description="The reviews as written.",
        examples=[["정말 최고의 영화였어요!", "시간 낭비였습니다.", "그냥 그래요."]],
    )
    return_probabilities: bool = Field(default=False, description="Add the probability of each class.")
    truncate: bool = Field(default=False, description="Read the beginning of texts that are too long.")


def examples_of(model: type[BaseModel]) -> dict[str, Any]:
    """For OpenAPI: a body of ``model``, from the examples of its fields."""
    value = {name: field.examples[0] for name, field in model.model_fields.items() if field.examples}
    return {"example": {"value": value}}


class Result(BaseModel):
    """The verdict on one review; ``score`` is the probability of the winning class."""

    text: str = Field(description="As sent.")
    sentiment: Sentiment
    score: float = Field(ge=0.5, le=1.0)
    probabilities: dict[Literal["부정", "긍정"], float] | None = Field(
        default=None, description="Only where asked for."
    )
    cached: bool = Field(description="Whether the answer was known before.")


class AnalyzeData(Result):
    """A verdict, who gave it, and how long it took."""

    model_tag: str
    processing_time_ms: float


class AnalyzeResponse(BaseModel):
    """Answer of ``/analyze``."""

    status: Literal["success"] = "success"
    data: AnalyzeData


class BatchData(BaseModel):
    """Verdicts in the order of the request, who gave them, and how long they took."""

    results: list[Result]
    total_count: int
    model_tag: str
    processing_time_ms: float


class BatchResponse(BaseModel):
    """Answer of ``/batch``."""

    status: Literal["success"] = "success"
    data: BatchData


class Health(BaseModel):
    """Answer of ``/health``."""

    model_config = ConfigDict(protected_namespaces=())

    status: Literal["healthy", "degraded", "unhealthy"]
    model_loaded: bool
    redis_connected: bool
    timestamp: datetime


class EngineTrial(BaseModel):
    """One engine that was tried at start: its speed, or why it was not taken."""

    engine: str
    precision: str
    streams: int
    threads: int
    reviews_per_s: float | None
    refused: str | None


class EngineChoice(BaseModel):
    """How the engine came to be chosen: everything that was tried on this machine, in order."""

    streams: int = Field(description="Calls at a time.")
    threads: int = Field(description="Threads of each call.")
    batch_tokens: int = Field(description="Tokens a call, at most.")
    call_tokens: int = Field(description="Padding, in tokens, that is worth saving a call.")
    memory_mib: int | None = Field(
        description="What the worker takes once the engine has judged as much as it is ever given at a time."
    )
    degraded: str | None = Field(description="What was asked for, or was there before, and cannot be had.")
    trials: list[EngineTrial]


class ModelInfo(BaseModel):
    """Answer of ``/model-info``: read from the model that is live."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_type: str
    language: str
    num_labels: int
    max_length: int
    version: str = Field(description="Version of this service.")
    model_tag: str
    mlflow_version: str | None = Field(description="None for a bundle that did not come from a registry.")
    engine: str
    precision: str
    engine_choice: EngineChoice
    test_accuracy: float | None
    preprocessing_fingerprint: str


_TAG = "koelectra-nsmc:v7-3f2a9c1d"
_RESULTS = [
    {"text": "정말 최고의 영화였어요!", "sentiment": "긍정", "score": 0.9756, "cached": False},
    {"text": "시간 낭비였습니다.", "sentiment": "부정", "score": 0.9234, "cached": True},
    {"text": "그냥 그래요.", "sentiment": "중립", "score": 0.5123, "cached": False},
]
EXAMPLES: dict[type[BaseModel], dict[str, Any]] = {
    AnalyzeResponse: {
        "status": "success",
        "data": {
            "text": "이 영화 정말 재미있어요! 강력 추천합니다.",
            "sentiment": "긍정",
            "score": 0.9823,
            "cached": False,
            "probabilities": {"부정": 0.0177, "긍정": 0.9823},
            "model_tag": _TAG,
            "processing_time_ms": 3.2,
        },
    },
    BatchResponse: {
        "status": "success",
        "data": {"results": _RESULTS, "total_count": 3, "model_tag": _TAG, "processing_time_ms": 5.1},
    },
    Health: {
        "status": "healthy", "model_loaded": True, "redis_connected": True, "timestamp": "2026-11-23T10:30:00Z",
    },
    ModelInfo: {
        "model_name": "monologg/koelectra-base-v3-discriminator",
        "model_type": "ELECTRA",
        "language": "Korean",
        "num_labels": 2,
        "max_length": 512,
        "version": "1.0.0",
        "model_tag": _TAG,
        "mlflow_version": "7",
        "engine": "onnxruntime-cpu",
        "precision": "int8",
        "engine_choice": {
            "streams": 2, "threads": 1, "batch_tokens": 512, "call_tokens": 0, "memory_mib": 410, "degraded": None,
            "trials": [{
                "engine": "onnxruntime-cpu", "precision": "int8", "streams": 2, "threads": 1,
                "reviews_per_s": 141.2, "refused": None,
            }],
        },
        "test_accuracy": 0.9063,
        "preprocessing_fingerprint": "9b0c5d" + 29 * "1f",
    },
}  # fmt: skip
"""An answer of each kind, for OpenAPI; the figures are made up."""


def documented(example: Any, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of a good answer, beside its schema."""
    return {status: {"content": {"application/json": {"example": example}}}}


class Problem(BaseModel):
    """An error, after RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    field: str | None = Field(default=None, description="Where in the request, for input errors.")
