"""Toxiproxy's HTTP API as requests in and responses out; the socket is `server`'s business.

Paths, status codes, bodies and the order of checks are those of Toxiproxy 2.12. What differs, on
purpose:

- Nothing freezes: a change of toxics never waits for a client that does not read, and clients are
  connected to the upstream side by side, each with a time-out.
- Nothing crashes: see `toxics` for what extreme attributes do.
- An update that fails changes nothing; the real one may keep a part of it.
- Draws follow the seed, whatever the timing; the real `-seed` has had no effect since 2.9.
- `reset_peer` resets the connections it was drawn for, the real one every new connection; removed
  or updated while it waits, it obeys at once.
- A `listen` without a host means 127.0.0.1, not all interfaces.
- `Logger` is missing from proxies, metrics are not offered, and `reset` goes by name.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from chaosbandit.toxiproxy import wire
from chaosbandit.toxiproxy.gojson import encode
from chaosbandit.toxiproxy.listening import ListenError, resolve
from chaosbandit.toxiproxy.proxy import Proxy
from chaosbandit.toxiproxy.wire import ProxyRecord, Refusal

VERSION = "2.12.0"
"""The Toxiproxy release whose behaviour this is; clients ask for it."""

ANSWER_TIMEOUT_S = 25.0

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    """What the API needs of an HTTP request."""

    method: str
    target: str
    user_agent: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """What is to be sent back; no content type means no body."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Response]]


class Api:
    """The proxies of one server, and what may be asked of them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._proxies: dict[str, Proxy] = {}

    async def answer(self, request: Request) -> Response:
        """Return the response to any request."""
        routes = self._routes(request.target)
        if routes is None:
            return Response(404, b"404 page not found\n", _TEXT, _NO_SNIFF)
        handler = routes.get(request.method)
        if handler is None:
            return Response(405)
        response = await self._answer_routed(handler, request)
        identity = {"X-Toxiproxy-Request-Id": secrets.token_hex(10)}
        return Response(
            response.status, response.body, response.content_type, {**response.headers, **identity}
        )

    async def close(self) -> None:
        """Stop every proxy and let the loop close the sockets."""
        proxies = [*self._proxies.values()]
        self._proxies.clear()
        for proxy in proxies:
            proxy.stop()
        while not all(proxy.quiet for proxy in proxies):
            await asyncio.sleep(0)

    async def _answer_routed(self, handler: Handler, request: Request) -> Response:
        if request.user_agent.startswith("Mozilla/"):
            return Response(403, b"User agent not allowed\n", _TEXT, _NO_SNIFF)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await handler(request)
        except Refusal as refusal:
            body = encode({"error": refusal.text, "status": refusal.status}) + b"\n"
            return Response(refusal.status, body, _TEXT, _NO_SNIFF)
        except TimeoutError:
            return Response(503)

    def _routes(self, target: str) -> dict[str, Handler] | None:
        path = unquote_to_bytes(urlsplit(target).path).decode(errors="replace")
        match path.split("/"):
            case ["", "version"]:
                return {"GET": self._version}
            case ["", "reset"]:
                return {"POST": self._reset}
            case ["", "populate"]:
                return {"POST": self._populate}
            case ["", "proxies"]:
                return {"GET": self._list, "POST": self._create}
            case ["", "proxies", str(name)] if name:
                return self._proxy_routes(name)
            case ["", "proxies", str(name), "toxics"] if name:
                return self._chain_routes(name)
            case ["", "proxies", str(name), "toxics", str(toxic)] if name and toxic:
                return self._toxic_routes(name, toxic)
        return None

    # The whole server.

    async def _version(self, request: Request) -> Response:
        body = f'{{"version": "{VERSION}"}}\n'.encode()
        return Response(200, body, "application/json;charset=utf-8")

    async def _list(self, request: Request) -> Response:
        return _json(
            200, {name: self._proxies[name].record().to_json() for name in sorted(self._proxies)}
        )

    async def _reset(self, request: Request) -> Response:
        for name in sorted(self._proxies):
            proxy = self._proxies.get(name)
            if proxy is not None:
                await self._start(proxy)
                for toxic in proxy.toxics:
                    proxy.remove_toxic(toxic)
        return Response(204)

    async def _create(self, request: Request) -> Response:
        wanted = wire.parse_new_proxy(request.body)
        if wanted.name in self._proxies:
            raise wire.proxy_already_exists()
        proxy = Proxy(wanted, self._seed)
        self._proxies[wanted.name] = proxy
        if wanted.enabled:
            try:
                await self._start(proxy)
            except BaseException:
                self._forget(proxy)
                raise
        return _json(201, proxy.record().to_json())

    async def _populate(self, request: Request) -> Response:
        done: list[dict[str, Any]] | None = None
        try:
            wanted = wire.parse_populate(request.body)
            for record in wanted:
                done = done or []
                done.append((await self._add_or_replace(record)).record().to_json())
        except Refusal as refusal:
            error = {"error": refusal.text, "status": refusal.status, "proxies": done or None}
            return _json(refusal.status, error)
        return _json(201, {"proxies": done})

    async def _add_or_replace(self, wanted: ProxyRecord) -> Proxy:
        existing = self._proxies.get(wanted.name)
        if existing is not None:
            if not existing.differs(await _resolve(wanted.listen), wanted.upstream):
                return existing
            existing.stop()
        proxy = Proxy(wanted, self._seed)
        if wanted.enabled:
            await self._start(proxy)
        self._proxies[wanted.name] = proxy
        return proxy
