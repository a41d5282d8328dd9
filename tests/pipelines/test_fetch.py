import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipelines import fetch
from pipelines.errors import SourceError, WrongFile
from pipelines.params import SourceFile

CONTENT = bytes(range(256)) * 40_000  # 10 MB: more than one block
FILE = SourceFile(name="reviews.txt", bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())


class Server:
    """Serves CONTENT over HTTP with ranges; may cut each answer short, be out for a while, or lack the file."""

    def __init__(self) -> None:
        self.cut_after: int | None = None
        self.failures = 0
        self.silent = False
        self.over = threading.Event()
        self.ranges: list[int] = []
        self.url = ""

    @contextmanager
    def running(self) -> Iterator["Server"]:
        state = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, *, body: bool) -> None:
                if not self.path.endswith(FILE.name):
                    self.send_error(404)
                    return
                if state.failures and body:
                    state.failures -= 1
                    self.send_error(503)
                    return
                requested = self.headers.get("Range")
                start, end = 0, len(CONTENT) - 1
                if requested:
                    first, _, last = requested.removeprefix("bytes=").partition("-")
                    start, end = int(first), min(int(last or end), end)
                part = CONTENT[start : end + 1]
                self.send_response(206 if requested else 200)
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(len(part)))
                if requested:
                    self.send_header("Content-Range", f"bytes {start}-{end}/{len(CONTENT)}")
                self.end_headers()
                if not body:
                    return
                state.ranges.append(start)
                if state.cut_after is not None and start + len(part) > state.cut_after:
                    self.wfile.write(part[: max(0, state.cut_after - start)])
                    self.wfile.flush()
                    if not state.silent:
                        self.close_connection = True
                        self.connection.shutdown(socket.SHUT_RDWR)
                    else:
                        state.over.wait(20)
                    return
                self.wfile.write(part)

            def log_message(self, format: str, *args: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.handle_error = lambda *_: None  # type: ignore[method-assign]
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            self.url = f"http://127.0.0.1:{server.server_address[1]}"
            yield self
            self.over.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server().running() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "FIRST_PAUSE_S", 0.0)


def test_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / FILE.name).write_bytes(CONTENT)
    fetch.fetch_file(str(tmp_path), FILE, tmp_path / "out" / "x.txt", tmp_path / "downloads")
    assert (tmp_path / "out" / "x.txt").read_bytes() == CONTENT


def test_from_http_and_never_again(tmp_path: Path, server: Server) -> None:
    fetch.fetch_file(server.url, FILE, tmp_path / "x.txt", tmp_path / "downloads")
    assert (tmp_path / "x.txt").read_bytes() == CONTENT
    (tmp_path / "x.txt").unlink()
    asked = len(server.ranges)
    fetch.fetch_file(server.url, FILE, tmp_path / "x.txt", tmp_path / "downloads")
    assert (tmp_path / "x.txt").read_bytes() == CONTENT
    assert len(server.ranges) == asked


def test_from_another_file_system(tmp_path: Path) -> None:
    import fsspec

    with fsspec.open(f"memory://published/{FILE.name}", "wb") as file:
        file.write(CONTENT)
    fetch.fetch_file("memory://published", FILE, tmp_path / "x.txt", tmp_path / "downloads")
    assert (tmp_path / "x.txt").read_bytes() == CONTENT


def test_a_cut_connection_leaves_no_target_and_goes_on_next_time(tmp_path: Path, server: Server) -> None:
    target, downloads = tmp_path / "x.txt", tmp_path / "downloads"
    server.cut_after = 7_000_000
    with pytest.raises(SourceError, match=r"of 10,240,000 bytes are here and will be continued.*NSMC_SOURCE"):
        fetch.fetch_file(server.url, FILE, target, downloads)
    assert not target.exists()
    had = (downloads / f"{FILE.sha256}.part").stat().st_size
    assert had > 4_000_000
    server.cut_after, server.ranges = None, []
    fetch.fetch_file(server.url, FILE, target, downloads)
    assert target.read_bytes() == CONTENT
    assert min(server.ranges) == had, "what was had is not asked for again"
    assert [path.name for path in downloads.iterdir()] == [FILE.sha256]


def test_a_server_that_falls_silent_counts_as_gone(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "SILENCE_LIMIT_S", 0.3)
    monkeypatch.setattr(fetch, "ATTEMPTS", 1)
    server.cut_after, server.silent = 7_000_000, True
    with pytest.raises(SourceError, match="will be continued"):
        fetch.fetch_file(server.url, FILE, tmp_path / "x.txt", tmp_path / "downloads")


def test_a_passing_failure_is_tried_again(tmp_path: Path, server: Server) -> None:
    server.failures = 2
    fetch.fetch_file(server.url, FILE, tmp_path / "x.txt", tmp_path / "downloads")
    assert (tmp_path / "x.txt").read_bytes() == CONTENT


def test_what_is_not_there_is_said_at_once(tmp_path: Path, server: Server) -> None:
    with pytest.raises(SourceError, match=r"404.*make demo"):
        fetch.fetch_file(f"{server.url}/elsewhere", FILE.model_copy(update={"name": "y"}), tmp_path / "x", tmp_path)
    with pytest.raises(SourceError, match=r"FileNotFoundError.*make demo"):
        fetch.fetch_file(str(tmp_path / "nowhere"), FILE, tmp_path / "x", tmp_path / "downloads")


def test_no_network_names_the_ways_out(tmp_path: Path, free_port: int) -> None:
    with pytest.raises(SourceError, match=r"Ways out: go online; set NSMC_SOURCE .*make demo"):
        fetch.fetch_file(f"http://127.0.0.1:{free_port}", FILE, tmp_path / "x", tmp_path / "downloads")


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b""])
def test_a_file_of_another_size_is_refused_with_both_sizes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE.name).write_bytes(content)
    with pytest.raises(WrongFile, match=rf"expected 10,240,000 bytes with SHA-256 {FILE.sha256}, got {len(content):,}"):
        fetch.fetch_file(str(tmp_path), FILE, tmp_path / "x.txt", tmp_path / "downloads")
    assert not (tmp_path / "x.txt").exists()


def test_a_file_of_the_same_size_is_refused_with_both_digests(tmp_path: Path) -> None:
    wrong = b"x" + CONTENT[1:]
    (tmp_path / FILE.name).write_bytes(wrong)
    with pytest.raises(WrongFile, match=f"got 10,240,000 bytes with SHA-256 {hashlib.sha256(wrong).hexdigest()}"):
        fetch.fetch_file(str(tmp_path), FILE, tmp_path / "x.txt", tmp_path / "downloads")
    assert not (tmp_path / "x.txt").exists()
    (tmp_path / FILE.name).write_bytes(CONTENT)
    fetch.fetch_file(str(tmp_path), FILE, tmp_path / "x.txt", tmp_path / "downloads")
