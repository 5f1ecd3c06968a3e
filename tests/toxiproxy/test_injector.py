"""Injection on the operator's proxy, on both servers: on, updated, softened, off, in this order."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from chaosbandit.core.ladder import Ladder
from chaosbandit.core.scenario import Proxy
from chaosbandit.errors import HarnessError, ToxiproxyError
from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.faults.names import parse
from chaosbandit.ports import Injector
from chaosbandit.toxiproxy.injector import ToxiproxyInjector
from tests.toxiproxy.doors import PROXY, Door, door
from tests.toxiproxy.injecting import (
    DOSE_S,
    RUN,
    Canary,
    Line,
    canary,
    edge_of,
    latency,
    scenario_of,
    trip_s,
    variant,
    way,
)
from tests.toxiproxy.recorded_safety import RecordedSafety

BARE = {"latency": 0, "jitter": 0}


# --- on and off -----------------------------------------------------------------------------------


def test_the_dose_is_in_effect_while_injected_and_gone_after_it(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c, Line(c.door.listen) as kept:
            before = c.door.show()
            injector: Injector = c.injector
            async with injector.paths() as via:
                assert via == {}
                fault = c.plan()
                async with injector.inject(fault) as injected:
                    for address in (await trip_s(c.door.listen), await kept.trip_s()):
                        assert address is not None
                        assert address >= DOSE_S
                    assert await injected.read_back() == []
                    assert c.toxics() == {fault.name: {"latency": 300, "jitter": 0}}
                assert await trip_s(c.door.listen) < DOSE_S
                assert await kept.trip_s() is not None
                assert c.toxics() == {fault.name: BARE}  # it stands softened
                await injector.take_off()
                assert c.door.show() == before
                assert c.safety.armed == {}
            assert c.door.show() == before
            assert injector.aftermath().connections_cut == 0
            assert injector.aftermath().others is None
            assert injector.aftermath().watched is None

    asyncio.run(scenario())


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_forty_exposures_cut_no_connection_and_spoil_no_byte(
    toxiproxy_url: str, stream: str
) -> None:
    """Busy and idle ones of a service's pool: milder, harsher, with jitter, off and on again."""

    async def scenario() -> None:
        async with canary(toxiproxy_url) as c, c.injector.paths():
            busy = [Line(c.door.listen) for _ in range(12)]
            idle = [Line(c.door.listen) for _ in range(8)]
            for line in (*busy, *idle):
                await line.__aenter__()
                assert await line.trip_s() is not None
            stop = asyncio.Event()
            going = [asyncio.ensure_future(line.go_on(stop, 0.005)) for line in busy]
            before, names = c.door.show(), set()
            for n in range(40):
                dose = latency(0.002 * (n % 7 + 1), 0.001 * (n % 3), stream=stream)
                async with c.inject(dose) as injected:
                    await asyncio.gather(*(line.next_trip() for line in busy))
                    assert await injected.read_back() == []
                names |= set(c.toxics())
                if n % 8 == 7:
                    await c.injector.take_off()
                    assert c.door.show() == before
            stop.set()
            await asyncio.gather(*going)
            for line in idle:
                assert await line.trip_s() is not None
            assert len(names) == 5  # an escalation is an update of the same toxic
            assert c.door.echo.met == len(busy) + len(idle)
            assert c.door.echo.left == 0
            assert sum(line.trips for line in busy) > 200
            assert [line.wrong for line in (*busy, *idle)] == [0] * 20
            assert c.injector.aftermath().connections_cut == 0
            for line in (*busy, *idle):
                await line.__aexit__()

    asyncio.run(scenario())


def test_an_escalation_is_an_update_of_the_toxic_that_stands(toxiproxy_url: str) -> None:
    """Also a milder variant, and one with another jitter; all toxics of the fault."""

    async def scenario() -> None:
        async with canary(toxiproxy_url) as c, c.injector.paths():
            first = await c.expose(latency(0.1), latency(0.02, stream="upstream"))
            for up_s, down_s, jitter_s in ((0.2, 0.05, 0.0), (0.05, 0.1, 0.0), (0.05, 0.1, 0.01)):
                doses = latency(down_s, jitter_s), latency(up_s, stream="upstream")
                fault = c.plan(*doses)
                assert replace(fault, toxics=()) == replace(first, toxics=())
                assert fault.toxic_names == first.toxic_names
                async with c.injector.inject(fault):
                    assert c.toxics() == {
                        toxic.name: dict(toxic.attributes) for toxic in fault.toxics
                    }
                    assert await trip_s(c.door.listen) >= up_s + down_s - jitter_s
                assert set(c.toxics()) == first.toxic_names
                assert list(c.toxics().values()) == [BARE, BARE]
            assert [entry for entry in c.safety.log if "struck" in entry] == []
        assert [fault for fault, _ in c.safety.struck] == [replace(fault, toxics=fault.toxics)]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "other",
    [
        variant(latency(0.1, stream="upstream")),
        variant(latency(0.1), latency(0.1)),
        variant(Toxic("slicer", {"average_size": 64, "size_variation": 3, "delay": 10})),
        variant(latency(0.1, toxicity=0.5)),
    ],
    ids=["stream", "one more", "type", "toxicity"],
)
def test_what_is_no_update_takes_off_what_stands_first(toxiproxy_url: str, other: object) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c, c.injector.paths():
            first = await c.expose()
            fault = c.injector.plan(other)  # type: ignore[arg-type]
            assert not fault.toxic_names & first.toxic_names
            async with c.injector.inject(fault) as injected:
                assert set(c.toxics()) == fault.toxic_names
                assert await injected.read_back() == []
            names = [first.name, fault.name]
            assert c.safety.log == [f"armed {names[0]}", f"struck {names[0]}", f"armed {names[1]}"]

    asyncio.run(scenario())


def test_a_ladder_on_another_proxy_takes_off_what_stands_on_the_first(toxiproxy_url: str) -> None:
    async def both() -> None:
        with door(toxiproxy_url) as one:
            listen = one.call("POST", "/proxies", {
                "name": "prices", "listen": "127.0.0.1:0", "upstream": one.echo.address
            })["listen"]  # fmt: skip
            places = {PROXY: one.listen, "prices": listen}
            proxies = (Proxy(name, one.echo.address, place) for name, place in places.items())
            safety = RecordedSafety()
            scenario = scenario_of("canary", *proxies)
            assert isinstance(scenario.ladders[1], Ladder)
            injector = ToxiproxyInjector(scenario, RUN, toxiproxy_url, safety)
            await injector.preflight()
            before = {name: one.show(name) for name in places}
            async with injector.paths():
                for sick in ("prices", PROXY, "prices"):
                    fault = injector.plan(variant(proxy=sick))
                    assert (fault.proxy, fault.listen) == (sick, places[sick])
                    async with injector.inject(fault):
                        for name, place in places.items():
                            assert (await trip_s(place) >= DOSE_S) == (name == sick)
                            assert bool(one.show(name)["toxics"]) == (name == sick)
            assert {name: one.show(name) for name in places} == before
            assert (safety.armed, safety.faults_found) == ({}, [])

    asyncio.run(both())


TOXICS = (
    Toxic("latency", {"latency": 20, "jitter": 5}, "upstream", 0.123456789),
    Toxic("bandwidth", {"rate": 100}, "downstream", 0.1),
    Toxic("limit_data", {"bytes": 0}, "upstream", 0.3),
    Toxic("slicer", {"average_size": 64, "size_variation": 3, "delay": 10}),
    Toxic("slow_close", {"delay": 7}, "upstream"),
    Toxic("timeout", {"timeout": 0}),
    Toxic("reset_peer", {"timeout": 10}),
)


@pytest.mark.parametrize("toxic", TOXICS, ids=lambda toxic: toxic.type)
def test_every_toxic_reads_back_and_comes_off_again(toxiproxy_url: str, toxic: Toxic) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:
            async with c.injector.paths():
                async with c.inject(toxic) as injected:
                    assert await injected.read_back() == []
                    assert len(c.toxics()) == 1
                softens = toxic.type in ("latency", "slicer")
                assert len(c.toxics()) == softens
                assert len(c.safety.armed) == softens

    asyncio.run(scenario())


# --- expiry ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("later_s", "is_update"),
    [(0.0, True), (78.4, True), (78.6, False), (500.0, False)],
)
def test_a_toxic_whose_name_would_end_in_an_exposure_is_replaced(
    toxiproxy_url: str, later_s: float, is_update: bool
) -> None:
    """An exposure may last 30 s, a request in it 1 s, its removal 10 s; the name lasts 120 s."""

    async def scenario() -> None:
        now_s = 1000.5
        async with canary(toxiproxy_url, epoch_s=lambda: now_s) as c, c.injector.paths():
            first = await c.expose()
            assert first.expires_epoch_s == 1120  # now + 2 * 30 s + 60 s
            parsed = parse(first.name)
            assert parsed is not None
            assert (parsed.run, parsed.expires_epoch_s) == (RUN, 1120)
            now_s += later_s
            fault = await c.expose(latency(0.2))
            assert (fault.name == first.name) == is_update
            assert list(c.toxics().items()) == [(fault.name, BARE)]
            if not is_update:
                assert fault.expires_epoch_s == int(now_s) + 120
                assert [struck for struck, _ in c.safety.struck] == [first]

    asyncio.run(scenario())


def test_an_expired_toxic_that_others_cleaned_up_is_no_hindrance(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        now_s = 1000.0
        async with canary(toxiproxy_url, epoch_s=lambda: now_s) as c, c.injector.paths():
            first = await c.expose()
            now_s += 121
            c.door.call("DELETE", f"/proxies/{PROXY}/toxics/{first.name}")
            assert (await c.expose()).name != first.name

    asyncio.run(scenario())


# --- order ----------------------------------------------------------------------------------------


def test_armed_before_any_call_struck_after_all_and_never_at_rest_in_one(
    toxiproxy_url: str,
) -> None:
    async def scenario() -> None:
        async with way(toxiproxy_url) as (there, api), canary(toxiproxy_url, api=api) as c:
            there.shown_to = c.safety
            async with c.injector.paths():
                fault = await c.expose()
                assert c.safety.rests[fault.name]
                again = c.plan(latency(0.2))
                async with c.injector.inject(again):
                    assert c.safety.rests[fault.name]
                    assert c.safety.armed[fault.name] == again
                other = await c.expose(latency(0.1, stream="upstream"))
            proxy, name = f"/proxies/{PROXY}", fault.name
            toxics = f"{proxy}/toxics"
            assert _without_looks(c.safety.log) == [
                *(f"armed {name}", f"POST {toxics}", f"POST {toxics}/{name}"),
                *(f"armed {name}", f"POST {toxics}/{name}", f"POST {toxics}/{name}"),
                *(f"POST {toxics}/{name}", f"DELETE {toxics}/{name}", f"struck {name}"),
                *(f"armed {other.name}", f"POST {toxics}", f"POST {toxics}/{other.name}"),
                *(f"POST {toxics}/{other.name}", f"DELETE {toxics}/{other.name}"),
                f"struck {other.name}",
            ]
            verified = c.safety.log[: c.safety.log.index(f"struck {name}")]
            assert verified[verified.index(f"DELETE {toxics}/{name}") :].count(f"GET {proxy}") == 1

    asyncio.run(scenario())


def _without_looks(log: list[str]) -> list[str]:
    return [entry for entry in log if not entry.startswith("GET")]


def test_what_cannot_be_guarded_is_not_injected(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with way(toxiproxy_url) as (there, api), canary(toxiproxy_url, api=api) as c:
            async with c.injector.paths():
                await c.expose()
                there.seen.clear()
                c.safety.refuses = HarnessError("no watchdog")
                with pytest.raises(HarnessError, match="no watchdog"):
                    async with c.inject(latency(0.2)):
                        raise AssertionError("not reached")
                assert {method for method, _ in there.seen} == {"GET"}
                assert list(c.toxics().values()) == [BARE]

    asyncio.run(scenario())


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "toxic",
    [
        Toxic("slicer", {"average_size": 0}),
        Toxic("bandwidth", {"rate": -1}),
        Toxic("latency", {"latencyy": 5}),
        Toxic("latency", {"latency": 5}, toxicity=7.0),
        Toxic("nonsense", {}),
    ],
)
def test_what_could_crash_a_server_is_refused_before_anything_is_sent(
    toxiproxy_url: str, toxic: Toxic
) -> None:
    async def scenario() -> None:
        async with way(toxiproxy_url) as (there, api), canary(toxiproxy_url, api=api) as c:
            async with c.injector.paths():
                await c.expose()
                log = list(c.safety.log)
                there.seen.clear()
                with pytest.raises(ToxiproxyError, match="was not injected: found"):
                    async with c.inject(toxic):
                        raise AssertionError("not reached")
                assert there.seen == []
                assert c.safety.log == log

    asyncio.run(scenario())


def close(path: Door) -> None:
    path.call("POST", f"/proxies/{PROXY}", {"enabled": False})


def delete(path: Door) -> None:
    path.call("DELETE", f"/proxies/{PROXY}")


def add_theirs(path: Door) -> None:
    path.add("theirs", "latency", {"latency": 1})


def add_another_runs(path: Door) -> None:
    path.add("cb.run00002.4000000000.1", "latency", {"latency": 1})


def lead_elsewhere(path: Door) -> None:
    path.call("POST", f"/proxies/{PROXY}", {"upstream": "127.0.0.1:1"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (close, "inventory is disabled; enable it"),
        (delete, "there is no proxy inventory; create it"),
        (add_theirs, "toxics that are not ours: theirs"),
        (add_another_runs, r"toxics that are not ours: cb\.run00002\.4000000000\.1"),
        (lead_elsewhere, "leading to 127.0.0.1:1, wanted"),
    ],
)
@pytest.mark.parametrize("stands", [False, True])
def test_a_path_that_others_changed_gets_nothing(
    toxiproxy_url: str, change: object, words: str, stands: bool
) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url, clean=False) as c, c.injector.paths():
            if stands:
                await c.expose()
            change(c.door)  # type: ignore[operator]
            theirs, log = c.door.show(), list(c.safety.log)
            with pytest.raises(ToxiproxyError, match=f"was not injected: .*{words}"):
                async with c.inject():
                    raise AssertionError("not reached")
            assert c.door.show() == theirs
            assert c.safety.log == log
        assert (c.safety.armed, c.safety.faults_found) == ({}, [])

    asyncio.run(scenario())


def test_a_refused_injection_leaves_the_operators_proxy_alone(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c, c.injector.paths(), Line(c.door.listen) as kept:
            await kept.trip_s()
            fault = c.plan(latency(), latency())
            twice = replace(fault, toxics=(fault.toxics[0], fault.toxics[0]))
            with pytest.raises(ToxiproxyError, match="toxic already exists"):
                async with c.injector.inject(twice):
                    raise AssertionError("not reached")
            assert await kept.trip_s() is not None

    asyncio.run(scenario())


def test_an_exception_in_the_block_ends_the_effect(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:
            with pytest.raises(KeyError, match="mine"):
                async with c.injector.paths():
                    with pytest.raises(KeyError, match="mine"):
                        async with c.inject():
                            raise KeyError("mine")
                    assert list(c.toxics().values()) == [BARE]
                    raise KeyError("mine")

    asyncio.run(scenario())


def test_two_faults_at_a_time_are_a_bug(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c, c.injector.paths():
            async with c.inject():
                with pytest.raises(AssertionError, match="one fault at a time"):
                    async with c.inject():
                        raise AssertionError("not reached")
                assert await trip_s(c.door.listen) >= DOSE_S

    asyncio.run(scenario())


# --- plan and preflight ---------------------------------------------------------------------------


def test_plan_says_all_that_is_to_be_written_down() -> None:
    scenario = scenario_of(
        "canary",
        Proxy(PROXY, "127.0.0.1:9", "127.0.0.1:10", "http://127.0.0.1:10/", ("/bin/true",)),
    )
    url, now_s = "http://127.0.0.1:8474", 4_000_000_000.0
    injector = ToxiproxyInjector(
        scenario, RUN, url, RecordedSafety(), dies_with_run=True, epoch_s=lambda: now_s
    )
    name = f"cb.{RUN}.4000000120"
    doses = latency(), latency(stream="upstream")
    assert injector.plan(variant(*doses)) == Fault(
        run=RUN,
        server=url,
        name=f"{name}.1",
        proxy=PROXY,
        listen="127.0.0.1:10",
        upstream="127.0.0.1:9",
        expires_epoch_s=4_000_000_120,
        toxics=(replace(doses[0], name=f"{name}.1"), replace(doses[1], name=f"{name}.2")),
        owned=False,
        check="http://127.0.0.1:10/",
        bypass=("/bin/true",),
        dies_with_run=True,
    )
    assert injector.plan(variant()).name == f"{name}.3"


def test_preflight_returns_the_servers_version(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:
            assert await c.injector.preflight() == c.door.call("GET", "/version")["version"]

    asyncio.run(scenario())


def test_preflight_compares_addresses_not_texts(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:
            upstream, listen = (
                address.replace("127.0.0.1", "localhost")
                for address in (c.door.echo.address, c.door.listen)
            )
            spelled = scenario_of("canary", Proxy(PROXY, upstream, listen))
            injector = ToxiproxyInjector(spelled, RUN, toxiproxy_url, c.safety)
            await injector.preflight()
            fault = injector.plan(variant())
            assert (fault.listen, fault.upstream) == (c.door.listen, c.door.echo.address)
            async with injector.paths(), injector.inject(fault):
                assert await trip_s(c.door.listen) >= DOSE_S

    asyncio.run(scenario())


def test_preflight_names_all_that_is_wrong(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c:
            right = c.scenario.proxies[0]
            wrong = (replace(right, name="nobody"), replace(right, listen="127.0.0.1:1"))
            injector = ToxiproxyInjector(
                replace(c.scenario, proxies=wrong), RUN, toxiproxy_url, c.safety
            )
            with pytest.raises(ToxiproxyError, match="is not ready") as caught:
                await injector.preflight()
            for words in (toxiproxy_url, "there is no proxy nobody", "wanted 127.0.0.1:1"):
                assert words in str(caught.value)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("run", "expires", "words"),
    [
        ("run00002", 2_000, "run run00002 has .* for at most 1000 s more"),
        ("run00002", 999, "left over .* run `chaosbandit clean --expired`"),
        (RUN, 2_000, "left over .* run `chaosbandit clean` first"),
    ],
)
@pytest.mark.parametrize("kind", ["toxic", "stand-in"])
def test_what_another_run_has_on_the_path_refuses_this_one(
    toxiproxy_url: str, run: str, expires: int, words: str, kind: str
) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url, clean=False, epoch_s=lambda: 1000.0) as c:
            name = f"cb.{run}.{expires}.3"
            if kind == "toxic":
                c.door.add(name, "latency", {"latency": 0})
            else:
                name = f"cb-standin.{run}.{expires}.{PROXY}"
                clean = {"name": name, "listen": c.door.listen, "upstream": c.door.echo.address}
                close(c.door)
                c.door.call("POST", "/proxies", clean)
            with pytest.raises(ToxiproxyError, match=words) as caught:
                await c.injector.preflight()
            assert name in str(caught.value)

    asyncio.run(scenario())


def test_another_runs_path_beside_the_operators_does_not_matter(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url, clean=False) as c:
            place = {"listen": "127.0.0.1:0", "upstream": c.door.echo.address}
            c.door.call("POST", "/proxies", {"name": "cb-path.run00002.4000000000.3", **place})
            c.door.call("POST", "/proxies", {"name": "somebody", **place})
            assert await c.injector.preflight()
            close(c.door)
            with pytest.raises(ToxiproxyError, match="inventory is disabled; enable it"):
                await c.injector.preflight()

    asyncio.run(scenario())


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "127.0.0.1:8474", "http://"])
def test_a_url_that_cannot_work_is_refused(url: str) -> None:
    with pytest.raises(ToxiproxyError, match="is not http://host:port"):
        ToxiproxyInjector(edge_of("127.0.0.1:9"), RUN, url, RecordedSafety())


def test_a_canary_is_what_these_tests_think(toxiproxy_url: str) -> None:
    """The rig itself notices what it is there to notice."""

    async def scenario() -> None:
        async with canary(toxiproxy_url, clean=False) as c:
            assert isinstance(c, Canary)
            c.assert_clean()
            c.safety.see("POST", f"/proxies/{PROXY}/toxics", "")
            add_theirs(c.door)
            assert len(c.safety.faults_found) == 1
            with pytest.raises(AssertionError):
                c.assert_clean()

    asyncio.run(scenario())
