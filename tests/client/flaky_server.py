"""A small real HTTP server that speaks the REST contract, and fails in the ways it is told to."""

import json
import os
import select
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PREFIX = "/api/v1/sentiment"
PROBLEM = "urn:nsmc-sentiment:problem:"
MODEL_TAG = "koelectra-nsmc:flaky"
DIGEST = "47a5b6a1" + 28 * "0e"
MARKUP = "<br>"
"""A review in which there is nothing to judge."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came in."""

    path: str
    headers: Mapping[str, str]
    body: Any

    @property
    def first_text(self) -> str:
        body = self.body or {}
        return str(body.get("text") or [*body.get("texts", []), ""][0])


@dataclass(frozen=True, slots=True)
class Reply:
    """What one request gets instead of its answer; with all defaults, its answer."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_s: float = 0.0
    together: int = 0
    """Wait until there have been that many requests at once."""
    reset: bool = False
    """Break the connection at once."""
    raw: bytes | None = None
    """Sent as it is, after which the connection is closed."""
    drip_s: float = 0.0
    """Time between the bytes of ``body``."""


def problem(slug: str, status: int, detail: str, *, field: str | None = None, **headers: str) -> Reply:
    """A problem as the service words it."""
    content = {"type": PROBLEM + slug, "title": "T", "status": status, "detail": detail, "request_id": "logged-1"}
    if field is not None:
        content["field"] = field
    named = {"Content-Type": "application/problem+json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return Reply(status, named, json.dumps(content).encode())


def json_reply(content: Any, status: int = 200) -> Reply:
    return Reply(status, {"Content-Type": "application/json"}, json.dumps(content).encode())


OVERLOADED = problem("overloaded", 503, "the queue is full", Retry_After="0")


class FlakyServer:
    """Answers on a port of its own.

    A request gets what ``by_text`` has for its first review, else the next of ``script``, else ``always``.
    """

    def __init__(self) -> None:
        self.by_text: dict[str, Reply] = {}
        self.script: deque[Reply] = deque()
        self.always = Reply()
        self.asked: list[Asked] = []
        self.most_at_once = 0
        self.opened = 0
        """Connections that were accepted."""
        self.left = 0
        """Callers that hung up while they were waiting."""
        self._at_once = 0
        self._changed = threading.Condition()
        self._connections: set[socket.socket] = set()
        self._stopping = False
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"flaky": self}))
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Hang up on everybody and be gone; connections are refused from now on."""
        self._server.shutdown()
        self._thread.join()
        with self._changed:
            self._stopping = True
            for connection in self._connections:
                with suppress(OSError):  # the other side may have closed it already
                    connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()  # waits for the threads of the connections

    def wait(self, *, asked: int = 0, left: int = 0, limit_s: float = 5.0) -> None:
        """Until that many requests have come in and that many callers have hung up."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.asked) >= asked and self.left >= left, limit_s), (
                f"{len(self.asked)} asked, {self.left} left"
            )

    def paths(self) -> list[str]:
        return [asked.path.removeprefix(PREFIX) for asked in self.asked]

    def ids(self) -> list[str]:
        return [asked.headers["X-Request-ID"] for asked in self.asked]

    @contextmanager
    def connected(self, connection: socket.socket) -> Iterator[None]:
        with self._changed:
            self.opened += 1
            self._connections.add(connection)
        try:
            yield
        finally:
            with self._changed:
                self._connections.discard(connection)

    @contextmanager
    def received(self, asked: Asked) -> Iterator[Reply]:
        """Note a request; gives what it gets."""
        with self._changed:
            self.asked.append(asked)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            reply = self.by_text.get(asked.first_text) or (self.script.popleft() if self.script else self.always)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.most_at_once >= reply.together, 5.0)
        try:
            yield reply
        finally:
            with self._changed:
                self._at_once -= 1

    def hung_up(self) -> None:
        with self._changed:
            if not self._stopping:
                self.left += 1
                self._changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    """So that ``server_close`` waits for the threads."""
    request_queue_size = 64


class _Handler(BaseHTTPRequestHandler):
    flaky: FlakyServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with self.flaky.connected(self.connection):
            try:
                super().handle()
            except ConnectionError:
                self.flaky.hung_up()

    def do_GET(self) -> None:
        self._route(None)

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionResetError
        self._route(json.loads(body))

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def _route(self, body: Any) -> None:
        with self.flaky.received(Asked(self.path, dict(self.headers.items()), body)) as reply:
            if reply.delay_s and self._left_within(reply.delay_s):
                self.close_connection = True
                self.flaky.hung_up()
                return
            if reply.reset:
                self.close_connection = True
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.connection.detach())
            elif reply.raw is not None:
                self.close_connection = True
                self.wfile.write(reply.raw)
            else:
                self._send(reply if reply.status is not None else self._answer(body), reply.drip_s)

    def _left_within(self, delay_s: float) -> bool:
        """Whether the caller hung up within that time."""
        readable, _, _ = select.select([self.connection], [], [], delay_s)
        return bool(readable)

    def _answer(self, body: Any) -> Reply:
        match self.path.removeprefix(PREFIX):
            case "/analyze" if body["text"] == MARKUP:
                return problem("empty-text", 422, "nothing is left of the text after cleaning", field="text")
            case "/analyze":
                return json_reply({"status": "success", "data": _verdict(body["text"], body) | _COMMON})
            case "/batch":
                results = [_verdict(text, body) for text in body["texts"]]
                data = {"results": results, "total_count": len(results)} | _COMMON
                return json_reply({"status": "success", "data": data})
            case "/feedback":
                digest = DIGEST if "text" in body else body.get("text_digest")
                kept = {"label": body["label"], "text_digest": digest, "text_kept": body.get("keep_text", False)}
                return json_reply({"status": "accepted", "data": kept | {"a_field_of_tomorrow": 1}}, 202)
            case "/health":
                return json_reply(HEALTH)
            case "/model-info":
                return json_reply(MODEL_INFO)
            case _:
                return Reply(404, {"Content-Type": "text/html"}, b"<h1>not here</h1>")

    def _send(self, reply: Reply, drip_s: float) -> None:
        assert reply.status is not None
        self.send_response_only(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if not drip_s:
            self.wfile.write(reply.body)
            return
        for byte in reply.body:
            self.wfile.write(bytes([byte]))
            if self._left_within(drip_s):
                raise ConnectionResetError


_COMMON = {"model_tag": MODEL_TAG, "processing_time_ms": 1.5, "a_field_of_tomorrow": {"x": 1}}
HEALTH = {"status": "healthy", "model_loaded": True, "redis_connected": False, "timestamp": "2024-12-15T10:30:00Z"}
MODEL_INFO = {
    "model_name": "tiny",
    "model_type": "ELECTRA",
    "language": "Korean",
    "num_labels": 2,
    "max_length": 512,
    "version": "1.0.0",
    "test_accuracy": 0.875,
    "mlflow_version": None,
}


def _verdict(text: str, body: Any) -> dict[str, Any]:
    verdict = {"text": text, "sentiment": "긍정", "score": 0.75, "cached": False, "new": None}
    if body.get("return_probabilities"):
        verdict["probabilities"] = {"부정": 0.25, "긍정": 0.75}
    return verdict


@contextmanager
def serving() -> Iterator[FlakyServer]:
    """A server that is gone after the block."""
    server = FlakyServer()
    try:
        yield server
    finally:
        server.stop()
