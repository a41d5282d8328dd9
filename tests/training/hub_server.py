"""A hub of a test's own on the loopback, for ``huggingface_hub`` to speak to as to the real one.

As there, small files come from the hub itself, while weights are redirected to storage on another host, named by
their SHA-256, which is also their ETag. The storage serves them over plain HTTP; the xet protocol is not offered.
"""

import hashlib
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

Revisions = Mapping[str, Mapping[str, bytes]]
"""Files of each revision of one repository."""

_LARGE = (".bin", ".safetensors", ".h5")


@dataclass(frozen=True, slots=True)
class Served:
    """One request and how many bytes of a body it was sent; ``file`` is the path for what is no file."""

    method: str
    file: str
    range: str | None
    status: int
    sent_bytes: int


@dataclass(slots=True)
class _Cut:
    after_bytes: int
    times: int
    reset: bool


class HubServer:
    """Serves ``repositories`` until the block around ``serving`` ends, or ``stop``."""

    def __init__(self, repositories: Mapping[str, Revisions]) -> None:
        self.served: list[Served] = []
        self.down = False
        """Whether every request is answered by 503."""
        self._repositories = repositories
        self._cuts: dict[str, _Cut] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Be gone, as a hub that cannot be reached is: connections are refused."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def cut(self, file: str, *, after_bytes: int, times: int, reset: bool = False) -> None:
        """Break off the next ``times`` downloads of ``file``, by closing the connection or by resetting it."""
        self._cuts[file] = _Cut(after_bytes, times, reset)

    def gets(self, file: str) -> list[Served]:
        """The downloads of ``file`` in their order, redirects aside."""
        return [one for one in self.served if (one.method, one.file) == ("GET", file) and one.status < 300]

    def files(self, name: str, revision: str) -> Mapping[str, bytes]:
        """Files at a branch, tag or commit. Raises LookupError with the hub's word for what there is not."""
        if name not in self._repositories:
            raise LookupError("RepoNotFound")
        for known, files in self._repositories[name].items():
            if revision in (known, commit_of(name, files)):
                return files
        raise LookupError("RevisionNotFound")

    def stored(self, digest: str) -> tuple[str, bytes]:
        """Name and content of the large file with this SHA-256."""
        for revisions in self._repositories.values():
            for files in revisions.values():
                for file, content in files.items():
                    if hashlib.sha256(content).hexdigest() == digest:
                        return file, content
        raise LookupError(digest)

    def next_cut(self, file: str) -> tuple[int, bool] | None:
        """Whether this download breaks off: after how many bytes, and whether by a reset."""
        with self._lock:
            cut = self._cuts.get(file)
            if cut is None or not cut.times:
                return None
            cut.times -= 1
            return cut.after_bytes, cut.reset

    def note(self, served: Served) -> None:
        """Remember a request."""
        with self._lock:
            self.served.append(served)


def commit_of(name: str, files: Mapping[str, bytes]) -> str:
    """The commit hash of a revision: the same for the same files."""
    content = "".join(f"{file} {hashlib.sha1(files[file]).hexdigest()}\n" for file in sorted(files))  # noqa: S324
    return hashlib.sha1(f"{name}\n{content}".encode()).hexdigest()  # noqa: S324


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._route()

    def do_GET(self) -> None:
        self._route()

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def _route(self) -> None:
        parts = [unquote(part) for part in self.path.partition("?")[0].strip("/").split("/")]
        if self.hub.down:
            return self._answer(503, self.path, {}, b"")
        try:
            match parts:
                case ["storage", digest]:
                    file, content = self.hub.stored(digest)
                    self._send_file(file, content, {"ETag": f'"{digest}"'})
                case ["api", "models", owner, repository, "revision", revision]:
                    self._describe(f"{owner}/{repository}", revision)
                case [owner, repository, "resolve", revision, *file_parts]:
                    self._resolve(f"{owner}/{repository}", revision, "/".join(file_parts))
                case _:
                    self._answer(404, self.path, {}, b"{}")
        except LookupError as error:
            self._refuse(str(error.args[0]))

    def _describe(self, name: str, revision: str) -> None:
        files = self.hub.files(name, revision)
        siblings = [{"rfilename": file} for file in files]
        described = {"id": name, "modelId": name, "sha": commit_of(name, files), "siblings": siblings, "tags": []}
        self._answer(200, self.path, {"Content-Type": "application/json"}, json.dumps(described).encode())

    def _resolve(self, name: str, revision: str, file: str) -> None:
        files = self.hub.files(name, revision)
        headers = {"X-Repo-Commit": commit_of(name, files)}
        content = files.get(file)
        if content is None:
            self._refuse("EntryNotFound", headers)
        elif file.endswith(_LARGE):
            digest = hashlib.sha256(content).hexdigest()
            headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
            headers["Location"] = f"http://localhost:{self.hub.port}/storage/{digest}"  # not the hub's name
            self._answer(302, file, headers, b"")
        else:
            git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324
            self._send_file(file, content, headers | {"ETag": f'"{git}"'})

    def _send_file(self, file: str, content: bytes, headers: dict[str, str]) -> None:
        headers = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", **headers}
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._answer(206 if wanted else 200, file, headers, content[start:])

    def _refuse(self, code: str, headers: Mapping[str, str] | None = None) -> None:
        said = {"X-Error-Code": code, "X-Error-Message": code, "Content-Type": "application/json", **(headers or {})}
        self._answer(404, self.path, said, json.dumps({"error": code}).encode())

    def _answer(self, status: int, file: str, headers: Mapping[str, str], body: bytes) -> None:
        cut = self.hub.next_cut(file) if self.command == "GET" and status in (200, 206) else None
        sent = b"" if self.command == "HEAD" else body if cut is None else body[: cut[0]]
        self.hub.note(Served(self.command, file, self.headers.get("Range"), status, len(sent)))
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(sent)
        if cut is not None:
            self.close_connection = True
            if cut[1]:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.connection.detach())


@contextmanager
def serving(repositories: Mapping[str, Revisions]) -> Iterator[HubServer]:
    """A hub that is gone after the block."""
    server = HubServer(repositories)
    try:
        yield server
    finally:
        server.stop()
