"""The route that says what each word does to an answer."""

import time
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from data.errors import TextError
from data.text import clean
from serving import schema
from serving.api import (
    JUDGING_PROBLEMS,
    PREFIX,
    Utf8JsonResponse,
    body_of,
    counted,
    elapsed_ms,
    parsed,
    result_of,
    reuse_of,
    success,
    turn_of,
    within_deadline,
)
from serving.explain import explain
from serving.problems import InputProblem
from serving.watch import Watch

_DIGITS = 4
"""Decimals of a weight."""


class ExplainRequest(schema.Request):
    """One review whose words are to be weighed."""

    text: str = Field(description="The review as written.", examples=["배우는 좋은데 이야기가 지루해요"])
    truncate: bool = Field(default=False, description="Read the beginning of a text that is too long, not refuse it.")


class WeighedWord(BaseModel):
    """A word of the cleaned text, or a span of neighbours where there are too many words."""

    text: str
    weight: float = Field(description="Share of the log odds of 긍정, which all add up to; above 0 it speaks for 긍정.")


class ExplainData(schema.AnalyzeData):
    """A verdict with the words that led to it, in the order of the text."""

    words: list[WeighedWord]


class ExplainResponse(BaseModel):
    """Answer of ``/explain``."""

    status: Literal["success"] = "success"
    data: ExplainData


EXAMPLE = {
    "status": "success",
    "data": {
        "text": "배우는 좋은데 이야기가 지루해요",
        "sentiment": "부정",
        "score": 0.8711,
        "cached": False,
        "probabilities": {"부정": 0.8711, "긍정": 0.1289},
        "model_tag": "koelectra-nsmc:v7-3f2a9c1d",
        "words": [
            {"text": "배우는", "weight": 0.1024},
            {"text": "좋은데", "weight": 1.8127},
            {"text": "이야기가", "weight": -0.2406},
            {"text": "지루해요", "weight": -3.5852},
        ],
        "processing_time_ms": 8.4,
    },
}
router = APIRouter(prefix=PREFIX, tags=["sentiment"])


@router.post(
    "/explain",
    response_model=ExplainResponse,
    responses=schema.documented(EXAMPLE) | JUDGING_PROBLEMS,
    openapi_extra=body_of(ExplainRequest),
)
@within_deadline
async def explain_review(request: Request) -> Utf8JsonResponse:
    """Judge one review, and weigh its words: two inferences for each, at most 128."""
    started = time.perf_counter()
    asked = await parsed(request, ExplainRequest)
    headers = await counted(request, 1)
    service, reuse = turn_of(request), reuse_of(request)
    with Watch(request):
        try:
            (answer,) = await service.analyze([asked.text], truncate=asked.truncate, reuse=reuse)
        except TextError as error:
            raise InputProblem.of(error, "text") from error
        weighed = await explain(service, clean(asked.text), answer.verdict.positive, reuse)
    result = {"text": asked.text} | result_of(answer, probabilities=True)
    data = result | {
        "model_tag": service.model.tag,
        "words": [{"text": word.text, "weight": round(word.weight, _DIGITS)} for word in weighed],
        "processing_time_ms": elapsed_ms(started),
    }
    return success(request, data, headers)
