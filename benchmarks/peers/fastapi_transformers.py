"""FastAPI around a transformers pipeline, the usual way: ``uvicorn benchmarks.peers.fastapi_transformers:app``.

The model is loaded in the lifespan, as FastAPI's "Lifespan Events" has it; endpoints are plain functions, which FastAPI
runs in its thread pool ("Concurrency and async / await"); a list goes to the pipeline with ``batch_size``, as
transformers' "Pipeline batching" has it.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

BATCH_SIZE = 32
models: dict[str, Any] = {}


class Review(BaseModel):
    """One text."""

    text: str


class Reviews(BaseModel):
    """Several texts."""

    texts: list[str]


class Verdict(BaseModel):
    """The likelier label and its probability."""

    label: str
    score: float


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Load the model once, before the first request."""
    models["classifier"] = pipeline("text-classification", model=os.environ["MODEL_FOLDER"])
    yield
    models.clear()


app = FastAPI(lifespan=lifespan)


@app.post("/classify")
def classify(review: Review) -> Verdict:
    """Judge one text."""
    return Verdict(**models["classifier"](review.text)[0])


@app.post("/classify-batch")
def classify_batch(reviews: Reviews) -> list[Verdict]:
    """Judge several texts."""
    return [Verdict(**found) for found in models["classifier"](reviews.texts, batch_size=BATCH_SIZE)]
