"""A proxy in front of a real server that is as faulty as a test wants it to be."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PIECE = 65_536


class Proxy:
    """Passes bytes between clients, over TCP, and a server at a Unix socket, in a thread of its own.

    Faults are attributes, and may change at any time: ``down`` refuses and closes connections, ``hung`` takes bytes
    and answers none, ``delay_s`` is added to each answer, ``garbage`` is sent instead of answers. A request that holds
    ``cut_before`` closes its connection unsent, and one that holds ``cut_after`` unanswered; either happens once, and
    with ``down_after_cut`` the proxy is down from then on.
    """

    def __init__(self, server: Path) -> None:
        self._server = server
        self.down = self.hung = self.down_after_cut = False
        self.delay_s = 0.0
        self.garbage = self.cut_before = self.cut_after = b""
        self.cuts = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        """For a Redis client."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._thread.start()
        if not self._started.wait(10):
            raise TimeoutError("the proxy did not start")

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        async def serve() -> None:
            self._listening = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = self._listening.sockets[0].getsockname()[1]
            self._started.set()

        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(serve())
        self._loop.run_forever()
        self._listening.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.down:
            writer.close()
            return
        try:
            from_server, to_server = await asyncio.open_unix_connection(str(self._server))
        except OSError:
            writer.close()
            return
        answers = asyncio.create_task(self._answers(from_server, writer))
        try:
            await self._requests(reader, to_server, answers)
        except OSError:
            pass
        finally:
            answers.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await answers
            for each in (writer, to_server):
                each.close()

    async def _requests(
        self, reader: asyncio.StreamReader, to_server: asyncio.StreamWriter, answers: asyncio.Task[None]
    ) -> None:
        while content := await reader.read(PIECE):
            if self.down:
                return
            if self.cut_before and self.cut_before in content:
                self.cut_before, self.cuts = b"", self.cuts + 1
                return
            if self.cut_after and self.cut_after in content:
                self.cut_after, self.cuts = b"", self.cuts + 1
                answers.cancel()
                to_server.write(content)
                await to_server.drain()
                await asyncio.sleep(0.1)  # the server has done it, and its answer is lost
                self.down = self.down_after_cut
                return
            to_server.write(content)
            await to_server.drain()

    async def _answers(self, from_server: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while content := await from_server.read(PIECE):
            if self.down:
                break
            if self.hung:
                continue
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            writer.write(self.garbage or content)
            await writer.drain()
        writer.close()


@contextmanager
def proxy(server: Path) -> Iterator[Proxy]:
    """A proxy that ends with the block."""
    made = Proxy(server)
    made.start()
    try:
        yield made
    finally:
        made.stop()
