"""Servers that refuse, hang, lie, answer late or freeze, and runs that are cancelled meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from contextlib import AsyncExitStack

import pytest

from chaosbandit.errors import CleanupError, ToxiproxyError
from chaosbandit.faults import by_hand
from chaosbandit.toxiproxy import cut_and_reopen
from chaosbandit.toxiproxy.injector import CLEANUP_S, ToxiproxyInjector
from tests.fake_api import raw
from tests.servers import Kind
from tests.toxiproxy.doors import PROXY, free_port
from tests.toxiproxy.injecting import (
    DOSE_S,
    PASS,
    RUN,
    Canary,
    Line,
    canary,
    edge_of,
    latency,
    passing_on,
    server_at,
    silent_where,
    trip_s,
    variant,
    way,
)
from tests.toxiproxy.recorded_safety import RecordedSafety

SOFTENING = '{"latency": 0'


# --- cancelling -----------------------------------------------------------------------------------


@pytest.mark.parametrize("after_s", [0.0, 0.001, 0.003, 0.006, 0.01, 0.02, 0.05, 0.2])
@pytest.mark.parametrize("stands", [False, True])
def test_cancelling_at_any_moment_leaves_nothing(
    toxiproxy_url: str, after_s: float, stands: bool
) -> None:
    async def scenario() -> None:
        async with canary(toxiproxy_url) as c, Line(c.door.listen) as kept:
            assert await kept.trip_s() is not None

            async def run() -> None:
                async with c.injector.paths():
                    if stands:
                        await c.expose(latency(0.01))
                        ready.set()
                    async with c.inject():
                        await asyncio.sleep(60)

            ready = asyncio.Event()
            task = asyncio.create_task(run())
            if stands:
                await ready.wait()
            await asyncio.sleep(after_s)
            for _ in range(3):  # a second and a third one must not cut the removal short
                task.cancel()
                await asyncio.sleep(0.001)
            with pytest.raises(asyncio.CancelledError):
                await task
            c.assert_clean()
            assert await kept.trip_s() is not None

    asyncio.run(scenario())


SLOWED = {
    "look": ("GET", f"/proxies/{PROXY}"),
    "adding": ("POST", "latency"),
    "softening": ("POST", SOFTENING),
    "deleting": ("DELETE", "toxics"),
}


@pytest.mark.parametrize("call", SLOWED)
def test_cancelling_in_a_call_lets_it_end_and_leaves_nothing(toxiproxy_url: str, call: str) -> None:
    """The moments that sleeping a while may miss: each is held for 0.2 s, and cancelled in it."""
    method, part = SLOWED[call]

    async def scenario() -> None:
        async with way(toxiproxy_url) as (there, api), canary(toxiproxy_url, api=api) as c:
            reached = asyncio.Event()

            async def slowly(given: str, path: str, body: bytes) -> bytes | None:
                if given == method and part in f"{path} {body.decode()}":
                    reached.set()
                    await asyncio.sleep(0.2)
                return PASS

            async def run() -> None:
                async with c.injector.paths():
                    async with c.inject():
                        pass

            there.instead, there.shown_to = slowly, c.safety
            task = asyncio.create_task(run())
            await reached.wait()
            task.cancel()
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            c.assert_clean()

    asyncio.run(scenario())


def test_a_cancelled_injection_is_out_of_effect_before_its_paths_are_left(
    toxiproxy_url: str,
) -> None:
    """Whoever catches the cancelling inside of `paths` meets no dose any more."""

    async def scenario() -> None:
        async with way(toxiproxy_url) as (there, api), canary(toxiproxy_url, api=api) as c:
            adding = asyncio.Event()

            async def told(method: str, path: str, body: bytes) -> bytes | None:
                if method == "POST":
                    adding.set()
                    await asyncio.sleep(0.1)
                return PASS

            async def exposure() -> None:
                async with c.inject():
                    raise AssertionError("not reached")

            there.instead = told
            async with c.injector.paths():
                task = asyncio.create_task(exposure())
                await adding.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert list(c.toxics().values()) == [{"latency": 0, "jitter": 0}]
                assert await trip_s(c.door.listen) < DOSE_S
                assert set(c.safety.rests.values()) == {True}

    asyncio.run(scenario())


def test_cancelling_edge_while_its_paths_are_opened_leaves_nothing(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        safety = RecordedSafety()
        async with way(toxiproxy_url) as (there, api), canary(toxiproxy_url) as c:
            second = asyncio.Event()

            async def told(method: str, path: str, body: bytes) -> bytes | None:
                if method == "POST" and len(safety.armed) == 2:
                    second.set()
                    await asyncio.sleep(0.1)
                return PASS

            async def run() -> None:
                async with injector.paths():
                    raise AssertionError("not reached")

            there.instead = told
            injector = ToxiproxyInjector(edge_of(c.door.echo.address), RUN, api, safety)
            task = asyncio.create_task(run())
            await second.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (safety.armed, safety.faults_found) == ({}, [])

    asyncio.run(scenario())


def test_a_cleanup_error_outranks_cancelling(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with (
            way(toxiproxy_url) as (there, api),
            canary(toxiproxy_url, api=api, clean=False, cleanup_s=1.0, frozen_s=0.0) as c,
        ):
            inside = asyncio.Event()

            async def exposure() -> None:
                async with c.inject():
                    there.instead = silent_where("POST", "")
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


# --- hanging and frozen ---------------------------------------------------------------------------


def test_a_softening_that_hangs_is_a_cut_that_is_counted(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with way(toxiproxy_url) as (there, api), canary(toxiproxy_url, api=api) as c:
            async with AsyncExitStack() as stack, c.injector.paths():
                lines = [await stack.enter_async_context(Line(c.door.listen)) for _ in range(7)]
                for line in lines:
                    assert await line.trip_s() is not None
                async with c.inject():
                    there.instead = silent_where("POST", SOFTENING, times=2)
                    started_s = time.monotonic()
                took_s = time.monotonic() - started_s
                assert took_s < 4 * 0.5 + DOSE_S + 1.5  # of 0.5 s are: soften, again, and a margin
                assert [await line.trip_s() for line in lines] == [None] * 7
                assert await trip_s(c.door.listen) < DOSE_S
                assert c.injector.aftermath().connections_cut == 7
                (struck, late), *more = c.safety.struck
                assert (struck.proxy, more) == (PROXY, [])
                assert late is not None
                assert 55 < late.until_s - time.monotonic() <= 60.5
                assert c.injector.aftermath().watched == "watched"
                await c.expose()  # and the run may go on
                assert c.injector.aftermath().connections_cut == 7

    asyncio.run(scenario())


@pytest.mark.parametrize("times", [1, 10**9])
@pytest.mark.parametrize("stands", [False, True])
def test_adding_or_updating_that_hangs_is_undone(
    toxiproxy_url: str, times: int, stands: bool
) -> None:
    async def scenario() -> None:
        async with (
            way(toxiproxy_url) as (there, api),
            canary(toxiproxy_url, api=api, deadline_s=0.5) as c,
            c.injector.paths(),
        ):
            if stands:
                await c.expose()
            there.instead = silent_where("POST", '"latency": 200', times=times)
            with pytest.raises(ToxiproxyError, match="did not answer POST"):
                async with c.inject(latency(0.2)):
                    raise AssertionError("not reached")
            c.assert_clean()
            (_, late), *more = c.safety.struck
            assert late is not None
            assert not late.closes
            assert more == []

    asyncio.run(scenario())


@pytest.mark.parametrize("answered", [None, raw("500 Internal Server Error"), raw("503 Frozen")])
def test_what_took_effect_though_it_was_not_confirmed_is_undone(
    toxiproxy_url: str, answered: bytes | None
) -> None:
    async def scenario() -> None:
        async with (
            way(toxiproxy_url) as (there, api),
            canary(toxiproxy_url, api=api, deadline_s=0.5) as c,
            c.injector.paths(),
        ):

            async def done_unsaid(method: str, path: str, body: bytes) -> bytes | None:
                if method != "POST" or not path.endswith("/toxics"):
                    return PASS
                await passing_on(toxiproxy_url)(method, path, body)
                return answered

            there.instead = done_unsaid
            with pytest.raises(ToxiproxyError):
                async with c.inject():
                    raise AssertionError("not reached")
            c.assert_clean()

    asyncio.run(scenario())


@pytest.mark.parametrize("stands", [False, True])
def test_a_refusal_is_told_in_the_servers_words_and_undone(
    toxiproxy_url: str, stands: bool
) -> None:
    async def scenario() -> None:
        async with (
            way(toxiproxy_url) as (there, api),
            canary(toxiproxy_url, api=api) as c,
            c.injector.paths(),
        ):
            if stands:
                await c.expose()

            async def refuse(method: str, path: str, body: bytes) -> bytes | None:
                dose = b'"latency": 200' in body
                return raw("400 Bad Request", '{"error":"not today"}') if dose else PASS

            there.instead = refuse
            with pytest.raises(ToxiproxyError, match="answered 400 not today") as caught:
                async with c.inject(latency(0.2)):
                    raise AssertionError("not reached")
            assert caught.value.status == 400
            c.assert_clean()

    asyncio.run(scenario())


@pytest.mark.parametrize("stands", [False, True])
def test_a_server_that_drops_the_dose_is_caught_by_reading_back(
    toxiproxy_url: str, stands: bool
) -> None:
    async def scenario() -> None:
        async with (
            way(toxiproxy_url) as (there, api),
            canary(toxiproxy_url, api=api) as c,
            c.injector.paths(),
        ):
            if stands:
                await c.expose()

            async def drop(method: str, path: str, body: bytes) -> bytes | None:
                return raw("200 OK", body.decode()) if b'"latency": 200' in body else PASS

            there.instead = drop
            found = "latency downstream without effect" if stands else "no toxic"
            with pytest.raises(ToxiproxyError, match=f"was not injected: .*carries.*{found}"):
                async with c.inject(latency(0.2)):
                    raise AssertionError("not reached")
            c.assert_clean()

    asyncio.run(scenario())


LIES = {
    "softened": ("POST", SOFTENING, raw("200 OK", "{}")),
    "deleted": ("DELETE", "toxics", raw("204 No Content")),
    "empty 503": ("DELETE", "toxics", raw("503 Service Unavailable")),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_removal_that_only_seems_to_work_is_a_cleanup_error(toxiproxy_url: str, lie: str) -> None:
    method, part, answer = LIES[lie]

    async def scenario() -> None:
        async with (
            way(toxiproxy_url) as (there, api),
            canary(toxiproxy_url, api=api, clean=False, cleanup_s=1.5, frozen_s=0.0) as c,
        ):

            async def lying(given: str, path: str, body: bytes) -> bytes | None:
                told = given == method and part in f"{path} {body.decode()}"
                return answer if told else PASS

            with pytest.raises(CleanupError, match="could not confirm that cb") as caught:
                async with c.injector.paths(), c.inject() as injected:
                    assert await injected.read_back() == []
                    there.instead = lying
            await _assert_commands_work(c, caught.value, api)

    asyncio.run(scenario())


def test_a_dose_that_was_not_softened_as_said_is_taken_off_on_leaving(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with way(toxiproxy_url) as (there, api), canary(toxiproxy_url, api=api) as c:
            lies = 1

            async def lie_once(method: str, path: str, body: bytes) -> bytes | None:
                nonlocal lies
                lies -= SOFTENING in body.decode()
                return raw("200 OK", "{}") if lies == 0 and SOFTENING in body.decode() else PASS

            async with c.injector.paths():
                async with c.inject():
                    there.instead = lie_once
                assert await trip_s(c.door.listen) < DOSE_S
                assert c.toxics() == {}
                assert len(c.safety.struck) == 1

    asyncio.run(scenario())


async def _assert_commands_work(c: Canary, error: CleanupError, api: str) -> None:
    (fault, told), *more = c.safety.failures
    assert more == []
    assert error.exit_code == 7
    assert error.commands == told.commands == by_hand.commands(fault)
    assert c.safety.armed == {fault.name: fault}
    for command in error.commands:
        typed = command.replace(api, c.door.url)
        await asyncio.to_thread(subprocess.run, ["sh", "-c", typed], capture_output=True)
    assert c.door.is_normal()


@pytest.mark.parametrize("answer", [None, b"\x00\xff garbage\r\n\r\n"])
def test_where_the_toxic_cannot_be_deleted_the_proxy_is_made_anew_and_that_is_told(
    toxiproxy_url: str, answer: bytes | None
) -> None:
    async def scenario() -> None:
        async with (
            way(toxiproxy_url) as (there, api),
            canary(toxiproxy_url, api=api) as c,
            Line(c.door.listen) as kept,
        ):

            async def undeletable(method: str, path: str, body: bytes) -> bytes | None:
                return answer if method == "DELETE" and "/toxics/" in path else PASS

            there.instead = undeletable
            async with c.injector.paths():
                await c.expose()
                assert await kept.trip_s() is not None
                assert not c.injector.replaced
            assert await kept.trip_s() is None
            assert c.injector.aftermath().connections_cut == 1
            assert [*c.injector.replaced] == [PROXY]

    asyncio.run(scenario())


def test_a_hanging_server_is_told_in_one_sentence_and_in_time(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with (
            way(toxiproxy_url) as (there, api),
            canary(toxiproxy_url, api=api, clean=False, frozen_s=1.0) as c,
        ):
            started_s = 0.0
            with pytest.raises(CleanupError) as caught:
                async with c.injector.paths(), c.inject():
                    there.instead = _silent
                    started_s = time.monotonic()
            assert time.monotonic() - started_s < CLEANUP_S + 1.0 + 3.0
            sentence = str(caught.value).partition("\n")[0]
            assert sentence.count("hangs") == 1
            there.instead = None
            await _assert_commands_work(c, caught.value, api)

    asyncio.run(scenario())
    assert CLEANUP_S <= 6.0


async def _silent(method: str, path: str, body: bytes) -> bytes | None:
    return None


@pytest.mark.parametrize("topology", ["canary", "edge"])
def test_a_stopped_server_is_a_cleanup_error_in_time_with_commands_that_work(
    toxiproxy_kind: Kind, topology: str
) -> None:
    """SIGSTOP: the kernel takes connections and calls, nobody answers them."""

    async def scenario() -> None:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with server_at(toxiproxy_kind, port) as process:
            async with canary(url, clean=False, frozen_s=1.0, cleanup_s=2.0) as c:
                injector = c.injector
                if topology == "edge":
                    injector = ToxiproxyInjector(
                        edge_of(c.door.echo.address), RUN, url, c.safety,
                        frozen_s=1.0, cleanup_s=2.0,
                    )  # fmt: skip
                started_s = 0.0
                with pytest.raises(CleanupError, match="could not confirm that cb") as caught:
                    async with injector.paths(), injector.inject(injector.plan(variant())):
                        os.kill(process.pid, signal.SIGSTOP)
                        started_s = time.monotonic()
                assert time.monotonic() - started_s < 15.0
                assert len(c.safety.failures) == (1 if topology == "canary" else 3)
                assert caught.value.commands
                os.kill(process.pid, signal.SIGCONT)
                commands = {line for _, error in c.safety.failures for line in error.commands}
                for fault, error in c.safety.failures:
                    assert error.commands == by_hand.commands(fault)
                    assert set(error.commands) <= commands
                    for line in error.commands:
                        done = ["sh", "-c", line]
                        await asyncio.to_thread(subprocess.run, done, capture_output=True)
                assert c.door.is_normal()

    asyncio.run(scenario())


def test_a_frozen_proxy_of_somebody_else_does_not_hinder_an_injection(toxiproxy_url: str) -> None:
    async def no_list(method: str, path: str, body: bytes) -> bytes | None:
        return None if (method, path) == ("GET", "/proxies") else PASS

    async def scenario() -> None:
        async with way(toxiproxy_url) as (there, api), canary(toxiproxy_url, api=api) as c:
            there.instead = no_list
            async with c.injector.paths():
                await c.expose()

    asyncio.run(scenario())


def test_each_call_of_a_removal_has_half_a_second(toxiproxy_url: str) -> None:
    """A server that takes 0.4 s for each is waited for, and no connection is cut."""

    async def slow(method: str, path: str, body: bytes) -> bytes | None:
        await asyncio.sleep(0.4)
        return PASS

    async def scenario() -> None:
        async with (
            way(toxiproxy_url) as (there, api),
            canary(toxiproxy_url, api=api) as c,
            Line(c.door.listen) as kept,
        ):
            async with c.injector.paths():
                async with c.inject():
                    assert await kept.trip_s() is not None
                    there.instead = slow
            assert await kept.trip_s() is not None
            assert c.injector.aftermath().connections_cut == 0
            assert [late for _, late in c.safety.struck] == [None]

    asyncio.run(scenario())


def test_failing_to_remove_one_thing_does_not_keep_the_others(toxiproxy_url: str) -> None:
    """In `edge` the control's path goes though the canary's cannot be deleted."""

    async def scenario() -> None:
        async with way(toxiproxy_url) as (there, api), canary(toxiproxy_url) as c:
            injector = ToxiproxyInjector(
                edge_of(c.door.echo.address), RUN, api, c.safety, cleanup_s=1.0, frozen_s=0.0
            )
            with pytest.raises(CleanupError, match="a proxy of this run, is gone"):
                async with injector.paths():
                    canarys, controls = c.safety.armed
                    there.instead = silent_where("DELETE", canarys)
            assert [fault.name for fault, _ in c.safety.struck] == [controls]
            assert [fault.name for fault, _ in c.safety.failures] == [canarys]
            assert sorted(c.door.names()) == sorted([canarys, PROXY])
            c.door.call("DELETE", f"/proxies/{canarys}")
            c.safety.armed.clear()

    asyncio.run(scenario())


def test_a_frozen_server_is_waited_for_once_and_not_for_each_fault(
    toxiproxy_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In `edge` there are three: the toxic and two paths."""
    monkeypatch.setattr(cut_and_reopen, "FROZEN_LOOK_S", 0.5)

    async def scenario() -> None:
        async with way(toxiproxy_url) as (there, api), canary(toxiproxy_url, clean=False) as c:
            injector = ToxiproxyInjector(
                edge_of(c.door.echo.address), RUN, api, c.safety, cleanup_s=0.5, frozen_s=4.0
            )
            with pytest.raises(CleanupError):
                async with injector.paths(), injector.inject(injector.plan(variant())):
                    there.instead = _silent
                    started_s = time.monotonic()
            assert 4.0 < time.monotonic() - started_s < 11.0
            assert len(c.safety.failures) == 3

    asyncio.run(scenario())
