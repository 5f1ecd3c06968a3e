"""Small servers for tests: an echo, and a Toxiproxy API that hangs, drips or lies as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Answer = Callable[[str, str, bytes], Awaitable[bytes | None]]
"""Method, path and body in; the raw bytes of an HTTP answer out, or None to stay silent."""


_SETTLE_S = 0.02  # in which connections are taken that were just being accepted, or are closed

Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(converse: Converse) -> AsyncIterator[str]:
    """A TCP server on a free port that ends with all its connections; yields its `host:port`."""
    writers: set[asyncio.StreamWriter] = set()
    tasks: set[asyncio.Task[None]] = set()

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await converse(reader, writer)
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        tasks.add(asyncio.ensure_future(attend(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"{host}:{port}"
    finally:
        server.close()
        await asyncio.sleep(_SETTLE_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(_SETTLE_S)


@asynccontextmanager
async def fake_api(answer: Answer, drip_s: float = 0.0) -> AsyncIterator[str]:
    """Serve `answer` on a free port, one request a connection; yields the URL."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = head.partition("content-length:")[2].partition("\r\n")[0].strip()
        body = await reader.readexactly(int(length or 0))
        method, path = head.split()[:2]
        reply = await answer(method.upper(), path, body)
        if reply is None:
            await asyncio.Event().wait()
            return
        step = 1 if drip_s else max(1, len(reply))
        for start in range(0, len(reply), step):
            writer.write(reply[start : start + step])
            await asyncio.sleep(drip_s)
        await writer.drain()

    async with serving(converse) as address:
        yield f"http://{address}"


def raw(status: str, body: str = "", kind: str = "application/json") -> bytes:
    """The bytes of an HTTP answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n{body}".encode()


def constant(answer: bytes | None, after_s: float = 0.0) -> Answer:
    """The same answer to everything, after a while."""

    async def reply(method: str, path: str, body: bytes) -> bytes | None:
        await asyncio.sleep(after_s)
        return answer

    return reply
