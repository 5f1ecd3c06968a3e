"""A tiny HTTP server that answers 200 at once, as a process: the prober's ceiling needs one.

It parses nothing but the ends of requests, so that it is never the slower side.
"""

from __future__ import annotations

import asyncio
import sys
import threading

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"
_END = b"\r\n\r\n"


class Answering(asyncio.Protocol):
    """One kept connection; every request without a body gets the same answer."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request whose end has arrived."""
        assert self._transport is not None
        *ended, self._tail = (self._tail + data).split(_END)
        self._transport.write(ANSWER * len(ended))


async def serve() -> None:
    """Listen on a free loopback port, say which, and end with stdin."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    server = await loop.create_server(Answering, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    sys.stdout.write(f"answering on http://{host}:{port}\n")
    sys.stdout.flush()

    def wait_for_the_end() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    await over.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
