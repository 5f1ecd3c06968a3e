"""A fake Toxiproxy API that answers, hangs, drips or lies as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Answer = Callable[[str, str, bytes], Awaitable[bytes | None]]
"""Method, path and body in; the raw bytes of an HTTP answer out, or None to stay silent."""


@asynccontextmanager
async def fake_api(answer: Answer, drip_s: float = 0.0) -> AsyncIterator[str]:
    """Serve `answer` on a free port, one request a connection; yields the URL."""
    tasks: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = head.partition("content-length:")[2].partition("\r\n")[0].strip()
            body = await reader.readexactly(int(length or 0))
            method, path = head.split()[:2]
            raw = await answer(method.upper(), path, body)
            if raw is None:
                await asyncio.sleep(60)
            elif drip_s:
                for byte in raw:
                    writer.write(bytes([byte]))
                    await asyncio.sleep(drip_s)
            else:
                writer.write(raw)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(converse(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # lets the transports finish closing before the loop does


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
