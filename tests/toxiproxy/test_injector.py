"""The injector on both servers, with real sockets through a real upstream, and on lying ones."""

from __future__ import annotations

import asyncio
import re
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, nullcontext
from dataclasses import replace
from typing import Any

import httpx
import pytest

from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Fault, Toxic, Variant
from chaosbandit.core.names import fault_name
from chaosbandit.core.scenario import Proxy, Scenario, Traffic
from chaosbandit.core.slo import ErrorBudget
from chaosbandit.core.topology import TOPOLOGIES
from chaosbandit.errors import CleanupError, ToxiproxyError
from chaosbandit.ports import Injector
from chaosbandit.toxiproxy.adapter import PythonToxiproxy
from chaosbandit.toxiproxy.client import ToxiproxyClient
from chaosbandit.toxiproxy.injector import ToxiproxyInjector
from chaosbandit.toxiproxy.removal import CLEANUP_S
from tests.fake_api import Answer, echo_upstream, fake_api, raw
from tests.servers import Kind, running_server

RUN = "run00001"
EXPIRES = 4_000_000_000
DELAY_S = 0.15
LATENCY = Toxic("latency", {"latency": 150})


def variant(*toxics: Toxic) -> Variant:
    return Variant("slow", "inventory", 0, DELAY_S, toxics or (LATENCY,))


def scenario_of(topology: str, upstream: str, listen: str | None = None) -> Scenario:
    return Scenario(
        name="test",
        toxiproxy="",
        topology=TOPOLOGIES[topology],
        proxies=(Proxy("inventory", upstream, listen),),
        traffic=Traffic("http://127.0.0.1/", "http://127.0.0.1/", 10.0, 1.0),
        slos=(),
        budget=ErrorBudget(86400.0, 1000, 0.1),
        ladders=(Ladder("slow", "inventory", "latency", 0.001, 1.0, 0.1),),
    )


class Line:
    """One connection through a proxy."""

    def __init__(self, address: str) -> None:
        self.host, _, port = address.rpartition(":")
        self.port = int(port)

    async def __aenter__(self) -> Line:
        self._reader, self._writer = await asyncio.open_connection(self.host, self.port)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._writer.transport.abort()
        await asyncio.sleep(0)

    async def round_trip_s(self) -> float | None:
        """Seconds until a line comes back; None when the connection was dropped."""
        started_s = time.monotonic()
        try:
            self._writer.write(b"hello\n")
            async with asyncio.timeout(5):
                line = await self._reader.readline()
        except OSError:
            return None
        return time.monotonic() - started_s if line == b"hello\n" else None


async def new_connection_s(address: str) -> float:
    async with Line(address) as line:
        took_s = await line.round_trip_s()
    assert took_s is not None
    return took_s


class Canary:
    """An operator's proxy to an echo server, and an injector that has passed its preflight."""

    def __init__(self, url: str, upstream: str, listen: str) -> None:
        self.upstream, self.listen = upstream, listen
        self.client = ToxiproxyClient(url)
        self.scenario = scenario_of("canary", upstream, listen)
        self.injector = ToxiproxyInjector(self.scenario, RUN, url)

    def fault(self, *toxics: Toxic, n: int = 0) -> Fault:
        fault = self.injector.plan(variant(*toxics), n, EXPIRES)
        assert fault is not None
        return fault

    async def assert_restored(self) -> None:
        proxies = await self.client.proxies()
        assert set(proxies) == {"inventory"}
        found = proxies["inventory"]
        assert (found.listen, found.upstream) == (self.listen, self.upstream)
        assert found.enabled
        assert found.toxics == ()
        assert await new_connection_s(self.listen) < DELAY_S


@asynccontextmanager
async def canary(url: str) -> AsyncIterator[Canary]:
    async with echo_upstream() as upstream:
        made = await ToxiproxyClient(url).create("inventory", "127.0.0.1:0", upstream)
        ready = Canary(url, upstream, made.listen)
        await ready.injector.preflight()
        yield ready


# --- canary -------------------------------------------------------------------------------------


def test_canary_delays_while_injected_and_is_restored_exactly(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:
            before = await c.client.proxy("inventory")
            fault = c.fault()
            assert (fault.restores, fault.listen) == ("inventory", c.listen)
            for _ in range(2):  # the same name can come and go again
                async with c.injector.inject(fault) as injected:
                    assert injected.address is None
                    assert await new_connection_s(c.listen) >= DELAY_S
                    operators = await c.client.proxy("inventory")
                    assert operators is not None
                    assert not operators.enabled  # its definition stays on the server
                await c.assert_restored()
            assert await c.client.proxy("inventory") == before

    asyncio.run(scenario())


def test_open_connections_are_dropped_on_entering_and_on_leaving(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c, Line(c.listen) as old, AsyncExitStack() as stack:
            assert await old.round_trip_s() is not None
            async with c.injector.inject(c.fault()):
                assert await old.round_trip_s() is None
                sick = await stack.enter_async_context(Line(c.listen))
                for _ in range(2):  # a kept connection feels the whole dose, each time
                    took_s = await sick.round_trip_s()
                    assert took_s is not None
                    assert took_s >= DELAY_S
            assert await sick.round_trip_s() is None
            assert await new_connection_s(c.listen) < DELAY_S

    asyncio.run(scenario())


def test_the_listen_address_is_closed_only_for_an_instant(toxiproxy_url: str) -> None:
    """Connects of a wired service fail only between two calls of one thread, not for a round."""
    gaps_s: list[float] = []
    stop = threading.Event()

    def knock(address: str) -> None:
        host, _, port = address.rpartition(":")
        closed_since_s: float | None = None
        while not stop.is_set():
            now_s = time.monotonic()
            try:
                socket.create_connection((host, int(port)), timeout=5).close()
            except ConnectionError:  # refused, or reset in the middle of the handshake
                closed_since_s = now_s if closed_since_s is None else closed_since_s
            else:
                if closed_since_s is not None:
                    gaps_s.append(time.monotonic() - closed_since_s)
                closed_since_s = None
            time.sleep(0.0005)

    async def scenario() -> None:
        refusing = "127.0.0.1:1"  # the proxy accepts all the same
        made = await ToxiproxyClient(toxiproxy_url).create("inventory", "127.0.0.1:0", refusing)
        c = Canary(toxiproxy_url, refusing, made.listen)
        thread = threading.Thread(target=knock, args=(c.listen,))
        thread.start()
        try:
            for n in range(10):
                async with c.injector.inject(c.fault(n=n)):
                    await asyncio.sleep(0.02)
                await asyncio.sleep(0.02)
        finally:
            stop.set()
            await asyncio.to_thread(thread.join)

    asyncio.run(scenario())
    assert gaps_s  # a few ms each, and seen by a knock every half
    assert statistics.median(gaps_s) < 0.1, gaps_s


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_every_toxic_and_a_share_of_connections_read_back(toxiproxy_url: str, stream: str) -> None:
    toxics = (
        Toxic("latency", {"latency": 20, "jitter": 5}, stream, 0.123456789),
        Toxic("bandwidth", {"rate": 100}, "downstream", 0.1),
        Toxic("limit_data", {"bytes": 0}, "upstream", 0.3),
        Toxic("slicer", {"average_size": 64, "size_variation": 3, "delay": 10}),
        Toxic("slow_close", {"delay": 7}, stream),
        Toxic("timeout", {"timeout": 0}),
    )

    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:
            async with c.injector.inject(c.fault(*toxics)):
                found = await c.client.proxy(c.fault().name)
                assert found is not None
                assert {t.name for t in found.toxics} == {t.name for t in toxics}
            await c.assert_restored()

    asyncio.run(scenario())


def test_an_exception_in_the_block_removes_the_fault(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:
            with pytest.raises(KeyError, match="mine"):
                async with c.injector.inject(c.fault()):
                    raise KeyError("mine")
            await c.assert_restored()

    asyncio.run(scenario())


@pytest.mark.parametrize("after_s", [0.0, 0.003, 0.006, 0.01, 0.02, 0.05, 0.2])
def test_cancelling_at_any_moment_removes_the_fault(toxiproxy_url: str, after_s: float) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:

            async def exposure() -> None:
                async with c.injector.inject(c.fault()):
                    await asyncio.sleep(60)

            task = asyncio.create_task(exposure())
            await asyncio.sleep(after_s)
            task.cancel()
            await asyncio.sleep(0.001)
            task.cancel()  # a second one must not cut the removal short
            with pytest.raises(asyncio.CancelledError):
                await task
            await c.assert_restored()

    asyncio.run(scenario())


def test_cancelling_while_leaving_still_removes_and_is_passed_on(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:
            inside = asyncio.Event()

            async def exposure() -> None:
                async with c.injector.inject(c.fault()):
                    inside.set()

            task = asyncio.create_task(exposure())
            await inside.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await c.assert_restored()

    asyncio.run(scenario())


def test_a_refused_injection_leaves_the_operators_proxy_alone(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c, Line(c.listen) as old:
            await old.round_trip_s()
            fault = c.fault(LATENCY, LATENCY)  # two of one name: the server answers 409
            with pytest.raises(ToxiproxyError, match="toxic already exists"):
                async with c.injector.inject(fault):
                    raise AssertionError("not reached")
            await c.assert_restored()
            assert await old.round_trip_s() is not None  # not even its connections were dropped

    asyncio.run(scenario())


def test_what_could_crash_a_server_is_refused_before_anything_is_sent() -> None:
    seen: list[str] = []

    async def record(method: str, path: str, body: bytes) -> bytes:
        seen.append(path)
        return raw("200 OK", "{}")

    async def scenario() -> None:
        async with fake_api(record) as url:
            injector = ToxiproxyInjector(scenario_of("edge", "127.0.0.1:9"), RUN, url)
            for toxic in (
                Toxic("slicer", {"average_size": 0}),
                Toxic("bandwidth", {"rate": -1}),
                Toxic("latency", {"latencyy": 5}),
                Toxic("latency", {"latency": 5}, toxicity=7.0),
            ):
                fault = injector.plan(variant(toxic), 0, EXPIRES)
                assert fault is not None
                with pytest.raises(ToxiproxyError, match="was not injected: found"):
                    async with injector.inject(fault):
                        raise AssertionError("not reached")

    asyncio.run(scenario())
    assert seen == []


def test_a_second_injection_of_the_same_proxy_is_refused(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:
            async with c.injector.inject(c.fault()):
                same, other = c.fault(), c.fault(n=1)
                for fault, words in ((same, "of that name exists"), (other, "disabled")):
                    with pytest.raises(ToxiproxyError, match=words):
                        async with c.injector.inject(fault):
                            raise AssertionError("not reached")
                assert await new_connection_s(c.listen) >= DELAY_S
            await c.assert_restored()

    asyncio.run(scenario())


def test_an_operators_proxy_that_vanished_meanwhile_comes_back(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:
            async with c.injector.inject(c.fault()):
                await PythonToxiproxy(*server_address(toxiproxy_url)).destroy("inventory")
            await c.assert_restored()

    asyncio.run(scenario())


def test_an_address_taken_by_somebody_else_is_a_cleanup_error(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:
            injector = ToxiproxyInjector(c.scenario, RUN, toxiproxy_url, cleanup_s=2.0)
            fault = c.fault()
            with pytest.raises(CleanupError, match="address already in use") as caught:
                async with injector.inject(fault):
                    server = PythonToxiproxy(*server_address(toxiproxy_url))
                    await server.create("thief", fault.listen, fault.upstream, enabled=False)
                    await server.enable_instead_of_disabled("thief", fault.name)
            assert caught.value.exit_code == 7

    asyncio.run(scenario())


def server_address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def test_two_operators_proxies_in_one_run_are_each_restored_by_themselves(
    toxiproxy_url: str,
) -> None:
    """A ladder each: while one is slow the other is as always, and both come back as they were."""

    async def both() -> None:
        async with echo_upstream() as one, echo_upstream() as other:
            client = ToxiproxyClient(toxiproxy_url)
            made = {
                name: await client.create(name, "127.0.0.1:0", upstream)
                for name, upstream in (("inventory", one), ("prices", other))
            }
            asked = replace(
                scenario_of("canary", one, made["inventory"].listen),
                proxies=tuple(Proxy(p.name, p.upstream, p.listen) for p in made.values()),
                ladders=tuple(
                    Ladder(f"slow-{name}", name, "latency", 0.001, 1.0, 0.1) for name in made
                ),
            )
            injector = ToxiproxyInjector(asked, RUN, toxiproxy_url)
            await injector.preflight()
            for n, sick in enumerate(["prices", "inventory", "prices"], start=1):
                fault = injector.plan(replace(variant(), proxy=sick), n, EXPIRES)
                assert fault is not None
                assert (fault.restores, fault.listen) == (sick, made[sick].listen)
                async with injector.inject(fault):
                    for name, proxy in made.items():
                        assert (await new_connection_s(proxy.listen) >= DELAY_S) == (name == sick)
                found = await client.proxies()
                assert found == made

    asyncio.run(both())


# --- edge ---------------------------------------------------------------------------------------


def test_edge_gives_an_address_of_its_own_and_deletes_it(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with echo_upstream() as upstream:
            injector: Injector = ToxiproxyInjector(
                scenario_of("edge", upstream), RUN, toxiproxy_url
            )
            await injector.preflight()
            sick, clean = injector.plan(variant(), 1, EXPIRES), injector.plan(None, 2, EXPIRES)
            assert sick is not None
            assert clean is not None
            assert (sick.restores, clean.toxics) == (None, ())
            assert sick.name == f"cb.{RUN}.{EXPIRES}.1.inventory.own"
            async with injector.inject(sick) as slow, injector.inject(clean) as fast:
                assert slow.address is not None
                assert fast.address is not None
                assert await new_connection_s(slow.address) >= DELAY_S
                assert await new_connection_s(fast.address) < DELAY_S
            assert await ToxiproxyClient(toxiproxy_url).proxies() == {}
            with pytest.raises(OSError):
                await new_connection_s(slow.address)

    asyncio.run(scenario())


def test_edge_injections_run_side_by_side(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with echo_upstream() as upstream:
            injector = ToxiproxyInjector(scenario_of("edge", upstream), RUN, toxiproxy_url)

            async def exposure(n: int) -> float:
                latency = Toxic("latency", {"latency": 20 * n})
                fault = injector.plan(variant(latency), n, EXPIRES)
                assert fault is not None
                async with injector.inject(fault) as injected:
                    assert injected.address is not None
                    return await new_connection_s(injected.address)

            took_s = await asyncio.gather(*(exposure(n) for n in range(8)))
            assert all(took >= 0.02 * n for n, took in enumerate(took_s))
            assert await ToxiproxyClient(toxiproxy_url).proxies() == {}

    asyncio.run(scenario())


def test_a_server_on_another_host_listens_where_we_can_reach_it() -> None:
    for host, listen in (
        ("toxiproxy.example", r"0\.0\.0\.0:0"),
        ("[2001:db8::1]", r"\[::\]:0"),
        ("localhost", r"127\.0\.0\.1:[1-9][0-9]*"),
        ("127.0.0.2", r"127\.0\.0\.1:[1-9][0-9]*"),
        ("[::1]", r"127\.0\.0\.1:[1-9][0-9]*"),
    ):
        injector = ToxiproxyInjector(scenario_of("edge", "up:1"), RUN, f"http://{host}:8474")
        fault = injector.plan(variant(), 0, EXPIRES)
        assert fault is not None
        assert re.fullmatch(listen, fault.listen)
        assert fault.server == f"http://{host}:8474"


@pytest.mark.parametrize("topology", ["edge", "canary"])
def test_a_server_that_died_has_no_fault_of_ours_but_no_proxy_of_the_operators_either(
    toxiproxy_kind: Kind, topology: str
) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            server = stack.enter_context(ExitStack())
            url = server.enter_context(running_server(toxiproxy_kind))
            c = await stack.enter_async_context(canary(url))
            scenario = replace(c.scenario, topology=TOPOLOGIES[topology])
            injector = ToxiproxyInjector(scenario, RUN, url)
            fault = injector.plan(variant(), 0, EXPIRES)
            assert fault is not None
            with nullcontext() if topology == "edge" else pytest.raises(CleanupError):
                async with injector.inject(fault):
                    server.close()
            with pytest.raises(ToxiproxyError, match="is a Toxiproxy server running there"):
                async with injector.inject(fault):
                    raise AssertionError("not reached")

    asyncio.run(scenario())


# --- preflight ----------------------------------------------------------------------------------


def test_preflight_returns_the_servers_version(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:
            assert await c.injector.preflight() == await c.client.version()

    asyncio.run(scenario())


def test_preflight_compares_addresses_not_texts(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:
            as_names = scenario_of(
                "canary",
                c.upstream.replace("127.0.0.1", "localhost"),
                c.listen.replace("127.0.0.1", "localhost"),
            )
            injector = ToxiproxyInjector(as_names, RUN, toxiproxy_url)
            await injector.preflight()
            fault = injector.plan(variant(), 0, EXPIRES)
            assert fault is not None
            assert (fault.listen, fault.upstream) == (c.listen, c.upstream)  # the server's own
            async with injector.inject(fault):
                assert await new_connection_s(c.listen) >= DELAY_S
            await c.assert_restored()

    asyncio.run(scenario())


def test_preflight_names_what_is_wrong(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:
            right = c.scenario.proxies[0]
            for wrong, words in (
                (replace(right, name="nobody"), "there is no proxy nobody; create it"),
                (replace(right, name="a.b"), "found proxy name 'a.b'"),
                (replace(right, listen="127.0.0.1:1"), f"listens on {c.listen}, wanted"),
                (replace(right, upstream="127.0.0.1:1"), f"leads to {c.upstream}, wanted"),
            ):
                scenario = replace(c.scenario, proxies=(wrong,))
                with pytest.raises(ToxiproxyError, match=words) as caught:
                    await ToxiproxyInjector(scenario, RUN, toxiproxy_url).preflight()
                assert toxiproxy_url in str(caught.value)
            await c.client.update_proxy("inventory", enabled=False)
            with pytest.raises(ToxiproxyError, match="inventory is disabled; enable it"):
                await c.injector.preflight()

    asyncio.run(scenario())


def test_foreign_toxics_are_refused_by_name(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:
            server = PythonToxiproxy(*server_address(toxiproxy_url))
            await server.add_toxic("inventory", Toxic("latency", {"latency": 1}))
            words = "toxics that are not ours: latency_downstream"
            with pytest.raises(ToxiproxyError, match=words):
                await c.injector.preflight()
            with pytest.raises(ToxiproxyError, match=words):  # also when they came after it
                async with c.injector.inject(c.fault()):
                    raise AssertionError("not reached")
            found = await c.client.proxies()
            assert set(found) == {"inventory"}
            assert len(found["inventory"].toxics) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("run", "expires", "words"),
    [
        ("run00002", 2_000, "run run00002 has .* for at most 1000 s more"),
        ("run00002", 999, "left over .* run `chaosbandit clean --expired`"),
        (RUN, 2_000, "left over .* run `chaosbandit clean` first"),
    ],
)
@pytest.mark.parametrize("operators", ["kept", "disabled", "missing"])
def test_another_runs_proxy_in_place_of_the_operators_is_refused(
    toxiproxy_url: str, run: str, expires: int, words: str, operators: str
) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:
            server = PythonToxiproxy(*server_address(toxiproxy_url))
            name = fault_name(run, expires, 3, "inventory")
            listen = c.listen if operators == "kept" else "127.0.0.1:0"
            await server.create(name, listen, c.upstream, enabled=False)
            if operators == "disabled":
                await server.disable("inventory")
            if operators == "missing":
                await server.destroy("inventory")
            injector = ToxiproxyInjector(c.scenario, RUN, toxiproxy_url, epoch_s=lambda: 1000.0)
            with pytest.raises(ToxiproxyError, match=words) as caught:
                await injector.preflight()
            assert name in str(caught.value)

    asyncio.run(scenario())


def test_another_runs_edge_proxy_does_not_matter(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:
            server = PythonToxiproxy(*server_address(toxiproxy_url))
            name = fault_name("run00002", EXPIRES, 3, "inventory", stands_in=False)
            await server.create(name, "127.0.0.1:0", c.upstream)
            assert await c.injector.preflight()
            await server.disable("inventory")
            with pytest.raises(ToxiproxyError, match="inventory is disabled; enable it"):
                await c.injector.preflight()

    asyncio.run(scenario())


def test_edge_preflight_wants_an_upstream_that_resolves(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        good = ToxiproxyInjector(scenario_of("edge", "localhost:9"), RUN, toxiproxy_url)
        assert await good.preflight()
        bad = ToxiproxyInjector(scenario_of("edge", "nowhere.invalid:9"), RUN, toxiproxy_url)
        with pytest.raises(ToxiproxyError, match=r"nowhere.invalid:9 of inventory cannot be"):
            await bad.preflight()

    asyncio.run(scenario())


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "127.0.0.1:8474", "http://"])
def test_a_url_that_cannot_work_is_refused(url: str) -> None:
    with pytest.raises(ToxiproxyError, match="wanted http://host:port"):
        ToxiproxyInjector(scenario_of("edge", "127.0.0.1:9"), RUN, url)


def test_plan_gives_nothing_to_write_down_for_a_clean_canary() -> None:
    injector = ToxiproxyInjector(
        scenario_of("canary", "127.0.0.1:9", "127.0.0.1:10"), RUN, "http://127.0.0.1:8474"
    )
    assert injector.plan(None, 0, EXPIRES) is None
    assert injector.plan(variant(), 7, EXPIRES) == Fault(
        run=RUN,
        server="http://127.0.0.1:8474",
        name=f"cb.{RUN}.{EXPIRES}.7.inventory",
        listen="127.0.0.1:10",
        upstream="127.0.0.1:9",
        restores="inventory",
        expires_epoch_s=EXPIRES,
        toxics=(LATENCY,),
    )


# --- servers that lie or freeze -----------------------------------------------------------------


def in_front_of(url: str, **instead: Any) -> Answer:
    """Pass everything on to a real server but calls `METHOD_part`, answered as `instead` says."""

    async def answer(method: str, path: str, body: bytes) -> bytes | None:
        for key, value in instead.items():
            wanted_method, _, part = key.partition("_")
            if method == wanted_method and part in path:
                return value(body) if callable(value) else value  # type: ignore[no-any-return]
        async with httpx.AsyncClient(trust_env=False, verify=False) as http:
            reply = await http.request(method, url + path, content=body)
        return raw(f"{reply.status_code} Passed On", reply.text)

    return answer


def echo_toxic(body: bytes) -> bytes:
    return raw("200 OK", body.decode())


def test_a_server_that_drops_the_toxic_is_caught_by_reading_back(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with (
            canary(toxiproxy_url) as c,
            fake_api(in_front_of(toxiproxy_url, POST_toxics=echo_toxic)) as lying,
        ):
            injector = ToxiproxyInjector(c.scenario, RUN, lying)
            with pytest.raises(ToxiproxyError, match="was not injected: reads back toxics"):
                async with injector.inject(c.fault()):
                    raise AssertionError("not reached")
            await c.assert_restored()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("silent", "within_s"), [(None, CLEANUP_S), (raw("503 Service Unavailable"), 2.0)]
)
def test_a_frozen_server_is_a_cleanup_error_with_commands_that_work(
    toxiproxy_url: str, silent: bytes | None, within_s: float
) -> None:
    async def scenario() -> None:
        async with (
            canary(toxiproxy_url) as c,
            fake_api(in_front_of(toxiproxy_url, DELETE_proxies=silent)) as frozen,
        ):
            injector = ToxiproxyInjector(c.scenario, RUN, frozen, cleanup_s=within_s)
            fault = c.fault()
            started_s = 0.0
            words = f"could not confirm within {within_s:g} s"
            with pytest.raises(CleanupError, match=words) as caught:
                async with injector.inject(fault):
                    started_s = time.monotonic()
            assert time.monotonic() - started_s < 10.0
            assert f"{fault.name} still exists" in str(caught.value)
            assert await new_connection_s(c.listen) < DELAY_S  # closing ours was enough for users
            for command in caught.value.commands:
                by_hand = ["sh", "-c", command.replace(frozen, toxiproxy_url)]
                await asyncio.to_thread(subprocess.run, by_hand, check=True, capture_output=True)
            await c.assert_restored()

    asyncio.run(scenario())


LIES: dict[str, dict[str, Any]] = {
    "deleted": {"DELETE_proxies": raw("204 No Content")},
    "enabled": {"POST_inventory": raw("200 OK", "{}")},
    "garbage": {"DELETE_proxies": b"\x00\xff garbage\r\n\r\n"},
    "empty 503": {"DELETE_proxies": raw("503 Service Unavailable")},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_removal_that_only_seems_to_work_is_a_cleanup_error(toxiproxy_url: str, lie: str) -> None:
    async def scenario() -> None:
        lying = False

        async with canary(toxiproxy_url) as c:

            async def answer(method: str, path: str, body: bytes) -> bytes | None:
                lies = LIES[lie] if lying else {}
                return await in_front_of(toxiproxy_url, **lies)(method, path, body)

            async with fake_api(answer) as liar:
                injector = ToxiproxyInjector(c.scenario, RUN, liar, cleanup_s=1.5)
                words = "inventory is disabled" if lie == "enabled" else "still exists"
                with pytest.raises(CleanupError, match=words):
                    async with injector.inject(c.fault()):
                        lying = True

    asyncio.run(scenario())


def test_a_hanging_server_is_told_in_one_sentence_and_in_time(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        hanging = False
        async with canary(toxiproxy_url) as c:

            async def answer(method: str, path: str, body: bytes) -> bytes | None:
                return None if hanging else await in_front_of(toxiproxy_url)(method, path, body)

            async with fake_api(answer) as frozen:
                injector = ToxiproxyInjector(c.scenario, RUN, frozen)
                with pytest.raises(CleanupError) as caught:
                    async with injector.inject(c.fault()):
                        hanging = True
                        started_s = time.monotonic()
                assert time.monotonic() - started_s < CLEANUP_S + 3.0
                assert str(caught.value).count("did not answer") == 1
                assert str(caught.value).count("hangs or is frozen") == 1

    asyncio.run(scenario())
    assert CLEANUP_S <= 6.0  # the run must end with exit 7 within 10 s of a freeze


def test_a_frozen_proxy_of_somebody_else_does_not_hinder_an_injection(toxiproxy_url: str) -> None:
    async def no_list(method: str, path: str, body: bytes) -> bytes | None:
        if (method, path) == ("GET", "/proxies"):
            return None  # as the real server, where one of the proxies listed is frozen
        return await in_front_of(toxiproxy_url)(method, path, body)

    async def scenario() -> None:
        async with canary(toxiproxy_url) as c, fake_api(no_list) as frozen:
            injector = ToxiproxyInjector(c.scenario, RUN, frozen)
            async with injector.inject(c.fault()):
                assert await new_connection_s(c.listen) >= DELAY_S
            await c.assert_restored()

    asyncio.run(scenario())


@pytest.mark.parametrize("refusal", ["409 Conflict", "400 Bad Request"])
def test_where_the_first_step_was_refused_nothing_is_removed(
    toxiproxy_url: str, refusal: str
) -> None:
    seen: list[str] = []

    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:

            async def answer(method: str, path: str, body: bytes) -> bytes | None:
                seen.append(method)
                if (method, path) == ("POST", "/proxies"):
                    return raw(refusal, '{"error":"no"}')
                return await in_front_of(toxiproxy_url)(method, path, body)

            async with fake_api(answer) as refusing:
                injector = ToxiproxyInjector(c.scenario, RUN, refusing)
                words = f"nothing was placed on the server: .* with {refusal[:3]}: no"
                with pytest.raises(ToxiproxyError, match=words):
                    async with injector.inject(c.fault()):
                        raise AssertionError("not reached")
            await c.assert_restored()

    asyncio.run(scenario())
    assert seen == ["GET", "GET", "POST"]


@pytest.mark.parametrize("answered", [None, raw("500 Internal Server Error")])
def test_where_the_first_step_hung_or_broke_the_removal_runs(
    toxiproxy_url: str, answered: bytes | None
) -> None:
    """Such a server may have done all the same what it was asked for."""

    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:

            async def answer(method: str, path: str, body: bytes) -> bytes | None:
                passed_on = await in_front_of(toxiproxy_url)(method, path, body)
                return answered if (method, path) == ("POST", "/proxies") else passed_on

            async with fake_api(answer) as breaking:
                injector = ToxiproxyInjector(c.scenario, RUN, breaking, deadline_s=1.0)
                with pytest.raises(ToxiproxyError):
                    async with injector.inject(c.fault()):
                        raise AssertionError("not reached")
            await c.assert_restored()

    asyncio.run(scenario())


def test_a_server_that_answers_late_is_cleaned_all_the_same(toxiproxy_url: str) -> None:
    hung = 0

    def once(body: bytes) -> bytes | None:
        nonlocal hung
        hung += 1
        return None if hung == 1 else raw("204 No Content")

    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:

            async def first_delete_hangs(method: str, path: str, body: bytes) -> bytes | None:
                if method == "DELETE" and once(body) is None:
                    return None
                return await in_front_of(toxiproxy_url)(method, path, body)

            async with fake_api(first_delete_hangs) as slow:
                injector = ToxiproxyInjector(c.scenario, RUN, slow, deadline_s=0.5)
                async with injector.inject(c.fault()):
                    assert await new_connection_s(c.listen) >= DELAY_S
            await c.assert_restored()

    asyncio.run(scenario())
    assert hung == 2


def test_a_cleanup_error_outranks_cancelling(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with (
            canary(toxiproxy_url) as c,
            fake_api(in_front_of(toxiproxy_url, DELETE_proxies=raw("503 Frozen"))) as frozen,
        ):
            injector = ToxiproxyInjector(c.scenario, RUN, frozen, cleanup_s=1.0)
            inside = asyncio.Event()

            async def exposure() -> None:
                async with injector.inject(c.fault()):
                    inside.set()
                    await asyncio.sleep(60)

            task = asyncio.create_task(exposure())
            await inside.wait()
            task.cancel()
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(CleanupError):
                await task

    asyncio.run(scenario())
