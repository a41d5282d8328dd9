"""NDJSON in, NDJSON out, through the application and a real (tiny) model."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from serving.api import PREFIX
from serving.app import create_app
from serving.body import NDJSON
from serving.errors import Overloaded
from serving.sentiment import Sentiment
from serving.settings import Settings
from serving.slots import Slots
from serving.stream import GROUP_LINES
from tests.serving.conftest import DirectBatcher

SETTINGS = Settings(max_body_bytes=8_000, max_stream_bytes=100_000, timeout_s=0.5, max_latency_ms=100)


@pytest.fixture
def app(sentiment: Sentiment) -> FastAPI:
    app = create_app(SETTINGS)
    app.state.slots = Slots(sentiment)
    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=f"http://test{PREFIX}") as client:
        yield client


def lines_of(*values: Any) -> bytes:
    return b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values)


async def asked(client: httpx.AsyncClient, content: bytes, **more: Any) -> list[dict[str, Any]]:
    headers = {"Content-Type": NDJSON} | more.pop("headers", {})
    response = await client.post("/stream", content=content, headers=headers, **more)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == NDJSON
    return [json.loads(line) for line in response.text.splitlines()]


async def test_a_line_for_each_line_and_totals(client: httpx.AsyncClient, batcher: DirectBatcher) -> None:
    texts = [f"정말 재미있어요 {number}" for number in range(GROUP_LINES + 5)]
    *results, totals = await asked(client, lines_of(*({"text": text, "id": f"r{n}"} for n, text in enumerate(texts))))
    assert [(result["index"], result["id"]) for result in results] == [(n, f"r{n}") for n in range(len(texts))]
    alone = (await client.post("/analyze", json={"text": texts[-1]})).json()["data"]
    assert (results[-1]["sentiment"], results[-1]["score"]) == (alone["sentiment"], alone["score"])
    assert alone["cached"]
    assert (totals["total_count"], totals["error_count"]) == (len(texts), 0)
    assert totals["model_tag"] == "koelectra-nsmc:test"
    assert [len(rows) for rows in batcher.calls] == [GROUP_LINES, 5]
    assert not {"text", "probabilities"} & results[0].keys()


async def test_options(client: httpx.AsyncClient) -> None:
    long = {"text": "재미 " * 600}
    refused, totals = await asked(client, lines_of(long)[:-1])
    assert refused["error"]["type"].endswith(":text-too-long")
    assert totals["error_count"] == 1
    taken, _ = await asked(client, lines_of(long), params={"truncate": "true", "return_probabilities": "true"})
    assert sum(taken["probabilities"].values()) == pytest.approx(1.0)


async def test_a_bad_line_has_a_problem_and_the_others_have_answers(client: httpx.AsyncClient) -> None:
    content = (
        lines_of({"text": "좋다"}, "x", {"text": ""})
        + b"{\n\n  \n"
        + b'{"text": "\xff"}\n'
        + lines_of({"text": "재미 " * 600, "id": 7}, {"text": "별로", "more": 1}, {"text": "싫다"})
    )
    *results, totals = await asked(client, content)
    kinds = [result["error"]["type"].rpartition(":")[2] if "error" in result else "" for result in results]
    assert kinds == [
        "", "invalid-request", "empty-text", "not-json", "invalid-request", "text-too-long", "invalid-request", "",
    ]  # fmt: skip
    assert results[5]["id"] == 7
    assert (totals["total_count"], totals["error_count"]) == (8, 6)


async def test_what_is_too_long_ends_the_answer_without_totals(client: httpx.AsyncClient) -> None:
    first, last = await asked(client, lines_of({"text": "좋다"}) + b"x" * 9_000)
    assert first["sentiment"]
    assert last["error"]["type"].endswith(":body-too-large")
    early = await client.post("/stream", content=b"x" * 200_000, headers={"Content-Type": NDJSON})
    assert early.status_code == 413


@pytest.mark.parametrize(
    ("packed", "kind"),
    [
        (gzip.compress(lines_of({"text": "좋다"})), None),
        (gzip.compress(b" " * 500_000), "body-too-large"),
        (gzip.compress(lines_of({"text": "좋다"}))[:-9], "not-gzip"),
        (b"no gzip", "not-gzip"),
    ],
)
async def test_gzip(client: httpx.AsyncClient, packed: bytes, kind: str | None) -> None:
    *_, last = await asked(client, packed, headers={"Content-Encoding": "gzip"})
    assert (last.get("error") or {"type": None})["type"] == (kind and f"urn:nsmc-sentiment:problem:{kind}")


async def test_other_media_types(client: httpx.AsyncClient) -> None:
    assert (await client.post("/stream", json={"text": "좋다"})).status_code == 415
    headers = {"Content-Type": NDJSON, "Content-Encoding": "br"}
    assert (await client.post("/stream", content=b"", headers=headers)).status_code == 415


async def test_an_empty_list(client: httpx.AsyncClient) -> None:
    (totals,) = await asked(client, b"\n")
    assert totals["total_count"] == 0


async def test_a_full_queue_is_waited_for(client: httpx.AsyncClient, batcher: DirectBatcher) -> None:
    batcher.error = Overloaded("full")
    asyncio.get_running_loop().call_later(0.15, setattr, batcher, "error", None)
    first, totals = await asked(client, lines_of({"text": "좋다"}))
    assert first["sentiment"]
    assert totals["error_count"] == 0
    batcher.error = Overloaded("full")
    refused, _ = await asked(client, lines_of({"text": "싫다"}))
    assert refused["error"]["status"] == 503


async def test_a_group_that_takes_too_long_is_told_and_the_next_one_goes_on(
    client: httpx.AsyncClient, batcher: DirectBatcher
) -> None:
    batcher.delay_s = 5.0
    late, totals = await asked(client, lines_of({"text": "좋다"}))
    assert late["error"]["status"] == 504
    assert totals["error_count"] == 1


class Caller:
    """The other side of a connection, without a server between."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.sent: list[dict[str, Any]] = []
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for piece in pieces:
            self.inbox.put_nowait({"type": "http.request", "body": piece, "more_body": True})

    async def post(self, app: FastAPI) -> None:
        scope = {
            "type": "http", "method": "POST", "path": f"{PREFIX}/stream", "query_string": b"", "root_path": "",
            "headers": [(b"content-type", NDJSON.encode())], "http_version": "1.1", "scheme": "http",
        }  # fmt: skip
        await app(scope, self.inbox.get, self._take)

    async def _take(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def lines(self) -> list[Any]:
        body = b"".join(message.get("body", b"") for message in self.sent)
        return [json.loads(line) for line in body.splitlines()]


async def wait_for(caller: Caller, count: int) -> None:
    async with asyncio.timeout(5):
        while len(caller.lines) < count:  # noqa: ASYNC110 - what comes is only seen
            await asyncio.sleep(0.005)


async def test_verdicts_come_while_the_list_is_still_being_written(app: FastAPI) -> None:
    caller = Caller([lines_of({"text": "좋다"}), lines_of({"text": "별로"})[:9]])
    answering = asyncio.create_task(caller.post(app))
    await wait_for(caller, 1)
    assert not answering.done()
    caller.inbox.put_nowait({"type": "http.request", "body": lines_of({"text": "별로"})[9:], "more_body": False})
    await answering
    assert [line.get("index") for line in caller.lines] == [0, 1, None]


async def test_a_caller_that_stops_writing_is_given_up(app: FastAPI) -> None:
    caller = Caller([lines_of({"text": "좋다"})])
    await caller.post(app)
    assert caller.lines[-1]["error"]["type"].endswith(":deadline-exceeded")


@pytest.mark.parametrize("more", [True, False])
async def test_a_caller_that_leaves_is_not_worked_for(app: FastAPI, batcher: DirectBatcher, more: bool) -> None:
    batcher.delay_s = 0.1
    pieces = [lines_of(*({"text": f"좋다 {part} {number}"} for number in range(GROUP_LINES))) for part in range(8)]
    caller = Caller(pieces)
    answering = asyncio.create_task(caller.post(app))
    if not more:
        caller.inbox.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    caller.inbox.put_nowait({"type": "http.disconnect"})
    async with asyncio.timeout(5):
        await answering
    assert len(batcher.calls) < 4
    assert not any("total_count" in line for line in caller.lines)
