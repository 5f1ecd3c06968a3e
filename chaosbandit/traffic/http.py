"""One request over one route's own connections, and what became of it.

On aiohttp's connections and its parser, without its sessions, which cost more than both: nothing
resends, follows a redirect, keeps a cookie or decodes a body, for a request is one exchange and a
3xx is an answer. It knows nothing of pacing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import uuid
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict
from yarl import URL

from chaosbandit import __version__
from chaosbandit.core import url_template
from chaosbandit.core.model import Outcome
from chaosbandit.core.scenario import BODILESS
from chaosbandit.errors import TargetError
from chaosbandit.machine_shortage import is_shortage

IDLE_S = (
    1.5  # below the idle limit of common servers, so that a kept connection is rarely a dead one
)
CLOSE_S = 2.0
BODY_LIMIT_BYTES = 10_000_000
FIELD_LIMIT_BYTES = 65_536
FIELDS_LIMIT = 1000
_HTTP = "http:// or https:// and a host"
_LONGEST_WHY = 120  # characters; each bad sample has its own

DEFAULT_HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": f"chaosbandit/{__version__}",
}


@dataclass(frozen=True, slots=True)
class Target:
    """What a route requests, whichever address its connections go to."""

    url: str  # a template: see `core.url_template`
    timeout_s: float
    method: str = "GET"
    headers: Mapping[str, str] | None = None
    fresh_connections: bool = False
    body: str = ""  # a template, too


_READ_BYTES = 65536
_NO_LIMIT = aiohttp.ClientTimeout(total=None, sock_connect=None)  # a request's own covers all
_JSON, _FORM = "application/json", "application/x-www-form-urlencoded"
_FILLED = "sample0filled"  # stands for placeholders while a URL is quoted: that leaves it alone


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
        headers = CIMultiDict(Host=url.netloc.decode("ascii"), **DEFAULT_HEADERS)
        headers.update(target.headers or {})
        if target.fresh_connections:
            headers.setdefault("Connection", "close")
        if target.body:
            is_json = target.body.lstrip().startswith(("{", "["))
            headers.setdefault("Content-Type", _JSON if is_json else _FORM)
        elif target.method not in BODILESS:
            headers.setdefault("Content-Length", "0")
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        path = url.raw_path.decode("ascii")
        line = f"{target.method} {path} HTTP/1.1\r\n"
        self._line = _Filled(line.split(_FILLED), target.url)
        self._fields = fields.encode()
        self._body = _Filled(url_template.literals(target.body), target.body)
        # Both the SNI and the certificate check follow this name, not the address dialled.
        name = url.raw_host.decode("ascii") if url.scheme == "https" else None
        if via is not None:
            host, port = _address(via)
            url = url.copy_with(host=host, port=port)
        self._connector = _connector(target.fresh_connections, tls)
        self._dialled = aiohttp.ClientRequest(
            target.method, URL(str(url), encoded=True), server_hostname=name
        )
        self._used: weakref.WeakSet[ResponseHandler] = weakref.WeakSet()

    async def request(self, seq: int, within_s: float) -> Became:
        """Send once and read to the end; the one time-out covers connecting, headers and body."""
        try:
            async with asyncio.timeout(within_s):
                return Became(Outcome.RESPONSE, await self._exchange(seq))
        except TimeoutError:
            return Became(Outcome.TIMEOUT)
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            return _became(error)

    async def close(self) -> None:
        """Close every connection, waiting a short while for the sockets to be gone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._connector.close()

    def _request(self, seq: int) -> bytes:
        head = self._line.of(seq) + self._fields
        if not self.target.body:
            return head + b"\r\n"
        body = self._body.of(seq)
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body

    async def _exchange(self, seq: int) -> int:
        connection = await self._connector.connect(self._dialled, [], _NO_LIMIT)
        protocol = connection.protocol
        assert protocol is not None
        assert connection.transport is not None
        kept = protocol in self._used
        self._used.add(protocol)
        try:
            protocol.set_response_params(
                skip_payload=self.target.method == "HEAD",
                read_until_eof=True,
                auto_decompress=False,
                read_bufsize=_READ_BYTES,
                max_line_size=FIELD_LIMIT_BYTES,
                max_field_size=FIELD_LIMIT_BYTES,
                max_headers=FIELDS_LIMIT,
            )
            connection.transport.write(self._request(seq))
            try:
                answer, body = await protocol.read()
                while answer.code < 200 and answer.code != 101:  # news before the answer
                    answer, body = await protocol.read()
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
                begun = not isinstance(getattr(error, "message", ""), str)  # it is the head, then
                raise _Lost(str(error), kept=kept and not begun) from error
            received = 0
            while received < BODY_LIMIT_BYTES and (chunk := await body.readany()):
                received += len(chunk)
        except BaseException:
            connection.close()
            raise
        if received < BODY_LIMIT_BYTES:
            connection.release()
        else:
            connection.close()
        return answer.code


class _Filled:
    """A template whose literals are bytes already."""

    def __init__(self, literals: Sequence[str], template: str) -> None:
        self._first, *self._rest = (literal.encode() for literal in literals)
        self._fillers = url_template.fillers(template, _new_uuid)

    def of(self, seq: int) -> bytes:
        """For the sample of this number."""
        text = self._first
        for fill, literal in zip(self._fillers, self._rest, strict=True):
            text += fill(seq).encode() + literal
        return text


class _Lost(aiohttp.ClientError):
    """A connection died under a request before an answer had begun; `kept` by an earlier one."""

    def __init__(self, text: str, *, kept: bool) -> None:
        self.kept = kept
        super().__init__(text)


def _connector(fresh_connections: bool, tls: ssl.SSLContext) -> aiohttp.TCPConnector:
    """Connections that wait for no other."""
    return aiohttp.TCPConnector(
        limit=0,
        ssl=tls,
        resolver=aiohttp.ThreadedResolver(),
        force_close=fresh_connections,
        keepalive_timeout=None if fresh_connections else IDLE_S,
    )


def _became(error: Exception) -> Became:
    match error:
        case aiohttp.ClientConnectorError():
            ours = is_shortage(error.os_error)
            return Became(Outcome.OVERLOAD if ours else Outcome.CONNECT_ERROR)
        case _Lost(kept=True):
            return Became(Outcome.KEPT_CLOSED)
        case HttpProcessingError():
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
        url = httpx.URL(url_template.PLACEHOLDER.sub(_FILLED, target.url))
    except httpx.InvalidURL as error:
        raise TargetError(f"URL {target.url} ({error})", wanted=_HTTP, do="fix it") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise TargetError(f"URL {target.url}", wanted=_HTTP, do="fix it")
    return url


def _new_uuid() -> str:
    return str(uuid.uuid4())


def _address(via: str) -> tuple[str, int]:
    host, _, port = via.rpartition(":")
    return host.strip("[]"), int(port)
