"""A server that answers at once, whatever it is asked: what the load generator can do. ``python -m ... PORT``."""

import asyncio
import json
import sys
from typing import cast

import uvloop

from data.labels import NAMES, POSITIVE

RESULT = {"text": "정말 재미있어요 강력 추천합니다", "sentiment": NAMES[POSITIVE], "score": 0.9823, "cached": False}
BATCH = 32


def response(content: object) -> bytes:
    """The bytes of a JSON response."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


SINGLE = response({"status": "success", "data": RESULT})
SEVERAL = response({"status": "success", "data": {"results": [RESULT] * BATCH, "total_count": BATCH}})


class Instant(asyncio.Protocol):
    """Counts bytes until a request is whole, and answers like the service would."""

    def __init__(self) -> None:
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where answers go."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer once the body is there."""
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return
        found = self._data.lower().find(b"content-length:", 0, end)
        length = int(self._data[found + 15 : self._data.index(b"\r\n", found)]) if found >= 0 else 0
        if len(self._data) - end - 4 >= length:
            several = self._data.startswith(b"POST /api/v1/sentiment/batch ")
            self._transport.write(SEVERAL if several else SINGLE)
            self._data = b""


async def serve(port: int) -> None:
    """Until the process is stopped."""
    server = await asyncio.get_running_loop().create_server(Instant, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
