"""The routes of the REST contract."""

import asyncio
import functools
import gzip
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError

from data.errors import TextError
from serving import body, problems, schema
from serving.access.quota import Quota
from serving.cache import ASK_AND_KEEP, Reuse
from serving.engine.choose import Choice
from serving.errors import DeadlineExceeded, ModelUnavailable, RequestInvalid
from serving.model import Model
from serving.problems import InputProblem
from serving.sentiment import Answer, How
from serving.slots import Slots, Turn
from serving.watch import Watch

Body = TypeVar("Body", bound=BaseModel)

VERSION = "1.0.0"
PREFIX = "/api/v1/sentiment"
CALLER = "X-Client-ID"
"""By this header callers are told apart where a share of them is answered by another model."""
KEY_ID = "key_id"
"""In a request's scope: the id of the key that it came with."""
MODEL_TAG = "X-Model-Tag"
_DIGITS = 4
"""Decimals of a probability: finer ones would tell apart batches, not reviews."""
_GZIP_BYTES = 1_024
"""Shorter answers are not packed, even where the caller would take them so."""


class Utf8JsonResponse(JSONResponse):
    """JSON in UTF-8 with Korean as it is; fields that are None are left out before."""

    def render(self, content: Any) -> bytes:
        """Compact UTF-8 JSON."""
        return json_bytes(content)

    def packed_for(self, request: Request) -> Self:
        """The same, as gzip where the caller takes it and it is long enough to be worth it."""
        if len(self.body) >= _GZIP_BYTES:
            self.headers["Vary"] = "Accept-Encoding"
            if "gzip" in request.headers.get("accept-encoding", ""):
                self.body = gzip.compress(self.body, compresslevel=1)
                self.headers["Content-Encoding"] = "gzip"
                self.headers["Content-Length"] = str(len(self.body))
        return self


Route = Callable[..., Awaitable[Response]]
"""Of a request, and of the parameters of its query, where it has any."""


def json_bytes(content: Any) -> bytes:
    """Compact UTF-8 JSON, Korean as it is."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """The request body for OpenAPI; the routes read it themselves, to tell 400, 413, 415 and 422 apart."""
    content = {"schema": model.model_json_schema(), "examples": schema.examples_of(model)}
    return {"requestBody": {"required": True, "content": {body.JSON: content}}}


def within_deadline(route: Route) -> Route:
    """``route``, given up at the deadline, which counts from before the body is read."""

    @functools.wraps(route)
    async def bounded(request: Request, **parameters: Any) -> Response:
        limit_s: float = request.app.state.settings.timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return await route(request, **parameters)
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer within {limit_s} s") from error

    return bounded


router = APIRouter(prefix=PREFIX, tags=["sentiment"])
JUDGING_PROBLEMS = problems.documented(400, 401, 403, 413, 415, 422, 429, 503, 504)


@router.post(
    "/analyze",
    response_model=schema.AnalyzeResponse,
    responses=schema.documented(schema.EXAMPLES[schema.AnalyzeResponse]) | JUDGING_PROBLEMS,
    openapi_extra=body_of(schema.AnalyzeRequest),
)
@within_deadline
async def analyze(request: Request) -> Utf8JsonResponse:
    """Judge one review."""
    started = time.perf_counter()
    asked = await parsed(request, schema.AnalyzeRequest)
    headers = await counted(request, 1)
    service = turn_of(request)
    try:
        with Watch(request):
            (answer,) = await service.analyze([asked.text], **_how(request, truncate=asked.truncate))
    except TextError as error:
        raise InputProblem.of(error, "text") from error
    result = {"text": asked.text} | result_of(answer, probabilities=asked.return_probabilities)
    data = result | {"model_tag": service.model.tag, "processing_time_ms": elapsed_ms(started)}
    return success(request, data, headers)


@router.post(
    "/batch",
    response_model=schema.BatchResponse,
    responses=schema.documented(schema.EXAMPLES[schema.BatchResponse]) | JUDGING_PROBLEMS,
    openapi_extra=body_of(schema.BatchRequest),
)
@within_deadline
async def batch(request: Request) -> Utf8JsonResponse:
    """Judge several reviews; the results are in the order of the request."""
    started = time.perf_counter()
    asked = await parsed(request, schema.BatchRequest)
    limit = request.app.state.settings.max_texts
    if len(asked.texts) > limit:
        raise RequestInvalid(f"texts holds {len(asked.texts)} reviews; at most {limit} are allowed", "texts")
    headers = await counted(request, len(asked.texts))
    service = turn_of(request)
    try:
        with Watch(request):
            answers = await service.analyze(asked.texts, **_how(request, truncate=asked.truncate))
    except TextError as error:
        raise InputProblem.of(error, f"texts[{error.index}]") from error
    results = [
        {"text": text} | result_of(answer, probabilities=asked.return_probabilities)
        for text, answer in zip(asked.texts, answers, strict=True)
    ]
    data = {
        "results": results,
        "total_count": len(results),
        "model_tag": service.model.tag,
        "processing_time_ms": elapsed_ms(started),
    }
    return success(request, data, headers)


@router.get(
    "/health",
    response_model=schema.Health,
    responses=schema.documented(schema.EXAMPLES[schema.Health]) | {503: {"model": schema.Health}},
)
async def health(request: Request) -> Utf8JsonResponse:
    """Whether the service can answer, and what it lacks."""
    service: Slots | None = request.app.state.slots
    redis = service is not None and await service.cache.connected()
    content = {
        "status": _status(service, redis),
        "model_loaded": service is not None,
        "redis_connected": redis,
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return Utf8JsonResponse(content, 200 if service is not None else 503)


@router.get(
    "/model-info",
    response_model=schema.ModelInfo,
    responses=schema.documented(schema.EXAMPLES[schema.ModelInfo]) | problems.documented(401, 503),
)
async def model_info(request: Request) -> Utf8JsonResponse:
    """What model is live."""
    return Utf8JsonResponse(_model_info(slots_of(request).model))


BUSIEST: dict[str, Route] = {f"{PREFIX}/analyze": analyze, f"{PREFIX}/batch": batch}
"""See ``serving.express``."""


def _how(request: Request, *, truncate: bool) -> How:
    return {"truncate": truncate, "reuse": reuse_of(request), "request_id": request.scope.get("request_id")}


def _status(service: Slots | None, redis_connected: bool) -> str:
    if service is None:
        return "unhealthy"
    out = service.cache.has_shared and not redis_connected
    return "degraded" if out or service.model.runner.choice.degraded else "healthy"


def _model_info(model: Model) -> dict[str, Any]:
    manifest = model.bundle.manifest
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


def slots_of(request: Request) -> Slots:
    """The models. Raises ModelUnavailable until there is one that answers."""
    slots: Slots | None = request.app.state.slots
    if slots is None:
        raise ModelUnavailable("no model is loaded yet")
    return slots


def turn_of(request: Request) -> Turn:
    """What answers this request. Raises ModelUnavailable."""
    return slots_of(request).turn(caller_of(request))


def caller_of(request: Request) -> str:
    """Who asks, for a share of the callers: what the caller calls itself, else its key or its address."""
    return request.headers.get(CALLER) or account_of(request)


def account_of(request: Request) -> str:
    """Who asks, as far as it is not made up: the key and whom it says it asks for, else the address alone."""
    key_id: str | None = request.scope.get(KEY_ID)
    if key_id is not None:
        return f"{key_id}/{request.headers.get(CALLER, '')}"
    return request.client.host if request.client else ""


async def counted(request: Request, texts: int) -> dict[str, str]:
    """Count ``texts`` towards the caller's quota; returns headers about it. Raises QuotaExceeded or RequestInvalid."""
    return await counted_by(request.app.state.quota, request, texts)


async def counted_by(quota: Quota | None, request: Request, texts: int) -> dict[str, str]:
    """The same, for a request that another application answers."""
    if quota is None:
        return {}
    address = request.client.host if request.client else ""
    allowance = await quota.take(request.scope.get(KEY_ID), address, texts)
    return {} if allowance is None else allowance.headers


def success(request: Request, data: dict[str, Any], headers: Mapping[str, str]) -> Utf8JsonResponse:
    """The answer with ``data`` and ``headers``, of which one names the model, too."""
    named = {MODEL_TAG: data["model_tag"], **headers}
    return Utf8JsonResponse({"status": "success", "data": data}, headers=named).packed_for(request)


def reuse_of(request: Request) -> Reuse:
    """What the caller's ``Cache-Control`` allows."""
    said = request.headers.get("cache-control")
    return ASK_AND_KEEP if said is None else Reuse.of(said)


def result_of(answer: Answer, *, probabilities: bool) -> dict[str, Any]:
    """``schema.Result`` without its text."""
    positive = round(answer.verdict.positive, _DIGITS)
    negative = round(1.0 - positive, _DIGITS)
    result: dict[str, Any] = {
        "sentiment": answer.verdict.sentiment,
        "score": max(positive, negative),
        "cached": answer.cached,
    }
    if probabilities:
        result["probabilities"] = {"부정": negative, "긍정": positive}
    return result


def elapsed_ms(started: float) -> float:
    """Milliseconds since ``started``, which ``time.perf_counter`` said."""
    return round((time.perf_counter() - started) * 1_000, 2)


async def parsed(request: Request, model: type[Body]) -> Body:
    """The request's body as ``model``. Raises InputProblem or RequestInvalid without quoting it."""
    body.check_media_type(request, body.JSON)
    return valid(await body.read(request, request.app.state.settings.max_body_bytes), model)


def valid(text: str, model: type[Body]) -> Body:
    """JSON ``text`` as ``model``. Raises InputProblem or RequestInvalid without quoting it."""
    body.check_depth(text)
    try:
        raw = json.loads(text)
    except ValueError as error:
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
