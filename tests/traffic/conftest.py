"""A server that misbehaves as a test asks and counts requests itself, beside a few small things."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from subprocess import run
from typing import Any, Self

import pytest

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class RudeServer:
    """Speaks raw TCP: hands each request to `answer`, which says whether to keep the connection."""

    def __init__(
        self, answer: Callable[[RudeServer, asyncio.StreamWriter], Awaitable[bool]], tls: Any = None
    ) -> None:
        self._answer = answer
        self._tls = tls
        self._tasks: set[asyncio.Task[Any]] = set()
        self.heads: list[str] = []
        self.connections = 0
        self.open = 0
        self.waiting = 0  # requests that have no answer yet
        self.idle_limit_s: float | None = None
        self.nth = 0  # number of the request on its connection, from 1

    @property
    def address(self) -> str:
        """Its host:port."""
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, ssl=self._tls, backlog=512
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        await asyncio.sleep(0)  # sockets close in the next turn of the loop

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        try:
            await self._converse(reader, writer)
        except (asyncio.IncompleteReadError, TimeoutError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort() if task.cancelling() else writer.close()
            self.open -= 1
            self._tasks.discard(task)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nth = 0
        keep = True
        while keep:
            async with asyncio.timeout(self.idle_limit_s):
                head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.decode("latin-1"))
            nth += 1
            self.nth = nth
            self.waiting += 1
            try:
                keep = await self._answer(self, writer)
                await writer.drain()
            finally:
                self.waiting -= 1


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.fixture
def rude_server() -> type[RudeServer]:
    """The class, since tests cannot import from one another."""
    return RudeServer


@pytest.fixture
def reset_connection() -> Callable[[asyncio.StreamWriter], None]:
    """Closes with a RST."""
    return reset


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port whose queue of connections is full: connecting hangs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port
        for filler in fillers:
            filler.close()


@pytest.fixture
def closed_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def shop_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and self-signed certificate of `shop.test` in one file."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate, both = folder / "key.pem", folder / "cert.pem", folder / "both.pem"
    arguments = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=shop.test", "-addext", "subjectAltName=DNS:shop.test"]
    files = ["-keyout", str(key), "-out", str(certificate), "-days", "2"]
    run(["openssl", "req", *arguments, *names, *files], check=True, capture_output=True)
    both.write_text(key.read_text() + certificate.read_text())
    return both
