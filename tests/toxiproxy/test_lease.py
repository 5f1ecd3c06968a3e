"""Leases at both servers: one holder at a time, and nothing left of any, however it ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from chaosbandit.errors import HarnessError, TargetError, ToxiproxyError
from chaosbandit.faults.fault import Fault
from chaosbandit.faults.names import HONOURED_S, SWEEPER, Kind, is_lease, owner, parse
from chaosbandit.faults.names import written as name_of
from chaosbandit.safety.guard import RunGuard
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.toxiproxy.calls import Calls, UnansweredError
from chaosbandit.toxiproxy.lease import NOWHERE, Claim, Lease
from tests.fake_api import fake_api, raw
from tests.safety.watched_path import WatchedPath, free_port, watched_path
from tests.servers import Kind as ServerKind
from tests.servers import real_server_path
from tests.toxiproxy.doors import relay
from tests.waiting import stays, until, wait_for

TARGET = "127.0.0.1:9200"


@pytest.fixture
def path(toxiproxy_url: str) -> Iterator[WatchedPath]:
    with watched_path(toxiproxy_url) as path:
        yield path


@pytest.fixture
def ledger(tmp_path: Path) -> FaultLedger:
    return FaultLedger(tmp_path / "faults")


@pytest.fixture
def elsewhere(tmp_path: Path) -> FaultLedger:
    """The ledger of another host, whose runs see none of our files."""
    return FaultLedger(tmp_path / "elsewhere")


def claim_on(path: WatchedPath, target: str = TARGET) -> Claim:
    return Claim(path.url, target, path.listen, int(time.time()) + 600)


def leases(path: WatchedPath) -> list[str]:
    return [name for name in path.names() if is_lease(name)]


def holders(path: WatchedPath) -> set[str | None]:
    return {owner(name) for name in leases(path)}


def written(ledger: FaultLedger) -> list[str]:
    return [entry.fault.name for entry in ledger.entries().entries]


def put(path: WatchedPath, run: str, expires_in_s: float, target: str = TARGET) -> str:
    """A lease on the server that nobody of this host knows of."""
    name = name_of(Kind.LEASE, run, int(time.time() + expires_in_s))
    claim = f"{target} {path.listen}"
    body = {"name": name, "listen": NOWHERE, "upstream": claim, "enabled": False}
    assert path.call("POST", "/proxies", body) == 201
    return name


class Owner:
    """Writes down what it is told, and checks that the server agrees."""

    def __init__(self, path: WatchedPath, run: str, claim: Claim) -> None:
        self.path = path
        self.open: list[str] = []
        self.resting: list[str] = []
        self.lease = Lease(
            run,
            claim,
            write=self._write,
            rests=lambda fault: self.resting.append(fault.name),
            strike=self._strike,
            duration_s=30.0,
        )

    def _write(self, fault: Fault) -> None:
        assert fault.name not in self.path.names()
        assert (fault.toxics, fault.owned, fault.proxy) == ((), True, fault.name)
        self.open.append(fault.name)

    def _strike(self, fault: Fault) -> None:
        assert fault.name not in self.path.names()
        self.open.remove(fault.name)


# --- one holder -----------------------------------------------------------------------------------


def test_lease_says_who_and_until_when_and_hurts_nobody(path: WatchedPath) -> None:
    mine = Owner(path, "run001", claim_on(path))
    mine.lease.claim()
    (name,) = leases(path)
    assert mine.open == mine.resting == [name]
    parsed = parse(name)
    assert parsed is not None
    assert parsed.run == "run001"
    assert 0 < parsed.expires_epoch_s - time.time() <= 31
    shown = path.show(name)
    assert (shown["listen"], shown["upstream"]) == (NOWHERE, f"{TARGET} {path.listen}")
    assert shown["enabled"] is False
    assert path.echo_s() is not None
    assert mine.lease.lost() is None
    mine.lease.release()
    assert (leases(path), mine.open) == ([], [])
    assert mine.lease.lost() is not None


@pytest.mark.parametrize(("first", "second"), [("run001", "run002"), ("run002", "run001")])
def test_second_run_is_refused_and_told_by_whom(path: WatchedPath, first: str, second: str) -> None:
    holder = Owner(path, first, claim_on(path))
    late = Owner(path, second, claim_on(path))
    holder.lease.claim()
    with pytest.raises(TargetError) as refusal:
        late.lease.claim()
    text = str(refusal.value)
    assert text.startswith(f"run {first} holds a lease on the target {TARGET} at {path.url} until ")
    assert f"`chaosbandit clean --run {first} --toxiproxy {path.url}`" in text
    assert (holders(path), late.open) == ({first}, [])
    holder.lease.release()
    again = Owner(path, second, claim_on(path))
    again.lease.claim()
    assert holders(path) == {second}
    again.lease.release()


@pytest.mark.parametrize(
    ("target", "listen", "refused"),
    [
        ("LOCALHOST:9200", None, True),
        ("[::1]:9200", "127.0.0.1:1", True),
        ("127.0.0.1:9201", "localhost", True),  # with the operator's port
        ("127.0.0.1:9201", "127.0.0.1:1", False),
        ("127.0.0.1:9201", NOWHERE, False),
        ("127.0.0.1:9201", None, False),
    ],
)
def test_what_two_runs_cannot_both_have(
    path: WatchedPath, target: str, listen: str | None, refused: bool
) -> None:
    if listen == "localhost":
        listen = f"localhost:{path.listen.rpartition(':')[2]}"
    holder = Owner(path, "run002", claim_on(path))
    other = Owner(path, "run001", replace(claim_on(path, target), listen=listen))
    holder.lease.claim()
    try:
        other.lease.claim()
    except TargetError:
        assert refused
    else:
        assert not refused
    other.lease.release()
    holder.lease.release()
    assert leases(path) == []


def test_sweeper_is_in_nobodys_way(path: WatchedPath) -> None:
    sweeper = Owner(path, SWEEPER, Claim(path.url, SWEEPER, None, 0))
    mine = Owner(path, "run001", claim_on(path))
    sweeper.lease.claim()
    mine.lease.claim()
    assert holders(path) == {SWEEPER, "run001"}
    mine.lease.release()
    sweeper.lease.release()


def test_expired_leases_block_nobody_and_are_deleted_in_the_end(path: WatchedPath) -> None:
    put(path, "longgone", -10)
    just_expired = put(path, "justnow", -1)
    mine = Owner(path, "run001", claim_on(path))
    mine.lease.claim()
    assert holders(path) == {"run001", "justnow"}
    mine.lease.release()
    assert leases(path) == [just_expired]


@pytest.mark.parametrize(("beyond_s", "honoured"), [(-20, True), (60, False)])
def test_lease_for_more_time_than_runs_take_is_nobodys(
    path: WatchedPath, beyond_s: float, honoured: bool
) -> None:
    theirs = put(path, "aaaaaa", HONOURED_S + beyond_s)
    mine = Owner(path, "run001", claim_on(path))
    try:
        mine.lease.claim()
    except TargetError:
        assert honoured
    else:
        assert not honoured
    mine.lease.release()
    assert leases(path) == [theirs]


def test_run_in_the_middle_yields_at_once(path: WatchedPath) -> None:
    """While it waited, the first of three would see it and give up in the end: none had it."""
    for rival in ("run001", "run003"):
        put(path, rival, 30)
    with relay(path.url, lambda _: False, 0.0) as logged:
        mine = Owner(path, "run002", replace(claim_on(path), server=logged.url))
        with pytest.raises(TargetError, match="run run001 holds a lease"):
            mine.lease.claim()
    assert logged.requests.count("GET /proxies") == 1
    assert holders(path) == {"run001", "run003"}


def test_of_many_that_start_at_once_exactly_one_has_it(path: WatchedPath) -> None:
    owners = [Owner(path, f"run{n:03}", claim_on(path)) for n in range(20)]
    together = threading.Barrier(len(owners))
    have_it: list[Owner] = []

    def start(mine: Owner) -> None:
        together.wait()
        with contextlib.suppress(TargetError):
            mine.lease.claim()
            have_it.append(mine)

    threads = [threading.Thread(target=start, args=(mine,)) for mine in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(have_it) == 1
    assert holders(path) == {"run" + have_it[0].open[0].split(".")[1][3:]}
    have_it[0].lease.release()
    for mine in owners:
        mine.lease.release()
        assert mine.open == []
    assert leases(path) == []


# --- renewal --------------------------------------------------------------------------------------


def test_renewal_makes_the_new_one_before_the_old_one_goes(path: WatchedPath) -> None:
    mine = Owner(path, "run001", claim_on(path))
    mine.lease.claim()
    names, absent, over = {leases(path)[0]}, 0, threading.Event()

    def look() -> None:
        nonlocal absent
        while not over.is_set():
            shown = leases(path)
            names.update(shown)
            absent += not shown

    looking = threading.Thread(target=look)
    looking.start()
    for _ in range(30):
        mine.lease.renew()
        assert len(mine.open) == 1
    over.set()
    looking.join()
    assert absent == 0
    assert len(names) > 1
    mine.lease.release()
    assert (leases(path), mine.open) == ([], [])


def test_renewal_by_the_holder_does_not_yield_to_a_newcomer(path: WatchedPath) -> None:
    mine = Owner(path, "run002", claim_on(path))
    mine.lease.claim()
    put(path, "run001", 30)  # it looks round now, and will see us
    mine.lease.renew()
    assert mine.lease.lost() is None
    mine.lease.release()


@pytest.mark.parametrize("rival", ["run001", "run003"])
def test_lease_that_another_run_got_in_between_is_lost_for_good(
    path: WatchedPath, rival: str
) -> None:
    mine = Owner(path, "run002", claim_on(path))
    mine.lease.claim()
    assert path.call("DELETE", f"/proxies/{leases(path)[0]}") == 204
    theirs = put(path, rival, 30)
    with pytest.raises(TargetError, match=f"run {rival} holds a lease"):
        mine.lease.confirm()
    assert f"run {rival} holds a lease" in str(mine.lease.lost())
    assert (leases(path), mine.open) == ([theirs], [])
    assert path.call("DELETE", f"/proxies/{theirs}") == 204
    with pytest.raises(TargetError, match=f"run {rival} holds a lease"):
        mine.lease.confirm()
    mine.lease.release()
    assert leases(path) == []


def test_lease_that_vanished_is_had_again(path: WatchedPath) -> None:
    mine = Owner(path, "run001", claim_on(path))
    mine.lease.claim()
    assert path.call("DELETE", f"/proxies/{leases(path)[0]}") == 204
    mine.lease.confirm()
    assert mine.open == leases(path)
    assert len(mine.open) == 1
    mine.lease.release()


def _answers(calls: Calls) -> bool:
    with contextlib.suppress(UnansweredError):
        return calls.call("GET", "/version").status == 200
    return False


@contextlib.contextmanager
def server_on(kind: ServerKind, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server on a given port, as one that is restarted."""
    real = [str(real_server_path()), "-host", "127.0.0.1", "-port", str(port)]
    ours = [sys.executable, "-m", "chaosbandit.toxiproxy.server", "--port", str(port)]
    process = subprocess.Popen(
        real if kind == "real" else ours,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    calls = Calls(f"http://127.0.0.1:{port}")
    try:
        wait_for(lambda: _answers(calls))
        yield process
    finally:
        calls.close()
        process.kill()
        process.wait()


def test_restarted_server_gets_the_lease_again(
    toxiproxy_kind: ServerKind, ledger: FaultLedger
) -> None:
    port = free_port()
    path = WatchedPath(f"http://127.0.0.1:{port}", f"127.0.0.1:{free_port()}", "127.0.0.1:1")

    async def run() -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(server_on(toxiproxy_kind, port))
            guarded = RunGuard("run001", ledger, claim=claim_on(path), lease_s=20.0, renew_s=0.5)
            async with guarded as guard:
                assert holders(path) == {"run001"}
                await asyncio.to_thread(stack.close)
                assert await asyncio.to_thread(stays, lambda: guard.lost() is None, 1.0)
                stack.enter_context(server_on(toxiproxy_kind, port))
                await until(lambda: holders(path) == {"run001"})
                await until(lambda: len(written(ledger)) == 1)
                assert guard.lost() is None
            assert leases(path) == []
            assert written(ledger) == []

    asyncio.run(run())


def test_server_that_died_took_the_lease_with_it(
    toxiproxy_kind: ServerKind, ledger: FaultLedger
) -> None:
    port = free_port()
    path = WatchedPath(f"http://127.0.0.1:{port}", f"127.0.0.1:{free_port()}", "127.0.0.1:1")

    async def run() -> None:
        with server_on(toxiproxy_kind, port) as server:
            async with RunGuard("run001", ledger, claim=claim_on(path)):
                server.kill()
                server.wait()
        await until(lambda: list(ledger.directory.iterdir()) == [], 30.0)

    asyncio.run(run())


# --- the guard ------------------------------------------------------------------------------------


def a_fault(path: WatchedPath, run: str = "run001") -> Fault:
    return path.path_of_ours(run=run)


def test_lease_is_written_renewed_and_gone_with_the_run(
    path: WatchedPath, ledger: FaultLedger
) -> None:
    async def run() -> None:
        claim = claim_on(path)
        async with RunGuard("run001", ledger, claim=claim, lease_s=4.0, renew_s=0.4) as guard:
            first = leases(path)
            assert written(ledger) == first
            fault = a_fault(path)
            await guard.arm(fault)
            assert guard.lost() is None
            await guard.strike(fault)
            await until(lambda: not set(first) & set(leases(path)))
            (name,) = map(parse, first)
            assert name is not None
            await until(lambda: time.time() > name.expires_epoch_s)
            assert guard.lost() is None
            assert holders(path) == {"run001"}
        assert leases(path) == []

    asyncio.run(run())
    assert list(ledger.directory.iterdir()) == []


@pytest.mark.parametrize(
    ("same_host", "first", "second"),
    [(True, "run001", "run002"), (False, "run001", "run002"), (False, "run002", "run001")],
)
def test_two_guards_exclude_each_other(
    path: WatchedPath,
    ledger: FaultLedger,
    elsewhere: FaultLedger,
    same_host: bool,
    first: str,
    second: str,
) -> None:
    theirs = ledger if same_host else elsewhere

    async def run() -> None:
        async with RunGuard(first, ledger, claim=claim_on(path)) as guard:
            how = f"process {os.getpid()}" if same_host else "holds a lease on"
            with pytest.raises(TargetError, match=f"run {first} .?{how}"):
                async with RunGuard(second, theirs, claim=claim_on(path)):
                    raise AssertionError("two at once")
            assert not theirs.is_alive(second)
            assert holders(path) == {first}
            fault = a_fault(path, first)
            await guard.arm(fault)
            assert guard.lost() is None
            await guard.strike(fault)
        async with RunGuard(second, theirs, claim=claim_on(path)):
            assert holders(path) == {second}

    asyncio.run(run())
    assert leases(path) == []
    for each in {ledger, theirs}:
        assert list(each.directory.iterdir()) == []


def test_no_fault_without_the_lease(
    path: WatchedPath, ledger: FaultLedger, elsewhere: FaultLedger
) -> None:
    async def run() -> None:
        async with RunGuard("run001", ledger, claim=claim_on(path)) as guard:
            for name in leases(path):
                path.call("DELETE", f"/proxies/{name}")
            async with RunGuard("run002", elsewhere, claim=claim_on(path)) as other:
                with pytest.raises(HarnessError, match="run run002 holds a lease"):
                    await guard.arm(a_fault(path))
                assert "run run002 holds a lease" in str(guard.lost())
                assert other.lost() is None
                assert written(ledger) == []
        assert leases(path) == []

    asyncio.run(run())
    assert list(ledger.directory.iterdir()) == []


@pytest.mark.parametrize(
    ("server", "error", "why"),
    [
        ("http://127.0.0.1:1", ToxiproxyError, "a Toxiproxy server is running there"),
        ("https://127.0.0.1:8474", HarnessError, "no lease can be taken"),
    ],
)
def test_no_run_without_a_lease(
    ledger: FaultLedger, server: str, error: type[Exception], why: str
) -> None:
    async def run() -> None:
        claim = Claim(server, TARGET, None, int(time.time()) + 60)
        async with RunGuard("run001", ledger, claim=claim):
            raise AssertionError("started without a lease")

    with pytest.raises(error, match=why):
        asyncio.run(run())
    assert list(ledger.directory.iterdir()) == []


class Freezing:
    """A Toxiproxy API that keeps proxies until it is told to answer no more."""

    def __init__(self) -> None:
        self.proxies: dict[str, object] = {}
        self.frozen = False

    async def answer(self, method: str, path: str, body: bytes) -> bytes | None:
        name = path.removeprefix("/proxies").lstrip("/")
        if self.frozen:
            return None
        if method == "POST":
            self.proxies[json.loads(body)["name"]] = json.loads(body)
            return raw("201 Created", "{}")
        if not name:
            return raw("200 OK", json.dumps(self.proxies))
        if name not in self.proxies:
            return raw("404 Not Found", '{"error":"proxy not found","status":404}')
        if method == "DELETE":
            del self.proxies[name]
            return raw("204 No Content")
        return raw("200 OK", json.dumps(self.proxies[name]))


async def longest_gap_s(doing: Awaitable[object]) -> float:
    """How long the event loop was away at a time, at most, until `doing` was over."""
    longest_s, task = 0.0, asyncio.ensure_future(doing)
    while not task.done():
        before_s = time.monotonic()
        await asyncio.sleep(0.02)
        longest_s = max(longest_s, time.monotonic() - before_s)
    await task
    return longest_s


def test_frozen_server_stops_neither_the_event_loop_nor_the_end(ledger: FaultLedger) -> None:
    server = Freezing()

    async def run() -> None:
        async with fake_api(server.answer) as url:
            claim = Claim(url, TARGET, None, int(time.time()) + 60)
            async with RunGuard("run001", ledger, claim=claim, lease_s=4.0, renew_s=0.3) as guard:
                first = set(server.proxies)
                await until(lambda: not first & set(server.proxies))  # renewed
                assert guard.lost() is None
                server.frozen = True
                gone = until(lambda: guard.lost() is not None)
                assert await longest_gap_s(gone) < 1.5  # one call to this server takes 2 s
                assert "could not be had again: " in str(guard.lost())
                assert guard.alive()
                with pytest.raises(HarnessError, match="no whole answer"):
                    await guard.arm(a_fault(WatchedPath(url, NOWHERE, TARGET)))
            assert written(ledger)  # not confirmed as gone
            server.frozen = False
            await until(lambda: not server.proxies, 60.0)
            assert written(ledger)  # for a minute: what went unanswered may still come

    asyncio.run(run())


def test_lease_is_had_again_when_the_server_thaws(ledger: FaultLedger) -> None:
    server = Freezing()

    async def run() -> None:
        async with fake_api(server.answer) as url:
            claim = Claim(url, TARGET, None, int(time.time()) + 60)
            async with RunGuard("run001", ledger, claim=claim, lease_s=3.0, renew_s=0.3) as guard:
                server.frozen = True
                await until(lambda: guard.lost() is not None)
                server.frozen = False
                await until(lambda: guard.lost() is None, 60.0)
                fault = a_fault(WatchedPath(url, NOWHERE, TARGET))
                await guard.arm(fault)
                assert guard.lost() is None
                await guard.strike(fault)
            assert server.proxies == {}

    asyncio.run(run())


def test_a_slow_server_is_refused_before_it_has_a_lease(ledger: FaultLedger) -> None:
    asked = set()

    async def slow(method: str, path: str, body: bytes) -> bytes:
        asked.add(method)
        await asyncio.sleep(0.4)
        return raw("404 Not Found", '{"error": "proxy not found"}')

    async def run() -> None:
        async with fake_api(slow) as url:
            claim = Claim(url, TARGET, None, int(time.time()) + 60)
            with pytest.raises(ToxiproxyError, match=r"found up to 0\.4.* wanted 0\.25 s or less"):
                await RunGuard("run001", ledger, claim=claim).__aenter__()

    asyncio.run(run())
    assert (asked, written(ledger)) == ({"GET"}, [])


# --- across processes -----------------------------------------------------------------------------

_RUN = """
import asyncio, os, signal, sys, time
from pathlib import Path
from chaosbandit.errors import HarnessError
from chaosbandit.safety.guard import RunGuard
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.toxiproxy.calls import Calls
from chaosbandit.toxiproxy.lease import Claim
from tests.safety.watched_path import WatchedPath

def die_at(point, called=Calls.call):
    passed = 0
    def reach():
        nonlocal passed
        passed += 1
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)
    def call(*arguments, **options):
        reach()
        reply = called(*arguments, **options)
        reach()
        return reply
    Calls.call = call

async def main(ledger, url, listen, run, point):
    die_at(int(point))
    claim = Claim(url, "127.0.0.1:9200", listen, int(time.time()) + 600)
    path = WatchedPath(url, listen, "127.0.0.1:1")
    try:
        faults = FaultLedger(Path(ledger))
        async with RunGuard(run, faults, claim=claim, ttl_s=1.0, renew_s=0.3) as guard:
            print("has it", flush=True)
            while word := (await asyncio.to_thread(sys.stdin.readline)).strip():
                try:
                    fault = path.path_of_ours(run=run)
                    await guard.arm(fault)
                    guard.resting(fault, True)
                    print("may inject", flush=True)
                    await guard.strike(fault)
                except HarnessError as error:
                    print("may not:", error, flush=True)
    except HarnessError as error:
        print("refused:", error, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


class Run:
    """A run in a process of its own, on a host of its own unless told otherwise."""

    def __init__(self, path: WatchedPath, ledger: FaultLedger, run: str, dies_at: int) -> None:
        arguments = [str(ledger.directory), path.url, path.listen, run, str(dies_at)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _RUN, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
            text=True,
        )

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self) -> str:
        """Whether it may inject."""
        assert self.process.stdin is not None
        self.process.stdin.write("inject\n")
        self.process.stdin.flush()
        return self.said()

    def end(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate(timeout=30.0)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def running(path: WatchedPath, ledger: FaultLedger, run: str, dies_at: int = 0) -> Iterator[Run]:
    process = Run(path, ledger, run, dies_at)
    try:
        yield process
    finally:
        process.kill()


def test_killed_run_leaves_nothing_and_the_next_one_starts(
    path: WatchedPath, ledger: FaultLedger, elsewhere: FaultLedger
) -> None:
    with running(path, ledger, "run001") as first:
        assert first.said() == "has it"
        assert first.ask() == "may inject"
        first.kill()
        wait_for(lambda: not leases(path) and not written(ledger))
        for each in (ledger, elsewhere):  # the same host, and another
            with running(path, each, "run002") as second:
                assert second.said() == "has it"
                second.end()
    assert leases(path) == []
    assert list(elsewhere.directory.iterdir()) == []


def _renewed_or_dead(path: WatchedPath, first: set[str], run: subprocess.Popen[str]) -> bool:
    return run.poll() is not None or not first & set(leases(path))


def test_run_killed_before_or_after_any_call_leaves_no_lease(
    path: WatchedPath, ledger: FaultLedger
) -> None:
    """Two calls to take it, two to renew it, two to give it back, each with both its sides.

    Its file may stay for a minute, in which the dead run's call might still arrive.
    """
    killed = 0
    for dies_at in range(1, 15):
        with running(path, ledger, f"run{dies_at:03}", dies_at) as run:
            if run.said() == "has it":
                first = set(leases(path))
                wait_for(partial(_renewed_or_dead, path, first, run.process))
                run.end()
            killed += run.process.wait(20.0) == -signal.SIGKILL
        wait_for(lambda: not leases(path))
    assert killed >= 10


def test_stopped_run_has_lost_its_target_to_who_came_meanwhile(
    path: WatchedPath, ledger: FaultLedger, elsewhere: FaultLedger
) -> None:
    with running(path, ledger, "run001") as first:
        assert first.said() == "has it"
        first.process.send_signal(signal.SIGSTOP)
        wait_for(lambda: not leases(path))  # the watchdog takes it for dead
        with running(path, elsewhere, "run002") as second:
            assert second.said() == "has it"
            first.process.send_signal(signal.SIGCONT)
            assert first.ask().startswith(
                "may not: run run001 lost its lease meanwhile: run run002 holds a lease on "
            )
            assert second.ask() == "may inject"
            second.end()
        first.end()
    assert leases(path) == []


def test_stopped_run_goes_on_if_nobody_came(path: WatchedPath, ledger: FaultLedger) -> None:
    with running(path, ledger, "run001") as first:
        assert first.said() == "has it"
        first.process.send_signal(signal.SIGSTOP)
        wait_for(lambda: not leases(path))
        first.process.send_signal(signal.SIGCONT)
        assert first.ask() == "may inject"
        assert holders(path) == {"run001"}
        first.end()
    assert leases(path) == []
    assert list(ledger.directory.iterdir()) == []


def test_of_several_processes_that_start_at_once_one_has_it(
    path: WatchedPath, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        runs = [
            stack.enter_context(running(path, FaultLedger(tmp_path / f"host{n}"), f"run{n:03}"))
            for n in range(5)
        ]
        said = [each.said() for each in runs]
        assert said.count("has it") == 1, said
        assert [text for text in said if "refused: run run" not in text] == ["has it"]
        for each in runs:
            each.end()
    assert leases(path) == []


def test_a_reset_by_the_operator_is_not_hindered_by_a_lease(path: WatchedPath) -> None:
    mine = Owner(path, "run001", claim_on(path))
    mine.lease.claim()
    assert path.call("POST", "/reset") == 204
    assert path.echo_s() is not None
    mine.lease.release()
    assert leases(path) == []
