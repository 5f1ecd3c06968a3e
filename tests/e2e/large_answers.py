"""A dependency with large answers and a shop that gives up on it after a second, or sooner.

This is the traffic that can freeze a Toxiproxy: an answer of several pieces is still on its way
when the client closes. A single piece is not enough: only a write after the client's reset fails.

Run as `python large_answers.py dependency` or, with `shop --dependency 127.0.0.1:9001` behind it,
as the shop; with `--fallback` that answers 200 all the same when it has given up.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import struct
import sys
from contextlib import suppress

from aiohttp import web

SIZE = 20_000
PIECE = 2_000
PIECE_PAUSE_S = 0.002
GIVE_UP_S = 1.0
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST

_REQUEST = (
    b"POST /bulk HTTP/1.1\r\nHost: bulk\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (SIZE, b"x" * SIZE)
)


async def fetch(host: str, port: int, *, abruptly: bool, give_up_s: float = GIVE_UP_S) -> bool:
    """Send 20 kB and read as much; False where it failed or was given up."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(give_up_s):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(_REQUEST)
            await writer.drain()
            answer = await reader.read(-1)
    except (OSError, TimeoutError):
        answer = b""
    finally:
        if writer is not None:
            _close(writer, abruptly=abruptly)
    return answer.startswith(b"HTTP/1.1 200") and len(answer) >= SIZE


def _close(writer: asyncio.StreamWriter, *, abruptly: bool) -> None:
    if abruptly:
        with suppress(OSError):
            connection: socket.socket = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()
    else:
        writer.close()


async def bulk(request: web.Request) -> web.StreamResponse:
    """20 kB in ten pieces."""
    await request.read()
    response = web.StreamResponse()
    response.content_length = SIZE
    with suppress(ConnectionError):
        await response.prepare(request)
        for _ in range(SIZE // PIECE):
            await response.write(b"y" * PIECE)
            await asyncio.sleep(PIECE_PAUSE_S)
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    """More than fits anywhere, so that a client that does not read stands in the way."""
    await request.read()
    response = web.StreamResponse()
    with suppress(ConnectionError):
        await response.prepare(request)
        while True:
            await response.write(b"z" * SIZE)
    return response


class Shop:
    """Answers a page from what the dependency says, or the last resort when that takes too long."""

    def __init__(self, dependency: str, give_up_s: float, last_resort: int) -> None:
        self._host, _, port = dependency.rpartition(":")
        self._port = int(port)
        self._give_up_s, self._last_resort = give_up_s, last_resort

    async def page(self, request: web.Request) -> web.Response:
        """Every second client closes abruptly."""
        abruptly = int(request.match_info["n"]) % 2 == 0
        found = await fetch(self._host, self._port, abruptly=abruptly, give_up_s=self._give_up_s)
        return web.Response(status=200 if found else self._last_resort)


async def _serve(application: web.Application, name: str) -> None:
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        sys.stdout.write(f"{name} listening on http://127.0.0.1:{runner.addresses[0][1]}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.buffer.read)  # until whoever started us is gone
    finally:
        await runner.cleanup()


def main() -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("role", choices=("dependency", "shop"))
    parser.add_argument("--dependency", metavar="HOST:PORT")
    parser.add_argument("--give-up", type=float, default=GIVE_UP_S, metavar="SECONDS")
    parser.add_argument("--fallback", action="store_true")
    asked = parser.parse_args()
    application = web.Application()
    if asked.role == "shop":
        shop = Shop(asked.dependency, asked.give_up, 200 if asked.fallback else 503)
        application.router.add_get(r"/page/{n:\d+}", shop.page)
    else:
        application.router.add_get("/endless", endless)
        application.router.add_route("*", "/bulk", bulk)
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(application, asked.role))


if __name__ == "__main__":
    main()
