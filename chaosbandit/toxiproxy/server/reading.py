"""One request read from a connection, within limits of time and size.

Between requests a client may be silent for long; one that has begun has to get to its end. Knows
nothing of answers but the status and text of a refusal.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from http import HTTPStatus

import h11

from chaosbandit.toxiproxy.server.api import Request

IDLE_TIMEOUT_S = 60.0
REQUEST_TIMEOUT_S = 15.0
"""For a whole request, head and body; both limits are the real server's."""

LARGEST_BODY_BYTES = 1024 * 1024

_READ_BYTES = 64 * 1024
_LINGER_S = 1.0
_LINGER_READS = 64


class Refused(Exception):  # noqa: N818  # an answer, not a failure
    """A request that is not read to its end: the answer's status and text."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text
        super().__init__(text)


async def read_request(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[Request, str | None] | None:
    """Return a request and its Host, or None if the client has no more."""
    if not connection.trailing_data[0]:
        async with asyncio.timeout(IDLE_TIMEOUT_S):
            await _receive(connection, reader, writer)
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            return await _read_all(connection, reader, writer)
    except TimeoutError:
        seconds = f"{REQUEST_TIMEOUT_S:g} s"
        raise Refused(408, f"the request did not come to its end within {seconds}\n") from None
    except h11.RemoteProtocolError as error:
        status = HTTPStatus(error.error_status_hint)
        raise Refused(status, f"{status} {status.phrase}") from None


async def _read_all(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[Request, str | None] | None:
    head: h11.Request | None = None
    headers: dict[bytes, bytes] = {}
    body = bytearray()
    while True:
        match connection.next_event():
            case h11.Request() as head:
                headers = dict(head.headers)
                _refuse_large(int(headers.get(b"content-length", 0)))
            case h11.Data(data=data):
                body += data
                _refuse_large(len(body))
            case h11.EndOfMessage() if head is not None:
                return _request(head, headers, bytes(body))
            case h11.NEED_DATA:
                await _receive(connection, reader, writer)
            case _:
                return None


async def _receive(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    if connection.they_are_waiting_for_100_continue:
        go_on = h11.InformationalResponse(status_code=100, headers=[])
        writer.write(connection.send(go_on) or b"")
    connection.receive_data(await reader.read(_READ_BYTES))


def _refuse_large(n_bytes: int) -> None:
    if n_bytes > LARGEST_BODY_BYTES:
        raise Refused(413, f"a body may have {LARGEST_BODY_BYTES} bytes at most\n")


async def linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read on a little: a close with something unread takes the answer away from the client."""
    with contextlib.suppress(TimeoutError):
        writer.write_eof()
        async with asyncio.timeout(_LINGER_S):
            for _ in range(_LINGER_READS):
                if not await reader.read(_READ_BYTES):
                    return


def _request(
    head: h11.Request, headers: Mapping[bytes, bytes], body: bytes
) -> tuple[Request, str | None]:
    agent = headers.get(b"user-agent", b"").decode("latin-1")
    host = headers[b"host"].decode("latin-1") if b"host" in headers else None
    return Request(head.method.decode("ascii"), head.target.decode("latin-1"), agent, body), host
