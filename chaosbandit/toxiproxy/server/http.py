"""The embedded Toxiproxy server on its socket: speaks HTTP with h11 and answers with `api`.

Must start fast, so it imports nothing large.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import h11

from chaosbandit.errors import ToxiproxyError
from chaosbandit.toxiproxy.server.allowed_hosts import is_loopback, is_of_this_machine, refusal
from chaosbandit.toxiproxy.server.api import Api, Request, Response, refused
from chaosbandit.toxiproxy.server.file_descriptors import (
    LEAST,
    RESERVE,
    Descriptors,
    limit_now,
    raise_limit,
)
from chaosbandit.toxiproxy.server.listening import (
    EVERYWHERE,
    THIS_MACHINE,
    AddressError,
    bound_address,
    listening_socket,
    resolve,
)
from chaosbandit.toxiproxy.server.request_bodies import Refusal
from chaosbandit.toxiproxy.server.request_reading import Refused, linger, read_request

DEFAULT_HOST = THIS_MACHINE
DEFAULT_PORT = 8474

RESPONSE_TIMEOUT_S = 30.0
"""For all of a response to leave; the real server's limit."""

_TURN_AWAY_S = 1.0
_DATE_FORMAT = "%a, %d %b %Y %H:%M:%S GMT"


async def serve(
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    *,
    seed: int | None = None,
    config: Path | None = None,
    ready: Callable[[str, int], None] | None = None,
) -> None:
    """Run a server until SIGINT or SIGTERM; `ready` is told the address it really has.

    It begins with the proxies of `config`; what is wrong there goes to stderr and stops nothing.
    This process then may have as many descriptors as it can.

    Raises:
        ToxiproxyError: it cannot listen there, or has too few descriptors to be of use.
    """
    raise_limit()
    limit = limit_now()
    if limit is not None and limit < LEAST:
        raise ToxiproxyError(
            f"the embedded Toxiproxy needs more file descriptors: found a limit of {limit}, wanted "
            f"at least {LEAST}; raise `ulimit -n`, 2 for each connection and {RESERVE} to spare"
        )
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_unless_out_of_descriptors)
    async with running(host, port, seed=seed, config=config) as (bound_host, bound_port):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
        try:
            if ready is not None:
                ready(bound_host, bound_port)
            await stopped.wait()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


@contextlib.asynccontextmanager
async def running(
    host: str = DEFAULT_HOST,
    port: int = 0,
    *,
    seed: int | None = None,
    config: Path | None = None,
) -> AsyncIterator[tuple[str, int]]:
    """Have a server on the running loop and yield its host and port; leaving closes everything."""
    descriptors = Descriptors(limit_now())
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        sock = listening_socket(await resolve(place))
    except AddressError as error:
        raise ToxiproxyError(
            f"the Toxiproxy API cannot listen on {place}: found '{error}', wanted a free address "
            "of this machine; stop what uses it or choose another port (0 takes any free one)"
        ) from None
    address = bound_address(sock)
    local = is_loopback(address.host)
    no_host = THIS_MACHINE if local else EVERYWHERE
    api = Api(secrets.randbits(64) if seed is None else seed, descriptors, no_host)
    if config is not None:
        await _populate(api, config)
    own_name = host if local else None
    clients = _Clients(api, descriptors.api_connections, own_name)
    backlog = descriptors.api_connections  # as many are accepted before any is looked at
    server = await asyncio.start_server(clients.serve, sock=sock, backlog=backlog)
    try:
        yield address.host, address.port
    finally:
        server.close()
        await clients.close()
        await api.close()


async def _populate(api: Api, config: Path) -> None:
    try:
        made, refusal = await api.populate(config.read_bytes())  # noqa: ASYNC240  before it serves
    except OSError as error:
        _warn(f"{config} cannot be read ({error.strerror or error}): it begins without proxies")
        return
    if refusal is not None:
        names = ", ".join(proxy.name for proxy in made) or "none"
        _warn(f"{config}: {refusal.text}; proxies made before that: {names}")


def _warn(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads it
        print(f"toxiproxy: {text}", file=sys.stderr, flush=True)  # noqa: T201


class _Clients:
    """The HTTP connections to one API; at most `most` of them are served.

    `own_name` is the host it was given, if a loopback one.
    """

    def __init__(self, api: Api, most: int, own_name: str | None) -> None:
        self._api = api
        self._most = most
        self._own_name = own_name
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = h11.Connection(h11.SERVER)
        try:
            if len(self._tasks) > 2 * self._most:
                return
            if len(self._tasks) > self._most:
                async with asyncio.timeout(_TURN_AWAY_S):
                    await _answer_one(connection, reader, writer, _turned_away)
                return
            while await _answer_one(connection, reader, writer, self._answer):
                connection.start_next_cycle()
        except TimeoutError:  # before OSError, which it is
            writer.transport.abort()  # it may not even read what is waiting for it
        except (OSError, h11.LocalProtocolError):
            pass  # the client is gone, or has nothing more to say
        except asyncio.CancelledError:
            pass  # the server ends; a cancelled connection is not worth a message
        finally:
            self._tasks.discard(task)
            writer.close()

    async def close(self) -> None:
        """End all connections."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, request: Request, host: str | None) -> Response:
        # HTTP/1.0 may have no Host, but no browser speaks that
        if self._own_name is None or host is None or is_of_this_machine(host, self._own_name):
            return await self._api.answer(request)
        return Response(403, refusal(host).encode(), "text/plain; charset=utf-8")


async def _answer_one(
    connection: h11.Connection,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    answer: Callable[[Request, str | None], Awaitable[Response]],
) -> bool:
    """Read a request and answer it; whether another may follow."""
    try:
        found = await read_request(connection, reader, writer)
    except Refused as why:
        writer.write(_refuse(connection, why))
        await linger(reader, writer)
        return False
    if found is None:
        return False
    request, host = found
    response = await answer(request, host)
    with_body = request.method != "HEAD"
    writer.write(_response_bytes(connection, response, with_body=with_body))
    async with asyncio.timeout(RESPONSE_TIMEOUT_S):
        await writer.drain()
    return connection.our_state is h11.DONE and connection.their_state is h11.DONE


async def _turned_away(request: Request, host: str | None) -> Response:
    """There is no descriptor to serve with."""
    response = refused(Refusal(500, os.strerror(errno.EMFILE).lower()))
    return replace(response, headers={**response.headers, "Connection": "close"})


def _response_bytes(connection: h11.Connection, response: Response, *, with_body: bool) -> bytes:
    headers = {**response.headers, "Date": time.strftime(_DATE_FORMAT, time.gmtime())}
    if response.content_type:
        headers["Content-Type"] = response.content_type
    if response.status != 204:
        headers["Content-Length"] = str(len(response.body))
    reason = HTTPStatus(response.status).phrase.encode()
    events: list[h11.Event] = [
        h11.Response(status_code=response.status, headers=[*headers.items()], reason=reason)
    ]
    if response.body and with_body:
        events.append(h11.Data(data=response.body))
    events.append(h11.EndOfMessage())
    sent = b"".join(connection.send(event) or b"" for event in events)
    # Go leaves it out; without the header, h11 would say that chunks follow
    return sent if with_body or response.body else sent.replace(b"Content-Length: 0\r\n", b"")


def _refuse(connection: h11.Connection, why: Refused) -> bytes:
    if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return b""
    headers = {"Connection": "close"}
    response = Response(why.status, why.text.encode(), "text/plain; charset=utf-8", headers)
    return _response_bytes(connection, response, with_body=True)


def _unless_out_of_descriptors(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """asyncio tries again after a second; nobody may be reading what it has to say of that."""
    error = context.get("exception")
    if not (isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)):
        loop.default_exception_handler(context)
