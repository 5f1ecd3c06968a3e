"""One request over one route's own connections, and what became of it.

On aiohttp itself: nothing follows a redirect, keeps a cookie or decodes a body, for a request is
one exchange and a 3xx is an answer. It knows nothing of pacing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import aiohttp
import httpx
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from chaosbandit import __version__
from chaosbandit.core.model import Outcome
from chaosbandit.errors import TargetError
from chaosbandit.machine_shortage import is_shortage

IDLE_S = (
    1.5  # below the idle limit of common servers, so that a kept connection is rarely a dead one
)
CLOSE_S = 2.0
BODY_LIMIT_BYTES = 10_000_000
FIELD_LIMIT_BYTES = 65_536
FIELDS_LIMIT = 1000
_LONGEST_WHY = 120  # characters; each bad sample has its own

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


_NUMBER = "sample0number"  # stands for `{n}` while a URL is quoted: quoting leaves it alone


class Became(NamedTuple):
    """What one request came to."""

    outcome: Outcome
    status: int | None = None
    why: str = ""  # as `Sample.why`


class Pool:
    """The connections of one route; `via` is the `host:port` dialled instead of the URL's own."""

    def __init__(self, target: Target, via: str | None, tls: ssl.SSLContext) -> None:
        url = _checked(target)
        self.target = target
        self.via = via
        headers = CIMultiDict(DEFAULT_HEADERS)
        headers["Host"] = url.netloc.decode("ascii")
        headers.update(target.headers or {})
        self._headers = CIMultiDictProxy(headers)
        # Both the SNI and the certificate check follow this name, not the address dialled.
        self._name = url.raw_host.decode("ascii") if url.scheme == "https" else None
        if via is not None:
            host, port = _address(via)
            url = url.copy_with(host=host, port=port)
        self._url = str(url).split(_NUMBER)
        self._session = _session(target.fresh_connections, tls)

    async def request(self, seq: int, within_s: float) -> Became:
        """Send once and read to the end; the one time-out covers connecting, headers and body."""
        try:
            async with asyncio.timeout(within_s):
                return Became(Outcome.RESPONSE, await self._exchange(seq))
        except TimeoutError:
            return Became(Outcome.TIMEOUT)
        except (aiohttp.ClientError, OSError) as error:
            return _became(error)

    async def close(self) -> None:
        """Close every connection, waiting a short while for the sockets to be gone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._session.close()

    async def _exchange(self, seq: int) -> int:
        response = await self._session.request(
            self.target.method,
            URL(str(seq).join(self._url), encoded=True),
            headers=self._headers,
            allow_redirects=False,
            server_hostname=self._name,
        )
        try:
            received = 0
            while received < BODY_LIMIT_BYTES and (chunk := await response.content.readany()):
                received += len(chunk)
        except BaseException:
            response.close()
            raise
        if received < BODY_LIMIT_BYTES:
            response.release()
        else:
            response.close()
        return response.status


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
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # a request's own covers all
        skip_auto_headers=("Content-Type",),
        middlewares=(_send_once,),
        max_line_size=FIELD_LIMIT_BYTES,
        max_field_size=FIELD_LIMIT_BYTES,
        max_headers=FIELDS_LIMIT,
    )


def _became(error: Exception) -> Became:
    match error:
        case aiohttp.ClientConnectorError():
            ours = is_shortage(error.os_error)
            return Became(Outcome.OVERLOAD if ours else Outcome.CONNECT_ERROR)
        case aiohttp.ClientResponseError():
            return Became(Outcome.NO_HTTP, why=_shown(error.message))
        case aiohttp.ClientPayloadError():
            cut = getattr(error.__cause__, "message", "")
            return Became(Outcome.TRANSPORT_ERROR, why=_shown(cut))
        case _:
            return Became(Outcome.TRANSPORT_ERROR)


def _shown(message: str) -> str:
    """The client's words on one line: printable, without the arrow under the place, bounded."""
    printable = "".join(each if each.isprintable() else " " for each in message)
    return " ".join(printable.replace("^", " ").split())[:_LONGEST_WHY]


def _checked(target: Target) -> httpx.URL:
    """The URL of all samples, quoted as browsers do."""
    try:
        url = httpx.URL(target.url.replace("{n}", _NUMBER))
    except httpx.InvalidURL as error:
        raise TargetError(f"found URL {target.url} ({error}), wanted http:// or https://") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise TargetError(f"found URL {target.url}, wanted http:// or https:// and a host; fix it")
    return url


def _address(via: str) -> tuple[str, int]:
    host, _, port = via.rpartition(":")
    return host.strip("[]"), int(port)
