"""Injection on a path of our own beside a clean one, on both servers."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Route
from chaosbandit.errors import HarnessError, ToxiproxyError
from chaosbandit.faults.fault import Toxic
from chaosbandit.toxiproxy.injector import ToxiproxyInjector
from tests.fake_api import fake_api, raw
from tests.toxiproxy.doors import PROXY, Door, door
from tests.toxiproxy.injecting import (
    DOSE_S,
    PASS,
    RUN,
    Line,
    edge_of,
    is_dropped,
    latency,
    silent_where,
    trip_s,
    variant,
    way,
)
from tests.toxiproxy.recorded_safety import RecordedSafety


@dataclass(slots=True)
class Edge:
    """Two paths of our own to an echo, beside an operator's proxy that nobody may touch."""

    door: Door
    safety: RecordedSafety
    injector: ToxiproxyInjector
    canary: str = ""
    control: str = ""

    def ours(self) -> dict[str, dict[str, Any]]:
        """Our paths, as the server shows them."""
        return {name: self.door.show(name) for name in self.door.names() if name != PROXY}


@asynccontextmanager
async def edge(url: str, *, api: str | None = None, **options: Any) -> AsyncIterator[Edge]:
    with door(url) as found:
        safety = RecordedSafety()
        scenario = edge_of(found.echo.address)
        injector = ToxiproxyInjector(scenario, RUN, api or url, safety, **options)
        await injector.preflight()
        ready = Edge(found, safety, injector)
        async with injector.paths() as via:
            ready.canary, ready.control = via[Route.CANARY], via[Route.CONTROL]
            yield ready
        assert found.is_normal()
        assert (safety.armed, safety.failures, safety.faults_found) == ({}, [], [])
        for address in (ready.canary, ready.control):
            with pytest.raises(OSError):
                await trip_s(address)


def test_two_paths_for_the_whole_run_and_toxics_on_the_canarys_only(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with edge(toxiproxy_url) as e, Line(e.canary) as sick, Line(e.control) as clean:
            first = e.ours()
            names = list(first)
            assert all(re.fullmatch(rf"cb-path\.{RUN}\.\d+\.[12]", name) for name in names)
            for line in (sick, clean):
                assert await line.trip_s() is not None
            met = e.door.echo.met
            for n in range(40):
                fault = e.injector.plan(variant(latency(0.002 * (n % 9 + 1), stream="upstream")))
                assert (fault.owned, fault.proxy, fault.check) == (True, names[0], None)
                async with e.injector.inject(fault) as injected:
                    assert await injected.read_back() == []
                    assert e.door.show(names[1]) == first[names[1]]
                    assert await sick.trip_s() is not None
                    assert await clean.trip_s() is not None
                if n % 8 == 7:
                    await e.injector.take_off()
                    assert e.ours() == first
            async with e.injector.inject(e.injector.plan(variant())):
                assert await trip_s(e.canary) >= DOSE_S > await trip_s(e.control)
            assert await trip_s(e.canary) < DOSE_S
            assert e.door.echo.met == met + 3
            assert (sick.wrong, clean.wrong) == (0, 0)
            assert await sick.trip_s() is not None
            assert await clean.trip_s() is not None
            assert e.injector.aftermath().connections_cut == 0

    asyncio.run(scenario())


def test_paths_are_armed_before_they_are_opened_and_struck_when_they_are_gone(
    toxiproxy_url: str,
) -> None:
    async def scenario() -> None:
        async with way(toxiproxy_url) as (there, api), edge(toxiproxy_url, api=api) as e:
            names = list(e.ours())
            assert e.safety.rests == dict.fromkeys(names, True)
            there.shown_to = e.safety
            e.safety.log.clear()
            async with e.injector.inject(e.injector.plan(variant())):
                pass
        log = [entry for entry in e.safety.log if not entry.startswith("GET")]
        for name in names:
            path = [entry for entry in log if entry.endswith(name)]
            assert path == [f"POST /proxies/{name}", f"DELETE /proxies/{name}", f"struck {name}"]
        toxic = next(entry for entry in log if entry.startswith("struck cb.")).removeprefix(
            "struck "
        )
        assert log.index(f"struck {toxic}") < log.index(f"POST /proxies/{names[0]}")

    asyncio.run(scenario())


def test_the_order_of_opening(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        safety = RecordedSafety()
        async with way(toxiproxy_url) as (there, api):
            there.shown_to = safety
            with door(toxiproxy_url) as path:
                injector = ToxiproxyInjector(edge_of(path.echo.address), RUN, api, safety)
                async with injector.paths():
                    first, second = safety.armed
                    assert safety.log == [
                        *(f"armed {first}", "POST /proxies", f"GET /proxies/{first}"),
                        *(f"armed {second}", "POST /proxies", f"GET /proxies/{second}"),
                    ]
        assert safety.faults_found == []

    asyncio.run(scenario())


ERRORS = Ladder("errors", PROXY, "errors", 0.01, 1.0, 0.1)


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_errors_are_added_and_deleted_each_time_and_hit_their_share(
    toxiproxy_url: str, share: float
) -> None:
    """Of fresh connections; 300 of them are within 4 standard deviations of the share asked for."""
    toxic = Toxic("limit_data", {"bytes": 0}, toxicity=share)

    async def scenario() -> None:
        async with edge(toxiproxy_url) as e:
            first, seen = e.ours(), set()
            for _ in range(3):
                fault = e.injector.plan(variant(toxic, ladder="errors"))
                seen.add(fault.name)
                async with e.injector.inject(fault) as injected:
                    dropped = sum([await is_dropped(e.canary) for _ in range(100)])
                    assert 100 * share - 20 <= dropped <= 100 * share + 20
                    assert not await is_dropped(e.control)
                    assert await injected.read_back() == []
                assert e.ours() == first
                assert not any(await asyncio.gather(*(is_dropped(e.canary) for _ in range(20))))
            assert len(seen) == 3
            assert {fault.name for fault, _ in e.safety.struck} == seen
            assert e.injector.aftermath().connections_cut == 0

    asyncio.run(scenario())


def test_the_errors_ladder_asks_for_that_toxic() -> None:
    (toxic,) = ERRORS.variant(0).toxics
    assert (toxic.type, dict(toxic.attributes)) == ("limit_data", {"bytes": 0})
    assert 0 < toxic.toxicity < 1


@pytest.mark.parametrize("which", ["canary", "both"])
def test_a_path_that_went_is_opened_again_where_it_was(toxiproxy_url: str, which: str) -> None:
    async def scenario() -> None:
        async with way(toxiproxy_url) as (there, api), edge(toxiproxy_url, api=api) as e:
            there.shown_to = e.safety  # which notes calls about what it was told rests
            first = e.ours()
            async with e.injector.inject(e.injector.plan(variant())) as injected:
                for name in list(first)[: 1 if which == "canary" else 2]:
                    e.door.call("DELETE", f"/proxies/{name}")
                assert await injected.read_back() == [f"proxy {next(iter(first))} is gone"]
            assert e.injector.aftermath().others is None
            async with e.injector.inject(e.injector.plan(variant())) as injected:
                assert await injected.read_back() == []
                assert await trip_s(e.canary) >= DOSE_S > await trip_s(e.control)
            await e.injector.take_off()
            assert e.ours() == first
            assert set(e.safety.rests.values()) == {True}

    asyncio.run(scenario())


def test_a_path_is_usable_after_softening_hung_on_it(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with way(toxiproxy_url) as (there, api), edge(toxiproxy_url, api=api) as e:
            first = e.ours()
            for _ in range(2):
                async with e.injector.inject(e.injector.plan(variant())):
                    there.instead = silent_where("POST", '{"latency": 0', times=2)
                there.instead = None
                assert await trip_s(e.canary) < DOSE_S
                assert e.ours() in (first, {name: first[name] for name in list(first)[1:]})
            async with e.injector.inject(e.injector.plan(variant())):
                assert await trip_s(e.canary) >= DOSE_S
            assert len(e.safety.struck) == 2
            assert all(late is not None for _, late in e.safety.struck)
            assert e.injector.aftermath().watched == "watched"

    asyncio.run(scenario())


def test_where_the_second_path_cannot_be_opened_the_first_goes_again(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        safety = RecordedSafety()
        with door(toxiproxy_url) as path:
            async with way(toxiproxy_url) as (there, api):
                made = 0

                async def second_refused(method: str, at: str, body: bytes) -> bytes | None:
                    nonlocal made
                    made += method == "POST" and at == "/proxies"
                    refuse = method == "POST" and at == "/proxies" and made == 2
                    return raw("500 Internal Server Error", '{"error":"no"}') if refuse else PASS

                there.instead = second_refused
                injector = ToxiproxyInjector(edge_of(path.echo.address), RUN, api, safety)
                with pytest.raises(ToxiproxyError, match="answered 500 no"):
                    async with injector.paths():
                        raise AssertionError("not reached")
            assert path.is_normal()
        assert len(safety.struck) == 2
        assert (safety.armed, safety.faults_found) == ({}, [])

    asyncio.run(scenario())


def test_a_path_that_cannot_be_guarded_is_not_opened(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        safety = RecordedSafety(HarnessError("no watchdog"))
        with door(toxiproxy_url) as path:
            async with way(toxiproxy_url) as (there, api):
                injector = ToxiproxyInjector(edge_of(path.echo.address), RUN, api, safety)
                with pytest.raises(HarnessError, match="no watchdog"):
                    async with injector.paths():
                        raise AssertionError("not reached")
                assert there.seen == []
        assert (safety.struck, safety.faults_found) == ([], [])

    asyncio.run(scenario())


def test_planning_outside_of_the_paths_is_a_bug() -> None:
    injector = ToxiproxyInjector(edge_of("a:1"), RUN, "http://127.0.0.1:1", RecordedSafety())
    with pytest.raises(AssertionError, match="outside of `paths`"):
        injector.plan(variant())


def test_edge_preflight_wants_an_upstream_that_resolves(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        safety = RecordedSafety()
        good = ToxiproxyInjector(edge_of("localhost:9"), RUN, toxiproxy_url, safety)
        assert await good.preflight()
        bad = ToxiproxyInjector(edge_of("nowhere.invalid:9"), RUN, toxiproxy_url, safety)
        with pytest.raises(ToxiproxyError, match=r"nowhere.invalid:9 of inventory cannot be"):
            await bad.preflight()

    asyncio.run(scenario())


# --- a server on another host ---------------------------------------------------------------------


def _leads_here(patch: pytest.MonkeyPatch, port: str) -> None:
    """Whatever host is asked for with this port, it is this one."""
    look_up = socket.getaddrinfo

    def here(host: Any, service: Any, *args: Any, **options: Any) -> Any:
        if str(service) != port:
            return look_up(host, service, *args, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(port)))]

    patch.setattr(socket, "getaddrinfo", here)


@pytest.mark.parametrize(
    ("host", "listen", "reached"),
    [
        ("toxiproxy.example", "0.0.0.0:0", "toxiproxy.example:4101"),
        ("192.0.2.7", "0.0.0.0:0", "192.0.2.7:4101"),
        ("[2001:db8::1]", "[::]:0", "[2001:db8::1]:4101"),
    ],
)
def test_another_hosts_server_listens_where_we_can_reach_it_and_keeps_the_port(
    host: str, listen: str, reached: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxies: dict[str, dict[str, Any]] = {}
    asked: list[str] = []

    async def remote(method: str, path: str, body: bytes) -> bytes:
        """A server that has one port, and forgets its proxies when it is told to."""
        given = json.loads(body) if body else {}
        name = str(given["name"] if path == "/proxies" else path.split("/")[2])
        if method == "POST" and path == "/proxies":
            asked.append(given["listen"])
            number = 4101 + len(proxies)
            bound = given["listen"].replace(":0", f":{number}")
            bound = given["listen"] if re.search(r":[1-9]\d*$", given["listen"]) else bound
            proxies[name] = {**given, "listen": bound, "toxics": []}
            return raw("201 Created", json.dumps(proxies[name]))
        if name not in proxies:
            return raw("404 Not Found", '{"error": "proxy not found"}')
        if method == "POST" and path.endswith("/toxics"):
            proxies[name]["toxics"].append(given)
            return raw("200 OK", json.dumps(given))
        if method == "POST" and "/toxics/" in path:
            proxies[name]["toxics"][0]["attributes"].update(given["attributes"])
            return raw("200 OK", "{}")
        if method == "POST":
            proxies[name].update(given)
        if method == "DELETE" and "/toxics" in path:
            proxies[name]["toxics"].clear()
        elif method == "DELETE":
            del proxies[name]
        return raw("200 OK" if method != "DELETE" else "204 No", json.dumps(proxies.get(name, {})))

    async def scenario() -> None:
        async with fake_api(remote) as url:
            port = url.rpartition(":")[2]
            safety = RecordedSafety()
            injector = ToxiproxyInjector(
                edge_of("upstream.example:1"), RUN, f"http://{host}:{port}", safety
            )
            _leads_here(monkeypatch, port)
            async with injector.paths() as via:
                assert via[Route.CANARY] == reached
                assert asked == [listen, listen]
                fault = injector.plan(variant())
                assert fault.listen == listen.replace(":0", ":4101")
                async with injector.inject(fault) as injected:
                    assert await injected.read_back() == []
                    proxies.clear()
                async with injector.inject(injector.plan(variant())) as injected:
                    assert await injected.read_back() == []
                assert asked[2:] == [f"{listen[:-2]}:4101", f"{listen[:-2]}:4102"]
            assert proxies == {}
            assert (safety.armed, safety.faults_found) == ({}, [])

    asyncio.run(scenario())


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "[::1]"])
def test_this_hosts_server_listens_on_its_loopback_only(host: str) -> None:
    bound: list[str] = []

    async def refuse(method: str, path: str, body: bytes) -> bytes:
        if (method, path) == ("POST", "/proxies"):
            bound.append(json.loads(body)["listen"])
        return raw("404 Not Found", '{"error": "proxy not found"}')

    async def scenario() -> None:
        async with fake_api(refuse) as url:
            safety = RecordedSafety()
            port = url.rpartition(":")[2]
            injector = ToxiproxyInjector(edge_of("a:1"), RUN, f"http://{host}:{port}", safety)
            with pytest.MonkeyPatch.context() as patch:
                _leads_here(patch, port)
                with pytest.raises(ToxiproxyError, match="answered 404"):
                    async with injector.paths():
                        raise AssertionError("not reached")

    asyncio.run(scenario())
    assert len(bound) == 1
    assert re.fullmatch(r"127\.0\.0\.1:[1-9][0-9]*", bound[0])
