"""What others do to the path in mid-exposure, on both servers: told, and never mended by us."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaosbandit.core.scenario import Proxy
from chaosbandit.errors import ToxiproxyError
from chaosbandit.toxiproxy.injector import ToxiproxyInjector
from tests.servers import Kind
from tests.toxiproxy.doors import PROXY, Door, free_port
from tests.toxiproxy.injecting import (
    DOSE_S,
    RUN,
    Canary,
    canary,
    edge_of,
    latency,
    scenario_of,
    server_at,
    trip_s,
    variant,
)
from tests.toxiproxy.recorded_safety import RecordedSafety


def only(path: Door) -> str:
    """Where the one toxic is."""
    return f"/proxies/{PROXY}/toxics/{path.show()['toxics'][0]['name']}"


def change(path: Door, **values: object) -> None:
    path.call("POST", f"/proxies/{PROXY}", values)


def place_again(path: Door) -> None:
    path.call("DELETE", f"/proxies/{PROXY}")
    place = {"name": PROXY, "listen": path.listen, "upstream": path.echo.address}
    path.call("POST", "/proxies", place)


@dataclass(frozen=True)
class Case:
    """What others do, what reading back says of it, what undoing tells, and who may go on."""

    do: Callable[[Door], object]
    words: str
    others: str | None = None
    goes_on: bool = True


CASES = {
    "toxic deleted": Case(lambda d: d.call("DELETE", only(d)), "carries no toxic, wanted cb.run"),
    "toxic edited": Case(
        lambda d: d.call("POST", only(d), {"attributes": {"latency": 7}}),
        r"latency downstream latency=7\), wanted .*latency=300\)",
    ),
    "toxicity edited": Case(
        lambda d: d.call("POST", only(d), {"toxicity": 0.25, "attributes": {}}),
        r"latency=300 toxicity=0.25\), wanted .*latency=300\)",
    ),
    "foreign toxic": Case(
        lambda d: d.add("theirs", "latency", {"latency": 1}), r"theirs \(latency", goes_on=False
    ),
    "reset": Case(lambda d: d.call("POST", "/reset"), "carries no toxic, wanted"),
    "made anew": Case(place_again, "carries no toxic, wanted"),
    "disabled": Case(
        lambda d: change(d, enabled=False), "inventory is disabled", "was disabled by others", False
    ),
    "deleted": Case(
        lambda d: d.call("DELETE", f"/proxies/{PROXY}"), "inventory is gone", "was deleted", False
    ),
    "listen edited": Case(
        lambda d: change(d, listen=f"127.0.0.1:{free_port()}"), "listens on", "addresses", False
    ),
    "upstream edited": Case(
        lambda d: change(d, upstream="127.0.0.1:1"), "leads to 127.0.0.1:1", "addresses", False
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_reading_back_tells_what_others_did_and_leaving_confirms(
    toxiproxy_url: str, name: str
) -> None:
    case = CASES[name]

    async def scenario() -> None:
        async with canary(toxiproxy_url, clean=False) as c, c.injector.paths():
            async with c.inject() as injected:
                assert await injected.read_back() == []
                case.do(c.door)
                theirs = c.door.show()
                told = "; ".join(await injected.read_back())
            _assert_said(case.words, told)
            if not case.goes_on:
                with pytest.raises(ToxiproxyError, match="was not injected"):
                    async with c.inject():
                        raise AssertionError("not reached")
            else:
                await c.expose(latency(0.2))
            await c.injector.take_off()
            now = c.door.show()
            for key in ("enabled", "listen", "upstream"):
                assert now.get(key) == theirs.get(key)
            assert [t["name"] for t in now.get("toxics", [])] == (
                ["theirs"] if name == "foreign toxic" else []
            )
            assert (c.safety.armed, c.safety.failures, c.safety.faults_found) == ({}, [], [])
            assert c.injector.aftermath().connections_cut == 0
            _assert_others(c, case.others)

    asyncio.run(scenario())


def _assert_said(words: str, told: str) -> None:
    assert re.search(words, told), told


def _assert_others(c: Canary, words: str | None) -> None:
    """Its command gives the operator the path back."""
    others = c.injector.aftermath().others
    if words is None:
        assert others is None
        return
    assert others is not None
    assert words in others.found
    assert "nothing of ours is there" in others.found
    (command,) = others.commands
    subprocess.run(["sh", "-c", command], check=True, capture_output=True, timeout=20)
    assert c.door.is_normal()


def test_what_others_took_off_between_exposures_is_put_on_anew(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c, c.injector.paths():
            first = await c.expose(latency(0.1), latency(0.1, stream="upstream"))
            c.door.call("DELETE", f"/proxies/{PROXY}/toxics/{first.name}")
            second = await c.expose(latency(0.2), latency(0.1, stream="upstream"))
            assert first.toxic_names == second.toxic_names
            c.door.call("POST", "/reset")
            await c.expose(latency(0.2), latency(0.1, stream="upstream"))

    asyncio.run(scenario())


# --- restarts -------------------------------------------------------------------------------------


@asynccontextmanager
async def mortal(kind: Kind, tmp_path: Path) -> AsyncIterator[tuple[ExitStack, Canary, list[str]]]:
    """A canary on a server that the test can kill, and how to start it with the same proxies."""
    port, config = free_port(), tmp_path / "proxies.json"
    server = ExitStack()
    with server:
        server.enter_context(server_at(kind, port))
        async with canary(f"http://127.0.0.1:{port}", clean=False) as c:
            place = {"name": PROXY, "listen": c.door.listen, "upstream": c.door.echo.address}
            config.write_text(json.dumps([place]))
            yield server, c, ["-config", str(config)]


@pytest.mark.parametrize("knows_proxies", [False, True])
def test_a_server_restarted_in_mid_exposure(
    toxiproxy_kind: Kind, tmp_path: Path, knows_proxies: bool
) -> None:
    if toxiproxy_kind == "embedded" and knows_proxies:
        pytest.skip("the embedded server has no file of proxies")

    async def scenario() -> None:
        async with mortal(toxiproxy_kind, tmp_path) as (server, c, config):
            port = int(c.door.url.rpartition(":")[2])
            async with c.injector.paths():
                async with c.inject() as injected:
                    server.close()
                    server.enter_context(
                        server_at(toxiproxy_kind, port, *(config if knows_proxies else ()))
                    )
                    told = "; ".join(await injected.read_back())
                others = c.injector.aftermath().others
                assert (c.safety.armed, c.safety.failures) == ({}, [])
                if knows_proxies:
                    assert "carries no toxic" in told
                    assert others is None
                    await c.expose()
                else:
                    assert told == "proxy inventory is gone"
                    assert c.door.names() == []  # we never create it
                    assert others is not None
                    assert "or Toxiproxy was restarted without it" in others.found
            if not knows_proxies:
                _assert_others(c, "deleted by others")
            assert c.door.is_normal()

    asyncio.run(scenario())


def test_a_server_that_died_takes_our_toxics_and_their_proxy_with_it(
    toxiproxy_kind: Kind, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with mortal(toxiproxy_kind, tmp_path) as (server, c, _):
            port = int(c.door.url.rpartition(":")[2])
            started_s = 0.0
            async with c.injector.paths():
                async with c.inject() as injected:
                    server.close()
                    with pytest.raises(ToxiproxyError, match="a server is running there"):
                        await injected.read_back()
                    started_s = time.monotonic()
                assert time.monotonic() - started_s < 6.0
                with pytest.raises(ToxiproxyError, match="a server is running there"):
                    async with c.inject():
                        raise AssertionError("not reached")
            assert (c.safety.armed, c.safety.failures) == ({}, [])
            server.enter_context(server_at(toxiproxy_kind, port))
            _assert_others(c, "is dead, and proxy inventory with it")

    asyncio.run(scenario())


def test_paths_of_ours_are_opened_again_at_a_restarted_server(
    toxiproxy_kind: Kind, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with mortal(toxiproxy_kind, tmp_path) as (server, c, _):
            port, safety = int(c.door.url.rpartition(":")[2]), RecordedSafety()
            injector = ToxiproxyInjector(edge_of(c.door.echo.address), RUN, c.door.url, safety)
            async with injector.paths() as via:
                addresses = dict(via)
                async with injector.inject(injector.plan(variant())) as injected:
                    server.close()
                    server.enter_context(server_at(toxiproxy_kind, port))
                    told = "; ".join(await injected.read_back())
                assert told.endswith("is gone")
                async with injector.inject(injector.plan(variant())) as injected:
                    assert await injected.read_back() == []
                    canary_s, control_s = [await trip_s(at) for at in addresses.values()]
                    assert canary_s >= DOSE_S > control_s
                assert all(safety.rests.values())
            assert c.door.names() == []
            assert (safety.armed, safety.failures, safety.faults_found) == ({}, [], [])
            assert injector.aftermath().others is None  # nothing of an operator's was there

    asyncio.run(scenario())


def test_a_bypassed_way_of_saying_the_same_address_is_no_edit(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:
            listen = c.door.listen.replace("127.0.0.1", "localhost")
            spelled = scenario_of("canary", Proxy(PROXY, c.door.echo.address, listen))
            injector = ToxiproxyInjector(spelled, RUN, toxiproxy_url, c.safety)
            async with injector.paths():  # without a preflight nobody knows the server's spelling
                async with injector.inject(injector.plan(variant())) as injected:
                    assert await injected.read_back() == []
            assert injector.aftermath().others is None

    asyncio.run(scenario())
