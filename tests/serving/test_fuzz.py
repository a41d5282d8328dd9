"""What the OpenAPI document says holds for whatever schemathesis makes up, well-formed or not."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from serving.access.access import Access
from serving.access.keys import SCOPES, issue
from serving.access.store import FileKeys
from serving.api import BUSIEST, PREFIX
from serving.app import create_app, guard, paths
from serving.boundary import RequestBoundary
from serving.cache import TieredCache
from serving.express import Express
from serving.journal import Journal
from serving.model import Model
from serving.rollout.gates import Limits
from serving.rollout.operator import Operator
from serving.rollout.store import FileStore
from serving.sentiment import Sentiment
from serving.settings import Settings
from serving.slots import Slots
from serving.telemetry.metrics import Metrics
from tests.serving.conftest import DirectBatcher

EXCLUDED = {f"{PREFIX}/stream": [positive_data_acceptance, negative_data_rejection]}
"""A text that holds nothing but markup is refused, and no schema can say so; a stream takes any line, and refuses it
in a line."""
KEY, READS = issue("fuzz", SCOPES, 1.0, time.time())
LIMITS = Settings(max_texts=20, max_body_bytes=20_000)
OPERATIONS = [
    (path, method.upper()) for path, methods in create_app(LIMITS).openapi()["paths"].items() for method in methods
]


@schemathesis.serializer("application/x-ndjson")
def ndjson(_context: schemathesis.SerializationContext, value: Any) -> bytes:
    """The lines as they are, or, where it is to be wrong, anything."""
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "surrogatepass")


@pytest.fixture
def document(model: Model, metrics: Metrics, tmp_path: Path) -> schemathesis.BaseSchema:
    app = create_app(LIMITS)
    store = FileStore(tmp_path)
    report = {"worker": "w-1", "generation": 0, "live": model.tag, "ready": [model.tag, "m:2"], "problems": {}}
    asyncio.run(store.report("w-1", report, 0, {}))
    app.state.operator = Operator(store, Limits(), 60.0)
    app.state.slots = Slots(Sentiment(model, DirectBatcher(model), TieredCache(100, metrics), metrics))
    app.state.journal = Journal(tmp_path / "journal", 1 << 20)
    keys = FileKeys(tmp_path / "keys.json")
    asyncio.run(keys.add(KEY))
    app.state.access = Access(keys, needed=True)
    asyncio.run(app.state.access.refresh())
    guarded = guard(app)
    inner = guarded.cls(Express(app, app, BUSIEST), *guarded.args, **guarded.kwargs)
    whole = RequestBoundary(inner, metrics, paths())
    return schemathesis.openapi.from_asgi(f"{PREFIX}/openapi.json", whole)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_a_documented_one(
    document: schemathesis.BaseSchema, path: str, method: str, mode: GenerationMode
) -> None:
    operation = document[path][method]
    if mode is GenerationMode.NEGATIVE and method == "GET":
        return  # it has no input that could be wrong

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def holds(case: "schemathesis.Case[Any]") -> None:
        headers = {"Authorization": f"Bearer {READS}"}
        case.call_and_validate(headers=headers, excluded_checks=EXCLUDED.get(path, [positive_data_acceptance]))

    holds()
