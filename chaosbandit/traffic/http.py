"""One request over one route's own connections, and what became of it.

The only module that imports httpx. It calls the transport itself rather than an `AsyncClient`: that
keeps cookies and takes a 3xx with an odd Location for a protocol error. It knows nothing of pacing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from chaosbandit import __version__
from chaosbandit.core.model import Outcome
from chaosbandit.errors import TargetError
from chaosbandit.traffic.shortage import is_shortage

IDLE_S = (
    1.5  # below the idle limit of common servers, so that a kept connection is rarely a dead one
)
CLOSE_S = 2.0
BODY_LIMIT_BYTES = 10_000_000
FIELD_LIMIT_BYTES = 65_536

DEFAULT_HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": f"chaosbandit/{__version__}",
}


@dataclass(frozen=True, slots=True)
class Target:
    """What a route requests, whichever address its connections go to."""

    url: str  # `{n}` is replaced by the sample's number
    timeout_s: float
    method: str = "GET"
    headers: Mapping[str, str] | None = None
    fresh_connections: bool = False

    def url_for(self, seq: int) -> httpx.URL:
        """The URL of one sample."""
        return httpx.URL(self.url.replace("{n}", str(seq)))


class Pool:
    """The connections of one route; `via` is the `host:port` dialled instead of the URL's own."""

    def __init__(self, target: Target, via: str | None, tls: ssl.SSLContext) -> None:
        url = _checked(target)
        self.target = target
        self.via = via
        self._dial = _address(via) if via else None
        self._headers = httpx.Headers(DEFAULT_HEADERS)
        self._headers["Host"] = url.netloc.decode("ascii")
        self._headers.update(target.headers)
        secure = url.scheme == "https"
        # Both the SNI and the certificate check follow this name, not the address dialled.
        self._extensions = {"sni_hostname": url.raw_host.decode("ascii")} if secure else {}
        session = _session(target.fresh_connections, tls)
        self._transport = AiohttpTransport(verify=tls, trust_env=False, client=session)

    async def request(self, seq: int, within_s: float) -> tuple[Outcome, int | None]:
        """Send once and read to the end; the one time-out covers connecting, headers and body."""
        try:
            async with asyncio.timeout(within_s):
                return Outcome.RESPONSE, await self._exchange(seq)
        except TimeoutError:
            return Outcome.TIMEOUT, None
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            return _outcome(error), None

    async def close(self) -> None:
        """Close every connection, waiting a short while for the sockets to be gone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._transport.aclose()

    async def _exchange(self, seq: int) -> int:
        url = self.target.url_for(seq)
        if self._dial:
            url = url.copy_with(host=self._dial[0], port=self._dial[1])
        request = httpx.Request(
            self.target.method, url, headers=self._headers, extensions=self._extensions
        )
        response = await self._transport.handle_async_request(request)
        try:
            await _read(response)
        finally:
            await response.aclose()
        return response.status_code


async def _read(response: httpx.Response) -> None:
    """Read the body, undecoded, to its end or to the limit."""
    received = 0
    async with aclosing(cast(AsyncGenerator[bytes, None], response.aiter_raw())) as chunks:
        async for chunk in chunks:
            received += len(chunk)
            if received >= BODY_LIMIT_BYTES:
                return


class _Lost(aiohttp.ClientError):
    """A connection died under a request."""


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Hide the errors after which aiohttp would quietly send the same request again."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise  # nothing was sent, nothing is resent
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Lost(str(error)) from error


def _session(fresh_connections: bool, tls: ssl.SSLContext) -> aiohttp.ClientSession:
    """A session that queues nothing, keeps no cookies, adds no headers and asks no environment."""
    connector = aiohttp.TCPConnector(
        limit=0,
        ssl=tls,
        resolver=aiohttp.ThreadedResolver(),
        force_close=fresh_connections,
        keepalive_timeout=None if fresh_connections else IDLE_S,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        skip_auto_headers=("Content-Type",),
        middlewares=(_send_once,),
        max_line_size=FIELD_LIMIT_BYTES,
        max_field_size=FIELD_LIMIT_BYTES,
    )


def _outcome(error: Exception) -> Outcome:
    # The transport's own classes are no guide: it calls a reset a connect time-out.
    cause = error.__cause__ if isinstance(error, httpx.HTTPError) else error
    if not isinstance(cause, aiohttp.ClientConnectorError):
        return Outcome.TRANSPORT_ERROR
    return Outcome.OVERLOAD if is_shortage(cause.os_error) else Outcome.CONNECT_ERROR


def _checked(target: Target) -> httpx.URL:
    try:
        url = target.url_for(0)
    except httpx.InvalidURL as error:
        raise TargetError(f"found URL {target.url} ({error}), wanted http:// or https://") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise TargetError(f"found URL {target.url}, wanted http:// or https:// and a host; fix it")
    return url


def _address(via: str) -> tuple[str, int]:
    host, _, port = via.rpartition(":")
    return host.strip("[]"), int(port)
