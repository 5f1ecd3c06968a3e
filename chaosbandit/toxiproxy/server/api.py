"""Toxiproxy's HTTP API as requests in and responses out; the socket is `http`'s business.

Paths, status codes, bodies and the order of checks are those of Toxiproxy 2.12. What differs, on
purpose:

- Nothing freezes: a change of toxics never waits for a client that does not read, and clients are
  connected to the upstream side by side, each with a time-out.
- Nothing crashes: see `toxics` for what extreme attributes do.
- An update that fails changes nothing; the real one may keep a part of it.
- Draws follow the seed, whatever the timing; the real `-seed` has had no effect since 2.9.
- `reset_peer` resets the connections it was drawn for, the real one every new connection; removed
  or updated while it waits, it obeys at once.
- A `listen` without a host means 127.0.0.1, not all interfaces, while the API itself is on a
  loopback address.
- A body has 1 MiB at most; on a loopback address foreign names are refused: `allowed_hosts`.
- `GET /x/shortages` counts how often clients waited or were lost because the process had no
  descriptor or port left: to them it looks like a sick upstream.
- `Logger` is missing from proxies, metrics are not offered, and `reset` goes by name.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from chaosbandit.toxiproxy.server import request_bodies
from chaosbandit.toxiproxy.server.file_descriptors import Descriptors
from chaosbandit.toxiproxy.server.go_json import encode
from chaosbandit.toxiproxy.server.listening import THIS_MACHINE, Address, AddressError, resolve
from chaosbandit.toxiproxy.server.proxy import Proxy
from chaosbandit.toxiproxy.server.request_bodies import Refusal
from chaosbandit.toxiproxy.server.request_target import read_target
from chaosbandit.toxiproxy.wire_format import ProxyRecord, ToxicRecord

VERSION = "2.12.0"
"""The Toxiproxy release whose behaviour this is; clients ask for it."""

ANSWER_TIMEOUT_S = 25.0

_TURNS_TO_CLOSE = 100

_TEXT = "text/plain; charset=utf-8"
_NO_SNIFF = {"X-Content-Type-Options": "nosniff"}


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

    def __init__(self, seed: int, descriptors: Descriptors, no_host: str = THIS_MACHINE) -> None:
        self._seed = seed
        self._no_host = no_host  # where proxies listen that are given no host
        self._descriptors = descriptors
        self._proxies: dict[str, Proxy] = {}

    async def answer(self, request: Request) -> Response:
        """Return the response to any request."""
        if (request.method, request.target) == ("OPTIONS", "*"):
            return Response(200)
        target = read_target(request.target)
        if target is None:
            return Response(400, b"400 Bad Request", _TEXT, {"Connection": "close"})
        if target.moved_to is not None:
            return Response(301, headers={"Location": target.moved_to})
        routes = self._routes(target.path)
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

    async def populate(self, body: bytes) -> tuple[list[Proxy], Refusal | None]:
        """Have the proxies of a list; return those made, and what kept it from making the rest."""
        made: list[Proxy] = []
        try:
            for wanted in request_bodies.parse_populate(body):
                made.append(await self._add_or_replace(wanted))
        except Refusal as refusal:
            return made, refusal
        return made, None

    async def close(self) -> None:
        """Stop every proxy and let the loop close the sockets."""
        proxies = [*self._proxies.values()]
        self._proxies.clear()
        for proxy in proxies:
            proxy.stop()
        for _ in range(_TURNS_TO_CLOSE):
            await asyncio.sleep(0)
            if all(proxy.quiet for proxy in proxies):
                break

    async def _answer_routed(self, handler: Handler, request: Request) -> Response:
        if request.user_agent.startswith("Mozilla/"):
            return Response(403, b"User agent not allowed\n", _TEXT, _NO_SNIFF)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await handler(request)
        except Refusal as refusal:
            return refused(refusal)
        except TimeoutError:
            return Response(503)

    def _routes(self, path: str) -> dict[str, Handler] | None:
        match path.split("/"):
            case ["", "version"]:
                return {"GET": self._version}
            case ["", "reset"]:
                return {"POST": self._reset}
            case ["", "populate"]:
                return {"POST": self._populate}
            case ["", "x", "shortages"]:
                return {"GET": self._shortages}
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

    async def _shortages(self, request: Request) -> Response:
        return _json(200, {"shortages": self._descriptors.shortages})

    async def _list(self, request: Request) -> Response:
        return _json(
            200, {name: self._proxies[name].record().to_json() for name in sorted(self._proxies)}
        )

    async def _reset(self, request: Request) -> Response:
        for name in sorted(self._proxies):
            proxy = self._proxies.get(name)
            if proxy is None:
                continue  # deleted while another one's address was resolved
            if not proxy.enabled:
                _listen(proxy, await self._address_to_start(proxy.listen))
            for toxic in proxy.toxics:
                proxy.remove_toxic(toxic)
        return Response(204)

    async def _create(self, request: Request) -> Response:
        wanted = request_bodies.parse_new_proxy(request.body)
        self._refuse_taken(wanted.name)
        address = await self._address_to_start(wanted.listen) if wanted.enabled else None
        self._refuse_taken(wanted.name)  # again: others were served meanwhile
        return _json(201, self._put(wanted, address).record().to_json())

    async def _populate(self, request: Request) -> Response:
        made, refusal = await self.populate(request.body)
        proxies = [proxy.record().to_json() for proxy in made] or None
        if refusal is not None:
            answer = {"error": refusal.text, "status": refusal.status, "proxies": proxies}
            return _json(refusal.status, answer)
        return _json(201, {"proxies": proxies})

    async def _add_or_replace(self, wanted: ProxyRecord) -> Proxy:
        if wanted.name not in self._proxies:
            address = await self._address_to_start(wanted.listen) if wanted.enabled else None
        else:
            address = await self._address_to_compare(wanted.listen)
        existing = self._proxies.get(wanted.name)
        if existing is not None and address is not None:
            if not existing.differs(address, wanted.upstream):
                return existing
            existing.stop()
        return self._put(wanted, address)

    def _put(self, wanted: ProxyRecord, address: Address | None) -> Proxy:
        proxy = Proxy(wanted, self._seed, self._descriptors)
        if wanted.enabled and address is not None:
            _listen(proxy, address)
        self._proxies[wanted.name] = proxy
        return proxy

    async def _address_to_start(self, listen: str) -> Address:
        try:
            return await resolve(listen, self._no_host)
        except AddressError as error:
            raise Refusal(500, f"listen tcp: {error}") from None

    async def _address_to_compare(self, listen: str) -> Address:
        try:
            return await resolve(listen, self._no_host)
        except AddressError as error:
            raise Refusal(500, str(error)) from None

    def _refuse_taken(self, name: str) -> None:
        if name in self._proxies:
            raise request_bodies.proxy_already_exists()

    # One proxy.

    def _proxy_routes(self, name: str) -> dict[str, Handler]:
        async def show(request: Request) -> Response:
            return _json(200, self._proxy(name).record().to_json())

        async def update(request: Request) -> Response:
            proxy = self._proxy(name)
            wanted = request_bodies.parse_proxy_update(request.body, proxy.record())
            address = await self._address_to_compare(wanted.listen)
            if self._proxy(name) is not proxy:
                raise request_bodies.proxy_not_found()  # replaced while the address was resolved
            _change(proxy, wanted, address)
            return _json(200, proxy.record().to_json())

        async def delete(request: Request) -> Response:
            self._proxy(name).stop()
            del self._proxies[name]
            return Response(204)

        return {"GET": show, "POST": update, "PATCH": update, "DELETE": delete}

    def _proxy(self, name: str) -> Proxy:
        if name not in self._proxies:
            raise request_bodies.proxy_not_found()
        return self._proxies[name]

    # Toxics.

    def _chain_routes(self, name: str) -> dict[str, Handler]:
        async def list_(request: Request) -> Response:
            return _json(200, [toxic.to_json() for toxic in self._proxy(name).toxics])

        async def create(request: Request) -> Response:
            await self._proxy(name).begin_accepted()
            proxy = self._proxy(name)
            taken = frozenset(toxic.name for toxic in proxy.toxics)
            toxic = request_bodies.parse_new_toxic(request.body, taken)
            proxy.add_toxic(toxic)
            return _json(200, toxic.to_json())

        return {"GET": list_, "POST": create}

    def _toxic_routes(self, name: str, toxic_name: str) -> dict[str, Handler]:
        async def show(request: Request) -> Response:
            return _json(200, self._toxic(name, toxic_name).to_json())

        async def update(request: Request) -> Response:
            await self._proxy(name).begin_accepted()
            toxic = request_bodies.parse_toxic_update(request.body, self._toxic(name, toxic_name))
            self._proxy(name).update_toxic(toxic)
            return _json(200, toxic.to_json())

        async def delete(request: Request) -> Response:
            await self._proxy(name).begin_accepted()
            self._proxy(name).remove_toxic(self._toxic(name, toxic_name))
            return Response(204)

        return {"GET": show, "POST": update, "PATCH": update, "DELETE": delete}

    def _toxic(self, name: str, toxic_name: str) -> ToxicRecord:
        toxic = self._proxy(name).toxic(toxic_name)
        if toxic is None:
            raise request_bodies.toxic_not_found()
        return toxic


def refused(refusal: Refusal) -> Response:
    """Return the answer that tells of a refusal."""
    body = encode({"error": refusal.text, "status": refusal.status}) + b"\n"
    return Response(refusal.status, body, _TEXT, _NO_SNIFF)


def _change(proxy: Proxy, wanted: ProxyRecord, address: Address) -> None:
    if proxy.differs(address, wanted.upstream):
        proxy.stop()
        proxy.listen = wanted.listen
        proxy.upstream = wanted.upstream
    if not wanted.enabled:
        proxy.stop()
    elif not proxy.enabled:
        _listen(proxy, address)


def _listen(proxy: Proxy, address: Address) -> None:
    try:
        proxy.start(address)
    except AddressError as error:
        raise Refusal(500, f"listen tcp {error}") from None


def _json(status: int, value: object) -> Response:
    return Response(status, encode(value), "application/json")
