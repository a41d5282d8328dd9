"""uvicorn with our protocol, asked over real sockets."""

import asyncio
import json
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from serving import connections
from serving.connections import HEAD_BYTES, BoundedProtocol

PLAIN = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Connection]]
gate: dict[str, asyncio.Event] = {}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Says OK; of ``/slow`` not before it may, of ``/early`` before the body is there."""
    if scope["type"] != "http":
        return
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    early = scope["path"] == "/early"
    if early:
        await send(start)
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/slow":
        await gate["slow"].wait()
    if not early:
        await send(start)
    await send({"type": "http.response.body", "body": b"OK"})


@pytest.fixture
async def connect(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connect]:
    """To a server of four connections at most, which waits half a second for a head."""
    monkeypatch.setattr(connections, "HEAD_S", 0.5)
    monkeypatch.setitem(uvicorn.config.HTTP_PROTOCOLS, "auto", uvicorn.config.HTTP_PROTOCOLS["auto"])
    connections.bound(4)
    gate["slow"] = asyncio.Event()
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    opened = []

    async def one() -> Connection:
        opened.append(await asyncio.open_connection("127.0.0.1", port))
        return opened[-1]

    yield one
    gate["slow"].set()
    for _, writer in opened:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    server.should_exit = True
    await serving


async def answer(connection: Connection) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of one response."""
    reader, _ = connection
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5.0)).decode()
    headers = {
        name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:] if line)
    }
    body = await reader.readexactly(int(headers["content-length"]))
    return int(head.split()[1]), headers, body


async def refused(connection: Connection) -> tuple[int, str]:
    """Status and kind of a problem, after which the connection is closed."""
    status, headers, body = await answer(connection)
    problem = json.loads(body)
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert problem["status"] == status
    assert problem["request_id"]
    assert await connection[0].read() == b""
    return status, problem["type"].rpartition(":")[2]


async def asked(connection: Connection, data: bytes = PLAIN) -> None:
    connection[1].write(data)
    await connection[1].drain()


async def test_requests_one_after_the_other_and_in_pieces(connect: Connect) -> None:
    connection = await connect()
    for _ in range(3):
        for piece in (PLAIN[:5], PLAIN[5:20], PLAIN[20:]):
            await asked(connection, piece)
            await asyncio.sleep(0.01)
        assert (await answer(connection))[0] == 200


async def test_a_body_is_no_head_whatever_its_size(connect: Connect) -> None:
    connection = await connect()
    body = b"x" * 10 * HEAD_BYTES
    await asked(connection, b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % len(body) + body + PLAIN)
    assert [(await answer(connection))[0] for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\nHost: here\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nX-Much: " + b"a" * HEAD_BYTES + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\n" + b"X-Many: a\r\n" * (HEAD_BYTES // 7) + b"\r\n",
    ],
    ids=["path", "header", "headers"],
)
@pytest.mark.parametrize("pieces", [1, 50])
async def test_a_head_is_bounded(connect: Connect, head: bytes, pieces: int) -> None:
    connection = await connect()
    size = -(-len(head) // pieces)
    with suppress(ConnectionError):
        for start in range(0, len(head), size):
            await asked(connection, head[start : start + size])
            await asyncio.sleep(0)
    assert await refused(connection) == (431, "head-too-large")


async def test_a_head_that_never_ends_is_given_up_long_before_it_fills_the_memory(connect: Connect) -> None:
    connection = await connect()
    sent = 0
    with suppress(ConnectionError):
        await asked(connection, b"GET / HTTP/1.1\r\nX-Long: ")
        while sent < 1 << 30:
            await asked(connection, b"a" * (64 << 10))
            sent += 64 << 10
            await asyncio.sleep(0)
    assert sent < 32 << 20, "what is heard out, and what the sockets hold"


async def test_a_head_that_drips_is_given_up(connect: Connect) -> None:
    first, second = await connect(), await connect()
    await asked(second)
    assert (await answer(second))[0] == 200
    for connection in (first, second):
        for byte in PLAIN[:10]:
            await asked(connection, bytes([byte]))
            await asyncio.sleep(0.01)
        assert await refused(connection) == (408, "head-too-slow"), "the first request, and one after another"


async def test_a_connection_that_says_nothing_is_closed(connect: Connect) -> None:
    reader, _ = await connect()
    assert await asyncio.wait_for(reader.read(), 2.0) == b""


async def test_what_is_no_http_is_a_problem_too(connect: Connect) -> None:
    connection = await connect()
    await asked(connection, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    assert await refused(connection) == (400, "not-http")


@pytest.mark.parametrize("rest", [b"{}\r\n\r\n", PLAIN + b"\x00", b"GET /" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\n\r\n"])
async def test_what_comes_after_a_request_takes_nothing_from_its_answer(connect: Connect, rest: bytes) -> None:
    connection = await connect()
    await asked(connection, PLAIN.replace(b" / ", b" /slow ") + rest)
    await asyncio.sleep(0.05)
    await asked(connection, b"and more")
    gate["slow"].set()
    assert (await answer(connection))[0] == 200
    if rest.startswith(PLAIN):
        assert (await answer(connection))[0] == 200
    assert (await refused(connection))[0] == (431 if len(rest) > HEAD_BYTES else 400)


async def test_a_head_that_drips_behind_a_request_is_given_up_after_its_answer(connect: Connect) -> None:
    connection = await connect()
    await asked(connection, PLAIN.replace(b" / ", b" /slow ") + PLAIN[:10])
    await asyncio.sleep(0.7)
    gate["slow"].set()
    assert (await answer(connection))[0] == 200
    assert (await refused(connection))[0] == 408


async def test_a_body_that_breaks_off_in_the_middle_of_an_answer_ends_it(connect: Connect) -> None:
    connection = await connect()
    await asked(connection, b"POST /early HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert await connection[0].readuntil(b"\r\n\r\n")
    await asked(connection, b"no length\r\n")
    assert await connection[0].read() == b"", "and nothing that is no part of the answer"


async def test_one_that_is_idle_makes_room(connect: Connect) -> None:
    idle = [await connect() for _ in range(4)]
    for connection in idle:
        await asked(connection)
        await answer(connection)
    late = await connect()
    await asked(late)
    assert (await answer(late))[0] == 200
    await asyncio.sleep(0.05)
    assert sum(reader.at_eof() for reader, _ in idle) == 1


async def test_where_all_are_at_work_one_more_is_refused(connect: Connect) -> None:
    busy = [await connect() for _ in range(4)]
    for connection in busy:
        await asked(connection, PLAIN.replace(b"/ ", b"/slow "))
    await asyncio.sleep(0.05)
    late = await connect()
    assert await refused(late) == (503, "overloaded")
    gate["slow"].set()
    assert [(await answer(connection))[0] for connection in busy] == [200] * 4
    again = await connect()
    await asked(again)
    assert (await answer(again))[0] == 200, "there is room again"


async def test_who_is_refused_while_still_sending_hears_why(connect: Connect) -> None:
    busy = [await connect() for _ in range(4)]
    for connection in busy:
        await asked(connection, PLAIN.replace(b"/ ", b"/slow "))
    await asyncio.sleep(0.05)
    late = await connect()
    await asked(late, b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 500_000)
    assert await refused(late) == (503, "overloaded")


def test_no_more_than_there_are_files(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    asked_for: list[tuple[int, int]] = []
    monkeypatch.setitem(uvicorn.config.HTTP_PROTOCOLS, "auto", uvicorn.config.HTTP_PROTOCOLS["auto"])
    monkeypatch.setattr(BoundedProtocol, "most", 0)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 1_500))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked_for.append(limits))
    connections.bound(1_000)
    assert (BoundedProtocol.most, asked_for) == (1_000, [(1_256, 1_500)])
    connections.bound(5_000)
    assert (BoundedProtocol.most, asked_for[-1]) == (1_244, (1_500, 1_500))
    assert "it holds 1244 connections; raise ulimit -n" in caplog.text
