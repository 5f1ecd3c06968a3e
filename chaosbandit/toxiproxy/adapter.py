"""The one module that touches toxiproxy-python; it makes that package safe to call from a run.

The package keeps its server in class attributes, waits for ever, obeys proxy variables of the
environment and stumbles over every status it does not expect. Here each call runs in a thread of
its own and in that thread alone the package's `requests` is ours: it sends to this object's server,
within this call's deadline. So several servers work side by side, no lock is needed that a hanging
call could hold, and other users of the package in the same process notice nothing.

    coroutine --> daemon thread --> toxiproxy-python --> _Requests --> _Call --> this server
        |  waits at most deadline_s                                     |  sends nothing after it
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import requests

from chaosbandit.core.model import Toxic
from chaosbandit.errors import ToxiproxyError
from chaosbandit.toxiproxy.answers import read_toxic, refused, strange, unanswered, unreached
from chaosbandit.toxiproxy.client import DEADLINE_S
from chaosbandit.toxiproxy.wire import ProxyRecord

T = TypeVar("T")

_BIND_PATIENCE_S = 1.0
_BIND_PAUSE_S = 0.01
_CLOSING_S = 0.5


class PythonToxiproxy:
    """One server, driven through toxiproxy-python."""

    def __init__(self, host: str, port: int, deadline_s: float = DEADLINE_S) -> None:
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._deadline_s = deadline_s
        self._package = _package()

    async def version(self) -> str:
        """The version the server states."""

        def read(_: _Call) -> str:
            return str(self._package.api.APIConsumer.get("/version").json()["version"])

        return await self._run("version", read)

    async def get(self, name: str) -> ProxyRecord | None:
        """A proxy with its toxics, or None; lists every proxy, so any frozen one blocks it."""

        def read(_: _Call) -> ProxyRecord | None:
            found = self._package.Toxiproxy().get_proxy(name)
            if found is None:
                return None
            toxics = tuple(read_toxic(vars(toxic)) for toxic in found.toxics().values())
            return ProxyRecord(name, found.listen, found.upstream, found.enabled, toxics)

        return await self._run(f"get {name}", read)

    async def create(self, name: str, listen: str, upstream: str, *, enabled: bool = True) -> None:
        """Create a proxy; where the name is taken the error's status is 409."""

        def send(_: _Call) -> None:
            self._package.Toxiproxy().create(upstream, name, listen, enabled)

        await self._run(f"create {name}", send)

    async def add_toxic(self, proxy: str, toxic: Toxic) -> None:
        """Add a toxic at the end of its direction's chain."""

        def send(_: _Call) -> None:
            self._proxy(proxy).add_toxic(
                type=toxic.type,
                name=toxic.name,
                stream=toxic.stream,
                toxicity=toxic.toxicity,
                attributes=dict(toxic.attributes),
            )

        await self._run(f"add {toxic.name} to {proxy}", send)

    async def enable(self, name: str) -> None:
        """Start listening; an address that is still being freed is tried again for a second."""
        await self._run(f"enable {name}", lambda call: self._enable(name, call))

    async def disable(self, name: str) -> None:
        """Stop listening and drop every live connection."""
        await self._run(f"disable {name}", lambda _: self._proxy(name).disable())

    async def destroy(self, name: str) -> None:
        """Delete a proxy; that it is already gone is no error."""
        await self._run(f"destroy {name}", lambda _: self._destroy(name))

    async def enable_instead_of_disabled(self, name: str, disabled: str) -> None:
        """Disable one proxy and enable another on its address, with next to nothing in between."""

        def swap(call: _Call) -> None:
            self._proxy(disabled).disable()
            self._enable(name, call)

        await self._run(f"enable {name} instead of {disabled}", swap)

    async def enable_instead_of_frozen(self, name: str, frozen: str) -> None:
        """Close one proxy, though it may not answer, and enable another on its address.

        A frozen proxy closes its listener at once, and only the answer to that hangs.
        """

        def swap(call: _Call) -> None:
            self._close(frozen, call)
            self._enable(name, call)

        await self._run(f"enable {name} instead of {frozen}", swap)

    async def close(self, name: str) -> None:
        """Have a proxy listen no more, though it may not answer; one that is gone is closed."""
        await self._run(f"close {name}", lambda call: self._close(name, call))

    def _proxy(self, name: str) -> Any:
        # Made here instead of fetched: the package's own look-up lists every proxy of the server.
        return self._package.Proxy(name=quote(name, safe=""), upstream="", listen="", enabled=False)

    def _destroy(self, name: str) -> None:
        try:
            self._proxy(name).destroy()
        except ToxiproxyError as error:
            if error.status != 404:
                raise

    def _close(self, name: str, call: _Call) -> None:
        try:
            with call.patience(_CLOSING_S):
                self._proxy(name).disable()
        except ToxiproxyError as error:
            if error.status is not None and error.status != 404:
                raise

    def _enable(self, name: str, call: _Call) -> None:
        give_up_s = time.monotonic() + min(_BIND_PATIENCE_S, call.left_s() / 2)
        while True:
            try:
                self._proxy(name).enable()
                return
            except ToxiproxyError as error:
                if "address already in use" not in str(error) or time.monotonic() > give_up_s:
                    raise
                time.sleep(_BIND_PAUSE_S)

    async def _run(self, what: str, work: Callable[[_Call], T]) -> T:
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        call = _Call(self.url, what, self._deadline_s)
        # A daemon: a thread that still waits for a silent server must not keep the process alive.
        threading.Thread(
            target=_perform, args=(call, work, future), name=f"toxiproxy: {what}", daemon=True
        ).start()
        try:
            async with asyncio.timeout(self._deadline_s):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise unanswered(self.url, what, self._deadline_s) from None


class _Call:
    """Where the requests of one call go and until when they may be sent."""

    def __init__(self, url: str, what: str, deadline_s: float) -> None:
        self._url = url
        self._what = what
        self._deadline_s = deadline_s
        self._end_s = time.monotonic() + deadline_s
        self.session = requests.Session()
        self.session.trust_env = False

    def left_s(self) -> float:
        """Seconds until nothing more may be sent."""
        return self._end_s - time.monotonic()

    @contextmanager
    def patience(self, within_s: float) -> Iterator[None]:
        """Wait less for what is sent in this block."""
        end_s = self._end_s
        self._end_s = min(end_s, time.monotonic() + within_s)
        try:
            yield
        finally:
            self._end_s = end_s

    def send(self, method: str, url: str, options: Mapping[str, Any]) -> requests.Response:
        """Send to our server what the package means for the one in its class attributes."""
        left_s = self.left_s()
        if left_s <= 0:  # nobody waits any more, and the fault may already have been removed
            raise unanswered(self._url, self._what, self._deadline_s)
        parts = urlsplit(url)
        wanted = {**options, "timeout": left_s, "allow_redirects": False}
        path = parts.path
        try:
            response = self.session.request(method, f"{self._url}{path}", **wanted)
        except requests.RequestException as error:
            if isinstance(error, requests.Timeout):
                raise unanswered(self._url, f"{method} {path}", self._deadline_s) from error
            raise unreached(self._url, f"{method} {path}", error) from error
        if not 200 <= response.status_code < 300:
            raise refused(self._url, f"{method} {path}", response.status_code, response.content)
        return response

    def odd(self, error: Exception) -> ToxiproxyError:
        """What the package stumbled over, as one of our errors."""
        if type(error).__name__ == "ProxyExists":  # it looks before it creates
            return ToxiproxyError(f"Toxiproxy at {self._url}: {self._what}: {error}", 409)
        return strange(self._url, f"{self._what} ended in {type(error).__name__}: {error}"[:200])


class _Requests:
    """Stands where the package has its `requests`; every thread but ours gets the real one."""

    def __init__(self) -> None:
        self.local = threading.local()

    def __getattr__(self, name: str) -> Any:
        real = getattr(requests, name)
        call: _Call | None = getattr(self.local, "call", None)
        if call is None or name not in ("get", "post", "delete"):
            return real
        return lambda url, **options: call.send(name.upper(), url, options)


_REQUESTS = _Requests()


def _perform(call: _Call, work: Callable[[_Call], T], future: Future[T]) -> None:
    _REQUESTS.local.call = call  # threads are not reused, so nothing has to be taken back
    try:
        with call.session:
            result = work(call)
    except ToxiproxyError as error:
        future.set_exception(error)
    except (
        Exception
    ) as error:  # the package lets any type out when an answer is not what it expects
        future.set_exception(call.odd(error))
    else:
        future.set_result(result)


@cache
def _package() -> Any:
    """toxiproxy-python, imported when first needed."""
    import toxiproxy
    import toxiproxy.api

    toxiproxy.api.requests = _REQUESTS
    return toxiproxy
