"""Puts variants on a living path and takes them off again, each step verified (`ports.Injector`).

    plan -> armed (watchdog, ledger) -> toxics added, or updated -> read back
         ...samples...  -> read back -> softened, read back -> the next variant, or taken off

The operator's proxy stays as it is: toxics of ours go onto it and come off it softened, so that no
connection is cut. Between the exposures of one ladder the toxic stays there without effect, and an
escalation is an update. In `edge` the paths are ours, and stand for the whole run. Undoing is
`toxiproxy.undo`'s business; this module knows nothing of bandits.
"""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from chaosbandit.core.model import Route, Variant
from chaosbandit.core.scenario import Proxy, Scenario
from chaosbandit.errors import CleanupError, ToxiproxyError, Trouble
from chaosbandit.faults import undo_steps
from chaosbandit.faults.addresses import is_loopback
from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.faults.names import Kind, written
from chaosbandit.faults.softening import is_soft
from chaosbandit.ports import Aftermath, Injected, Safety
from chaosbandit.toxiproxy import adapter
from chaosbandit.toxiproxy.calls import Calls, UnansweredError
from chaosbandit.toxiproxy.error_words import not_undone, of_others, told
from chaosbandit.toxiproxy.listing import (
    StrangeError,
    all_proxies,
    as_toxic,
    one_proxy,
    toxics_named,
)
from chaosbandit.toxiproxy.preflight import changes, departures, occupied, unresolvable
from chaosbandit.toxiproxy.undo import FROZEN_S, NotUndoneError, Undone, undo
from chaosbandit.toxiproxy.wire_format import ProxyRecord, check_toxic
from chaosbandit.uninterrupted import in_thread, to_the_end

T = TypeVar("T")

DEADLINE_S = 2.5  # of one call that puts something on; undoing has shorter ones of its own
CLEANUP_S = 5.0
_READ_BACK_S = 1.0  # users may suffer while it hangs
_SPARE_S = 60.0  # a toxic's name outlives two exposures by so much
_REMOVAL_S = 10.0  # an exposure's end must be this far from it


class ToxiproxyInjector:
    """Injects the variants of one scenario's run through one server, real or embedded.

    Raises:
        ToxiproxyError: the server's URL is not one we can talk to.
    """

    def __init__(
        self,
        scenario: Scenario,
        run: str,
        server_url: str,
        safety: Safety,
        *,
        dies_with_run: bool = False,
        deadline_s: float = DEADLINE_S,
        cleanup_s: float = CLEANUP_S,
        frozen_s: float = FROZEN_S,
        epoch_s: Callable[[], float] = time.time,
    ) -> None:
        self._scenario = scenario
        self._run = run
        self._safety = safety
        self._dies_with_run = dies_with_run
        self._deadline_s = deadline_s
        self._cleanup_s, self._frozen_s = cleanup_s, frozen_s
        self._epoch_s = epoch_s
        try:
            self._calls = Calls(server_url)
        except ValueError as error:
            raise ToxiproxyError(str(error)) from error
        self._local = is_loopback(self._calls.host)
        self._operators: dict[str, ProxyRecord] = {}
        self._paths: dict[Route, Fault] = {}
        self._standing: Fault | None = None
        self._in_effect = False  # what stands is not soft
        self._made = 0
        self._cuts = 0
        self._cut: int | None = 0
        self._others: Trouble | None = None
        self._shortages: int | None = 0  # until the last variant; None: the server does not count
        self.replaced: tuple[str, ...] = ()  # the operator's proxies that undoing made anew

    # --- before and around the run ----------------------------------------------------------------

    async def preflight(self) -> str:
        """Check server and proxies, and learn how the operator's are written there."""
        try:
            return await in_thread(self._preflight)
        finally:
            self._calls.close()  # the run may end here, and wait long if it does not

    @asynccontextmanager
    async def paths(self) -> AsyncIterator[dict[Route, str]]:
        """Where canary and control must connect: paths of our own in `edge`, nothing in `canary`.

        Leaving takes whatever still stands off and the paths away.
        """
        try:
            yield await to_the_end(self._open_paths())
        finally:
            await to_the_end(self._close_all())

    # --- one variant ------------------------------------------------------------------------------

    def plan(self, variant: Variant) -> Fault:
        """The fault that `inject` will put on: the one that stands, updated, where it lasts."""
        standing = self._standing
        if standing is not None and _is_update(standing, variant) and self._lasts(standing):
            return replace(standing, toxics=_named(variant.toxics, standing.toxics))
        expires = self._expiry()
        toxics = tuple(replace(toxic, name=self._name(expires)) for toxic in variant.toxics)
        proxy = self._scenario.proxy(variant.proxy)
        path = self._paths.get(Route.CANARY)
        assert path is not None or not self._owns_paths, "planned outside of `paths`"
        where = path or self._operators.get(variant.proxy)
        return Fault(
            run=self._run,
            server=self._calls.url,
            name=toxics[0].name,
            proxy=path.proxy if path is not None else variant.proxy,
            listen=where.listen if where is not None else proxy.listen or "",
            upstream=where.upstream if where is not None else proxy.upstream,
            expires_epoch_s=expires,
            toxics=toxics,
            owned=path is not None,
            check=self._check(variant.proxy),
            bypass=proxy.bypass,
            dies_with_run=self._dies_with_run,
        )

    @asynccontextmanager
    async def inject(self, fault: Fault) -> AsyncIterator[Injected]:
        """Have the fault in effect while the block runs; cancelling waits until it is not."""
        _refuse(fault, _unsafe(fault.toxics))
        await to_the_end(self._make_room(fault))
        injected = Injected(lambda: in_thread(lambda: self._changes(fault, _READ_BACK_S)))
        try:
            await to_the_end(self._put_on(fault))
            yield injected
        finally:
            if self._in_effect:
                await to_the_end(self._end(fault, injected.nobody_gave_up))

    async def take_off(self) -> None:
        """Take off what still stands; the proxy is as if we had never been there.

        Raises:
            CleanupError: that could not be confirmed; carries the commands that do it by hand.
        """
        if self._standing is not None:
            await to_the_end(self._undo(self._standing))

    async def short(self) -> str | None:
        """Whether an embedded server ran out of descriptors; the real one does not tell."""
        before = self._shortages
        now = None if before is None else await in_thread(self._counted_shortages)
        if before is None or now is None or now <= before:
            return None
        return (
            f"Toxiproxy at {self._calls.url} ran out of file descriptors or local ports meanwhile "
            f"({now - before} times): connections through it waited or failed. Start it with a "
            "higher `ulimit -n` (2 for each connection, 160 to spare), or hold fewer of them"
        )

    def aftermath(self) -> Aftermath:
        """What undoing has done and met so far."""
        return Aftermath(self._cuts, self._cut, self._others, self.replaced, self._safety.watched())

    # --- inner parts ------------------------------------------------------------------------------

    def _preflight(self) -> str:
        problems: list[Trouble] = []
        with told(self._calls.url):
            version = adapter.version(self._calls, self._deadline_s)
            listed = all_proxies(self._calls, self._deadline_s).proxies
        self._shortages = self._counted_shortages()
        for proxy in self._scenario.proxies:
            problems += self._check_proxy(proxy, listed)
        if problems:
            raise ToxiproxyError(
                f"Toxiproxy {version} at {self._calls.url} is not ready: "
                + "; ".join(map(str, problems))
            )
        if not self._owns_paths:
            self._operators = {p.name: listed[p.name] for p in self._scenario.proxies}
        return version

    def _check_proxy(self, proxy: Proxy, listed: Mapping[str, ProxyRecord]) -> list[Trouble]:
        if self._owns_paths:
            return unresolvable(proxy) if self._local else []
        held = occupied(proxy, listed, self._run, self._epoch_s())
        return held or departures(listed.get(proxy.name), proxy)

    @property
    def _owns_paths(self) -> bool:
        return self._scenario.topology.owns_proxy

    def _check(self, proxy: str) -> str | None:
        return None if self._owns_paths else self._scenario.proxy(proxy).check

    def _expiry(self) -> int:
        return int(self._epoch_s() + 2 * self._scenario.guardrails.max_exposure_s + _SPARE_S)

    def _lasts(self, standing: Fault) -> bool:
        """Whether one more exposure is over before the name of its toxic ends."""
        exposed_s = self._scenario.guardrails.max_exposure_s + self._scenario.traffic.timeout_s
        return self._epoch_s() + exposed_s + _REMOVAL_S <= standing.expires_epoch_s

    def _name(self, expires: int, kind: Kind = Kind.TOXIC) -> str:
        self._made += 1
        return written(kind, self._run, expires, n=self._made)

    async def _open_paths(self) -> dict[Route, str]:
        found: dict[Route, str] = {}
        for route in self._scenario.topology.clean_routes:
            path = self._path()
            await self._safety.arm(path)
            self._paths[route] = path
            await self._open(route)
            port = self._paths[route].listen.rpartition(":")[2]
            host = "127.0.0.1" if self._local else self._calls.host
            found[route] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return found

    async def _open(self, route: Route) -> None:
        """Create a path of ours; from then on its address is known, and stays."""
        path = self._paths[route]
        self._safety.resting(path, False)
        listen = await in_thread(lambda: self._create(path))
        self._paths[route] = replace(path, listen=listen)
        self._safety.resting(path, True)

    def _create(self, path: Fault) -> str:
        """Have the server open a proxy of ours; where it listens."""
        with told(self._calls.url):
            adapter.create(self._calls, path.proxy, path.listen, path.upstream, self._deadline_s)
            found = one_proxy(self._calls, path.proxy, self._deadline_s)
        if found is None or not found.enabled or found.toxics:
            raise ToxiproxyError(f"{path.proxy} was created, but the server shows {found}")
        return found.listen

    def _path(self) -> Fault:
        """A path of our own; its name may end before it does, while the run holds a lease."""
        expires = self._expiry()
        name = self._name(expires, Kind.PATH)
        upstream = self._scenario.proxy(self._scenario.ladder.proxy).upstream
        return Fault(
            run=self._run,
            server=self._calls.url,
            name=name,
            proxy=name,
            listen=self._free_port(),
            upstream=upstream,
            expires_epoch_s=expires,
            owned=True,
            dies_with_run=self._dies_with_run,
        )

    def _free_port(self) -> str:
        """A free port of this host's loopback, or any where another host's server is reachable.

        Ours is chosen beforehand, so that whoever undoes the fault can see whether it is closed.
        """
        if self._local:
            with socket.create_server(("127.0.0.1", 0)) as free:
                return f"127.0.0.1:{free.getsockname()[1]}"
        return "[::]:0" if ":" in self._calls.host else "0.0.0.0:0"

    async def _make_room(self, fault: Fault) -> None:
        """What the fault is not an update of comes off; nothing is put on a path that is not right.

        A path of ours may have gone with a toxic that would not come off, or with its server.
        """
        assert not self._in_effect, "one fault at a time"
        if self._standing is not None and self._standing.name != fault.name:
            await self._undo(self._standing)
        found = await self._look(fault.proxy)
        if found is None and fault.owned:
            for route, path in self._paths.items():
                if await self._look(path.proxy) is None:
                    await self._open(route)
            found = await self._look(fault.proxy)
        standing = frozenset() if self._standing is None else self._standing.toxic_names
        wanted = Proxy(fault.proxy, fault.upstream, fault.listen)
        _refuse(fault, departures(found, wanted, standing))
        if self._standing is not None and self._is_incomplete(found):
            await self._undo(self._standing)

    def _is_incomplete(self, found: ProxyRecord | None) -> bool:
        """Whether others took off what stood without effect."""
        names = frozenset() if self._standing is None else self._standing.toxic_names
        return found is not None and len(toxics_named(found, names)) < len(names)

    async def _look(self, proxy: str) -> ProxyRecord | None:
        return await in_thread(lambda: self._shown(proxy, self._deadline_s))

    def _shown(self, proxy: str, within_s: float) -> ProxyRecord | None:
        with told(self._calls.url):
            return one_proxy(self._calls, proxy, within_s)

    def _counted_shortages(self) -> int | None:
        try:
            count = self._calls.call("GET", "/x/shortages", within_s=_READ_BACK_S).record()
        except UnansweredError:
            return None
        found = count.get("shortages")
        return found if isinstance(found, int) else None

    async def _put_on(self, fault: Fault) -> None:
        await self._safety.arm(fault)
        if self._shortages is not None:
            now = await in_thread(self._counted_shortages)
            self._shortages = self._shortages if now is None else now
        update, self._standing, self._in_effect = self._standing is not None, fault, True
        try:
            await in_thread(lambda: self._place(fault, update=update))
        except BaseException:
            await self._undo(fault)
            raise
        self._safety.resting(fault, True)

    def _place(self, fault: Fault, *, update: bool) -> None:
        with told(self._calls.url):
            for toxic in fault.toxics:
                if update:
                    self._update(fault, toxic)
                else:
                    adapter.add_toxic(self._calls, fault.proxy, toxic, self._deadline_s)
        _refuse(fault, self._changes(fault, self._deadline_s))

    def _update(self, fault: Fault, toxic: Toxic) -> None:
        path = undo_steps.toxic_path(fault.proxy, toxic.name)
        body = {"attributes": dict(toxic.attributes), "toxicity": toxic.toxicity}
        reply = self._calls.call("POST", path, body, self._deadline_s)
        if reply.status != 200:
            raise adapter.RefusedError(f"POST {path}", reply)

    def _changes(self, fault: Fault, within_s: float) -> Sequence[str]:
        """How what stands differs from what was put on."""
        return changes(self._shown(fault.proxy, within_s), fault)

    async def _end(self, fault: Fault, nobody_gave_up: bool) -> None:
        """Out of effect, and if the next variant may be an update of it, still there."""
        self._safety.resting(fault, False)
        if await in_thread(lambda: self._softened(fault)):
            self._in_effect = False
            self._safety.resting(fault, True)
        else:
            await self._undo(fault, nobody_gave_up)

    def _softened(self, fault: Fault) -> bool:
        softening = undo_steps.soften(fault)
        if len(softening) < len(fault.toxics):
            return False  # some have no soft form
        try:
            for call in softening:
                self._calls.call(call.method, call.path, call.body, call.within_s)
            found = one_proxy(self._calls, fault.proxy, undo_steps.DEADLINE_S)
        except (UnansweredError, StrangeError):
            return False
        if found is None or not found.enabled:
            return False  # by others: undoing looks at what there is
        shown = {toxic.name: toxic for toxic in found.toxics}
        ours = [shown.get(toxic.name) for toxic in fault.toxics]
        return all(toxic is not None and is_soft(as_toxic(toxic)) for toxic in ours)

    async def _undo(self, fault: Fault, nobody_gave_up: bool = False) -> None:
        """Take it off for good, and strike it out."""
        self._safety.resting(fault, False)
        try:
            undone = await in_thread(
                lambda: undo(
                    fault,
                    self._calls,
                    self._cleanup_s,
                    nobody_gave_up=nobody_gave_up,
                    frozen_s=self._frozen_s,
                )
            )
        except NotUndoneError as error:
            self._frozen_s = 0.0  # it has had its time: nothing else is waited for as long
            raise await self._safety.failed(fault, not_undone(error)) from error
        finally:
            if self._standing is not None and self._standing.name == fault.name:
                self._standing, self._in_effect = None, False
        self._note(fault, undone)
        await self._safety.strike(fault, undone.late)

    def _note(self, fault: Fault, undone: Undone) -> None:
        cut = undone.connections_cut
        self._cut = None if self._cut is None or cut is None else self._cut + cut
        if not fault.owned:
            self._cuts += undone.cut
            self._others = of_others(fault, undone) or self._others
            if undone.replaced and fault.proxy not in self.replaced:
                self.replaced += (fault.proxy,)

    async def _close_all(self) -> None:
        left = [*self._paths.values()]
        if self._standing is not None:
            left.insert(0, self._standing)
        failures: list[Exception] = []
        for fault in left:
            try:
                await self._undo(fault)
            except Exception as error:
                failures.append(error)
        self._paths = {}
        self._calls.close()
        failures.sort(key=lambda error: not isinstance(error, CleanupError))
        if failures:
            raise failures[0]


def _is_update(standing: Fault, variant: Variant) -> bool:
    """Whether the variant's toxics are those that stand, with other attributes."""
    shape = [(toxic.type, toxic.stream, toxic.toxicity) for toxic in standing.toxics]
    wanted = [(toxic.type, toxic.stream, toxic.toxicity) for toxic in variant.toxics]
    return shape == wanted and (standing.owned or standing.proxy == variant.proxy)


def _named(toxics: Iterable[Toxic], like: Iterable[Toxic]) -> tuple[Toxic, ...]:
    return tuple(replace(t, name=one.name) for t, one in zip(toxics, like, strict=True))


def _unsafe(toxics: Iterable[Toxic]) -> list[str]:
    return [
        problem
        for toxic in toxics
        for problem in check_toxic(toxic.type, toxic.attributes, toxic.stream, toxic.toxicity)
    ]


def _refuse(fault: Fault, problems: Sequence[Trouble | str]) -> None:
    if problems:
        why = "; ".join(map(str, problems))
        raise ToxiproxyError(why, where=f"{fault.name} was not injected")
