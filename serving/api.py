"""The routes of the REST contract, as a FastAPI application that BentoML mounts."""

import asyncio
import functools
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeVar

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError

from data.errors import TextError
from serving import problems, schema
from serving.boundary import RequestBoundary
from serving.engine.choose import Choice
from serving.errors import DeadlineExceeded, ModelUnavailable, RequestInvalid
from serving.problems import InputProblem
from serving.sentiment import Answer, Sentiment
from serving.settings import Settings

Body = TypeVar("Body", bound=BaseModel)

VERSION = "1.0.0"
PREFIX = "/api/v1/sentiment"
_DIGITS = 4
"""Decimals of a probability: finer ones would tell apart batches, not reviews."""


class Utf8JsonResponse(JSONResponse):
    """JSON in UTF-8 with Korean as it is; fields that are None are left out before."""

    def render(self, content: Any) -> bytes:
        """Compact UTF-8 JSON."""
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


Route = Callable[[Request], Awaitable[Utf8JsonResponse]]


def create_app(settings: Settings) -> FastAPI:
    """The application. ``app.state.sentiment`` is None until the service has loaded its model."""
    app = FastAPI(
        title="Korean review sentiment",
        version=VERSION,
        description="Judges Korean movie reviews: 긍정, 부정 or 중립.",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.sentiment = None
    app.state.settings = settings
    app.add_middleware(RequestBoundary)
    app.include_router(router)
    problems.install(app)
    return app


def _body_of(model: type[BaseModel]) -> dict[str, Any]:
    """The request body for OpenAPI; the routes read it themselves, to tell 400, 413, 415 and 422 apart."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}


def _within_deadline(route: Route) -> Route:
    """``route``, given up at the deadline, which counts from before the body is read."""

    @functools.wraps(route)
    async def bounded(request: Request) -> Utf8JsonResponse:
        limit_s: float = request.app.state.settings.timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return await route(request)
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer within {limit_s} s") from error

    return bounded


router = APIRouter(prefix=PREFIX, tags=["sentiment"])
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "model": schema.Problem, "content": {problems.MEDIA_TYPE: {}}}
    for status, text in {
        400: "The body is not JSON",
        413: "The body is over the byte limit",
        415: "The media type is not application/json",
        422: "The request breaks the contract; `field` says where",
        503: "Overloaded, or no model is loaded; see `Retry-After`",
        504: "The deadline passed",
    }.items()
}


@router.post(
    "/analyze",
    response_model=schema.AnalyzeResponse,
    responses=_ERRORS,
    openapi_extra=_body_of(schema.AnalyzeRequest),
)
@_within_deadline
async def analyze(request: Request) -> Utf8JsonResponse:
    """Judge one review."""
    started = time.perf_counter()
    body = await _parsed(request, schema.AnalyzeRequest)
    service = _sentiment(request)
    try:
        (answer,) = await service.analyze([body.text], truncate=body.truncate)
    except TextError as error:
        raise InputProblem.of(error, "text") from error
    result = _result(body.text, answer, probabilities=body.return_probabilities)
    data = result | {"model_tag": service.model.tag, "processing_time_ms": _elapsed_ms(started)}
    return Utf8JsonResponse({"status": "success", "data": data})


@router.post(
    "/batch",
    response_model=schema.BatchResponse,
    responses=_ERRORS,
    openapi_extra=_body_of(schema.BatchRequest),
)
@_within_deadline
async def batch(request: Request) -> Utf8JsonResponse:
    """Judge several reviews; the results are in the order of the request."""
    started = time.perf_counter()
    body = await _parsed(request, schema.BatchRequest)
    limit = request.app.state.settings.max_texts
    if len(body.texts) > limit:
        raise RequestInvalid(f"texts holds {len(body.texts)} reviews; at most {limit} are allowed", "texts")
    service = _sentiment(request)
    try:
        answers = await service.analyze(body.texts, truncate=body.truncate)
    except TextError as error:
        raise InputProblem.of(error, f"texts[{error.index}]") from error
    results = [
        _result(text, answer, probabilities=body.return_probabilities)
        for text, answer in zip(body.texts, answers, strict=True)
    ]
    data = {
        "results": results,
        "total_count": len(results),
        "model_tag": service.model.tag,
        "processing_time_ms": _elapsed_ms(started),
    }
    return Utf8JsonResponse({"status": "success", "data": data})


@router.get("/health", response_model=schema.Health, responses={503: {"model": schema.Health}})
async def health(request: Request) -> Utf8JsonResponse:
    """Whether the service can answer, and what it lacks."""
    service: Sentiment | None = request.app.state.sentiment
    redis = service is not None and await service.cache.connected()
    content = {
        "status": _status(service, redis),
        "model_loaded": service is not None,
        "redis_connected": redis,
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return Utf8JsonResponse(content, 200 if service is not None else 503)


@router.get("/model-info", response_model=schema.ModelInfo, responses={503: _ERRORS[503]})
async def model_info(request: Request) -> Utf8JsonResponse:
    """What model is live."""
    return Utf8JsonResponse(_model_info(_sentiment(request)))


def _status(service: Sentiment | None, redis_connected: bool) -> str:
    if service is None:
        return "unhealthy"
    out = service.cache.has_shared and not redis_connected
    return "degraded" if out or service.model.runner.choice.degraded else "healthy"


def _model_info(service: Sentiment) -> dict[str, Any]:
    model, manifest = service.model, service.model.bundle.manifest
    return {
        "model_name": manifest.model_name,
        "model_type": manifest.model_type,
        "language": manifest.language,
        "num_labels": len(manifest.labels),
        "max_length": manifest.max_length_tokens,
        "version": VERSION,
        "model_tag": model.tag,
        "mlflow_version": model.mlflow_version,
        "engine": model.engine.name,
        "precision": model.engine.precision,
        "engine_choice": _engine_choice(model.runner.choice),
        "test_accuracy": manifest.metrics.get("test_accuracy"),
        "preprocessing_fingerprint": manifest.fingerprint,
    }


def _engine_choice(choice: Choice) -> dict[str, Any]:
    trials = [
        {
            "engine": trial.engine,
            "precision": trial.precision,
            **asdict(trial.layout),
            "reviews_per_s": trial.reviews_per_s,
            "refused": trial.refused,
        }
        for trial in choice.trials
    ]
    schedule = choice.schedule
    return {
        **asdict(schedule.engine.layout),
        **asdict(schedule.cut),
        "memory_mib": choice.memory_mib,
        "degraded": choice.degraded,
        "trials": trials,
    }


def _sentiment(request: Request) -> Sentiment:
    service: Sentiment | None = request.app.state.sentiment
    if service is None:
        raise ModelUnavailable("no model is loaded yet")
    return service


def _result(text: str, answer: Answer, *, probabilities: bool) -> dict[str, Any]:
    positive = round(answer.verdict.positive, _DIGITS)
    negative = round(1.0 - positive, _DIGITS)
    result = {
        "text": text,
        "sentiment": answer.verdict.sentiment,
        "score": max(positive, negative),
        "cached": answer.cached,
    }
    if probabilities:
        result["probabilities"] = {"부정": negative, "긍정": positive}
    return result


def _elapsed_ms(started: float) -> float:
    return round((time.perf_counter() - started) * 1_000, 2)


async def _parsed(request: Request, model: type[Body]) -> Body:
    """The request's body as ``model``. Raises InputProblem or RequestInvalid without quoting it."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise InputProblem(problems.MEDIA, f"Content-Type is {media_type[:60]!r}; it must be application/json")
    try:
        text = (await _read(request)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestInvalid(f"the body is not UTF-8 at byte {error.start}") from error
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        place = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputProblem(problems.NOT_JSON, f"the body cannot be parsed as JSON{place}") from error
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        if first["type"] == "extra_forbidden":  # its name is the caller's, and may be a review
            raise RequestInvalid(f"unknown field; allowed are {', '.join(model.model_fields)}") from error
        field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        raise RequestInvalid(f"{field or 'body'}: {first['msg']}", field or None) from error


async def _read(request: Request) -> bytes:
    """The body, given up as soon as it is over the limit."""
    limit: int = request.app.state.settings.max_body_bytes
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise InputProblem(problems.TOO_LARGE, f"the body is over {limit:,} bytes")
        parts.append(part)
    return b"".join(parts)
