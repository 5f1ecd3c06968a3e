"""Puts variants on a Toxiproxy server and takes them away, each step verified (`ports.Injector`).

In `edge` our proxy is new, on a port of its own. In `canary` the operator's proxy is disabled and
ours is enabled on its address, within about two milliseconds; connections that were open are
dropped, on entering and on leaving. The operator's proxy is disabled rather than deleted, so that
its definition stays on the server whatever becomes of us. This module knows nothing of bandits.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

from chaosbandit.core.model import Fault, Variant
from chaosbandit.core.names import fault_name
from chaosbandit.core.scenario import Proxy, Scenario
from chaosbandit.errors import CleanupError, ToxiproxyError
from chaosbandit.ports import Injected
from chaosbandit.toxiproxy.adapter import PythonToxiproxy
from chaosbandit.toxiproxy.client import DEADLINE_S, ToxiproxyClient
from chaosbandit.toxiproxy.preflight import (
    departures,
    occupied,
    unresolvable,
    unusable_name,
)
from chaosbandit.toxiproxy.readback import mismatches
from chaosbandit.toxiproxy.removal import CLEANUP_S, Removal, is_refused
from chaosbandit.toxiproxy.wire import ProxyRecord, check_toxic

T = TypeVar("T")


class ToxiproxyInjector:
    """Injects the variants of one scenario's run through one server, real or embedded."""

    def __init__(
        self,
        scenario: Scenario,
        run: str,
        server_url: str,
        *,
        deadline_s: float = DEADLINE_S,
        cleanup_s: float = CLEANUP_S,
        epoch_s: Callable[[], float] = time.time,
    ) -> None:
        host, port = _host_and_port(server_url)
        self._scenario = scenario
        self._run = run
        self._host = host
        self._local = _is_loopback(host)
        self._cleanup_s = cleanup_s
        self._epoch_s = epoch_s
        self._package = PythonToxiproxy(host, port, deadline_s)
        self._client = ToxiproxyClient(self._package.url, deadline_s)
        self._operators: dict[str, ProxyRecord] = {}

    async def preflight(self) -> str:
        """Check server and proxies, and learn how the operator's are written there."""
        version = await self._package.version()
        listed = await self._client.proxies()
        problems: list[str] = []
        for proxy in self._scenario.proxies:
            problems += unusable_name(proxy) or await self._check(proxy, listed)
        if problems:
            raise ToxiproxyError(
                f"Toxiproxy {version} at {self._client.url} is not ready: {'; '.join(problems)}"
            )
        self._operators = {p.name: listed[p.name] for p in self._scenario.proxies if self._canary}
        return version

    def plan(self, variant: Variant | None, n: int, expires_epoch_s: int) -> Fault | None:
        """The fault to write down before `inject`; None where severity 0 needs no proxy of ours."""
        if variant is None and self._canary:
            return None
        name = variant.proxy if variant is not None else self._scenario.ladder.proxy
        proxy = self._scenario.proxy(name)
        listen, upstream = proxy.listen or "", proxy.upstream
        if not self._canary:
            listen = self._listen()
        elif name in self._operators:  # as the server writes them, so that they come back exactly
            listen, upstream = self._operators[name].listen, self._operators[name].upstream
        return Fault(
            run=self._run,
            server=self._client.url,
            name=fault_name(self._run, expires_epoch_s, n, name, stands_in=self._canary),
            listen=listen,
            upstream=upstream,
            restores=name if self._canary else None,
            expires_epoch_s=expires_epoch_s,
            toxics=variant.toxics if variant is not None else (),
            check=proxy.check if self._canary else None,
            bypass=proxy.bypass,
        )

    @asynccontextmanager
    async def inject(self, fault: Fault) -> AsyncIterator[Injected]:
        """Have the fault in place while the block runs; cancelling waits for the removal."""
        await self._look(fault)  # nothing has been changed yet, so nothing to undo if this fails
        placed = True
        try:
            yield await _to_the_end(self._place(fault))
        except _NothingPlacedError:
            placed = False
            raise
        finally:
            if placed:
                removal = Removal(fault, self._package, self._client, self._local)
                await _to_the_end(removal.run(self._cleanup_s))

    @property
    def _canary(self) -> bool:
        return not self._scenario.topology.owns_proxy

    def _listen(self) -> str:
        """A free port of this host's loopback, or any where another host's server is reachable.

        Ours is chosen beforehand, so that whoever undoes the fault can see whether it is closed.
        """
        if self._local:
            with socket.create_server(("127.0.0.1", 0)) as free:
                return f"127.0.0.1:{free.getsockname()[1]}"
        return "[::]:0" if ":" in self._host else "0.0.0.0:0"

    async def _check(self, proxy: Proxy, listed: dict[str, ProxyRecord]) -> list[str]:
        if not self._canary:
            return await unresolvable(proxy) if self._local else []
        return await occupied(proxy, listed, self._run, self._epoch_s()) or await departures(
            listed.get(proxy.name), proxy
        )

    async def _look(self, fault: Fault) -> None:
        problems = [
            problem
            for toxic in fault.toxics
            for problem in check_toxic(toxic.type, toxic.attributes, toxic.stream, toxic.toxicity)
        ]
        if problems:
            raise _not_injected(fault, problems)
        if await self._client.proxy(fault.name) is not None:
            raise _not_injected(fault, ["a proxy of that name exists; run `chaosbandit clean`"])
        if fault.restores is not None:
            wanted = Proxy(fault.restores, fault.upstream, fault.listen)
            problems = await departures(await self._client.proxy(wanted.name), wanted)
        if problems:
            raise _not_injected(fault, problems)

    async def _place(self, fault: Fault) -> Injected:
        """Build our proxy while it does not listen yet, let it listen, and read it back."""
        await self._create(fault)
        for toxic in fault.toxics:
            await self._package.add_toxic(fault.name, toxic)
        if fault.restores is None:
            await self._package.enable(fault.name)
        else:
            await self._package.enable_instead_of_disabled(fault.name, fault.restores)
        found = await self._client.proxy(fault.name)
        problems = await mismatches(found, fault)
        if found is None or problems:
            raise _not_injected(fault, problems)
        if fault.restores is not None:
            return Injected()
        port = found.listen.rpartition(":")[2]  # chosen by the server when it was enabled
        host = "127.0.0.1" if self._local else self._host
        return Injected(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

    async def _create(self, fault: Fault) -> None:
        try:
            await self._client.create(fault.name, fault.listen, fault.upstream, enabled=False)
        except ToxiproxyError as error:
            refused = error.status is not None and error.status < 500
            if not refused and not is_refused(error):
                raise  # who knows whether it is there
            raise _NothingPlacedError(
                f"{fault.name} was not injected and nothing was placed on the server: {error}",
                error.status,
            ) from error


class _NothingPlacedError(ToxiproxyError):
    """The server refused the very first step, or could not be reached for it."""


async def _to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Finish `work` even when the surrounding task is cancelled, and only then let that through."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    failure = task.exception()
    if cancelled is not None and not isinstance(failure, CleanupError):  # which outranks all others
        raise cancelled
    return task.result()


def _not_injected(fault: Fault, problems: Iterable[str]) -> ToxiproxyError:
    return ToxiproxyError(f"{fault.name} was not injected: {'; '.join(problems)}")


def _host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ToxiproxyError(f"found Toxiproxy URL {url!r}, wanted http://host:port")
    return parts.hostname, parts.port or 8474


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
