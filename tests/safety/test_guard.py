"""The run's side: nothing is injected unwritten or unwatched, or struck out unproven."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chaosbandit.errors import CleanupError, HarnessError
from chaosbandit.faults.fault import Fault
from chaosbandit.safety import watchdog_link
from chaosbandit.safety.guard import RunGuard
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.safety.watchdog_one_fault import BYPASS_AFTER_S
from chaosbandit.toxiproxy.lease import Claim
from chaosbandit.toxiproxy.undo import Late
from tests.safety.watched_path import ORIGINAL, WatchedPath, lonely, nowhere, watched_path
from tests.servers import running_server
from tests.waiting import stays, until, wait_for, wait_to_be_killed

TTL_S = 1.0
SENT_S = 0.1  # until what a thread says to a watchdog is on its way, which nothing shows

UNCLEAN = CleanupError("it may be there", do="run `clean`, or by hand", commands=["a", "b"])


@pytest.fixture
def ledger(tmp_path: Path) -> FaultLedger:
    return FaultLedger(tmp_path / "faults")


@pytest.fixture
def path() -> Iterator[WatchedPath]:
    with running_server("embedded") as url, watched_path(url) as path:
        yield path


def written(ledger: FaultLedger) -> list[str]:
    return [entry.fault.name for entry in ledger.entries().entries]


def is_running(pid: int | None) -> bool:
    try:
        os.kill(pid or 0, 0)
    except ProcessLookupError:
        return False
    return pid is not None


def has_ended(pid: int) -> bool:
    """As `not is_running`, but for others' children: a zombie nobody reaps has ended too."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


@contextlib.contextmanager
def stopped(pid: int | None) -> Iterator[None]:
    """The process hangs meanwhile; whatever comes of the test, it is not left so."""
    os.kill(pid or 0, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid or 0, signal.SIGCONT)


def late(in_s: float, *, closes: bool = False) -> Late:
    return Late(time.monotonic() + in_s, closes)


def test_fault_is_written_and_watched_until_it_is_struck(ledger: FaultLedger) -> None:
    async def run() -> int | None:
        async with RunGuard("run001", ledger) as guard:
            assert ledger.is_alive("run001")
            for n in (1, 2):
                await guard.arm(lonely(n))
                assert written(ledger) == [lonely(n).name]
                assert guard.alive()
                await guard.strike(lonely(n))
                assert written(ledger) == []
            return guard.watchdog_pid()

    pid = asyncio.run(run())
    assert not is_running(pid)
    assert list(ledger.directory.iterdir()) == []


def test_several_faults_at_once(ledger: FaultLedger) -> None:
    async def run() -> None:
        async with RunGuard("run001", ledger) as guard:
            first, second = lonely(1), lonely(2)
            await guard.arm(first)
            await guard.arm(second)
            assert written(ledger) == sorted([first.name, second.name])
            await guard.strike(first)
            assert written(ledger) == [second.name]
            await guard.strike(second)

    asyncio.run(run())
    assert list(ledger.directory.iterdir()) == []


def test_fault_armed_again_is_written_and_watched_as_it_is_now(
    ledger: FaultLedger, path: WatchedPath
) -> None:
    mild = path.fault()
    more = replace(mild.toxics[0], name=path.fault(2).name)
    both = replace(mild, toxics=(*mild.toxics, more))

    async def run() -> int | None:
        async with RunGuard("run001", ledger) as guard:
            await guard.arm(mild)
            await guard.arm(both)
            assert [entry.fault for entry in ledger.entries().entries] == [both]
            path.inject(replace(mild, toxics=(more,)))
            guard.resting(both, True)
            return guard.watchdog_pid()  # and leaves without a word on the fault

    pid = asyncio.run(run())
    wait_for(lambda: not is_running(pid))
    assert path.is_normal()
    assert written(ledger) == []


@pytest.mark.parametrize("rests", [True, False])
def test_whether_a_call_is_on_the_wire_reaches_the_watchdog(
    ledger: FaultLedger, path: WatchedPath, rests: bool
) -> None:
    fault = path.fault()

    async def run() -> int | None:
        async with RunGuard("run001", ledger) as guard:
            guard.resting(fault, True)  # of a fault that nobody knows: no harm
            await guard.arm(fault)  # and forgotten now
            guard.resting(fault, not rests)
            guard.resting(fault, rests)
            return guard.watchdog_pid()

    pid = asyncio.run(run()) or 0
    if rests:
        wait_for(lambda: not is_running(pid))
        assert written(ledger) == []
    else:
        assert stays(lambda: is_running(pid), 1.5)
        assert written(ledger) == [fault.name]
        os.kill(pid, signal.SIGKILL)  # it would look for a minute
        wait_for(lambda: not is_running(pid))


# --- late calls -----------------------------------------------------------------------------------


def test_late_call_keeps_a_fault_written_and_watched_and_nobody_waiting(
    ledger: FaultLedger, path: WatchedPath
) -> None:
    fault = path.fault()

    async def run() -> RunGuard:
        async with RunGuard("run001", ledger) as guard:
            assert guard.watched() is None
            await guard.arm(fault)
            await guard.strike(fault, late(4.0))
            said = guard.watched()
        assert guard.watched() == said  # also told afterwards
        return guard

    began_s = time.monotonic()
    guard = asyncio.run(run())
    left_s = time.monotonic() - began_s
    until = time.strftime("%H:%M:", time.gmtime(time.time() + 3.0))
    assert left_s < 3.0
    pid = guard.watchdog_pid()
    said = guard.watched() or ""
    assert said.startswith(f"The watchdog (process {pid}) keeps watching inventory until {until}")
    assert said.endswith("Z, since a call to Toxiproxy went unanswered.")
    path.inject(fault)
    wait_for(path.is_normal, 3.0)
    assert written(ledger) == [fault.name]
    wait_for(lambda: not is_running(pid))
    assert time.monotonic() - began_s > 3.9
    assert written(ledger) == []
    assert guard.watched() is None


def test_call_that_is_late_no_more_is_no_reason_to_watch(ledger: FaultLedger) -> None:
    async def run() -> None:
        async with RunGuard("run001", ledger) as guard:
            await guard.arm(lonely())
            await guard.strike(lonely(), late(-0.1))
            assert written(ledger) == []
            assert guard.watched() is None

    asyncio.run(run())
    assert list(ledger.directory.iterdir()) == []


def test_new_watchdog_takes_over_what_is_late_and_what_rests(
    ledger: FaultLedger, path: WatchedPath
) -> None:
    gone, stands = path.fault(1), path.fault(2)

    async def run() -> int | None:
        async with RunGuard("run001", ledger) as guard:
            for fault in (gone, stands):
                await guard.arm(fault)
            guard.resting(stands, True)
            await guard.strike(gone, late(4.0))
            os.kill(guard.watchdog_pid() or 0, signal.SIGKILL)
            wait_for(lambda: not guard.alive())
            await guard.arm(lonely())
            await guard.strike(lonely())
            path.inject(gone)
            await asyncio.to_thread(wait_for, lambda: path.toxics() == [])
            path.inject(stands)
            return guard.watchdog_pid()

    began_s = time.monotonic()
    pid = asyncio.run(run())
    wait_for(lambda: not is_running(pid))
    assert time.monotonic() - began_s < 15.0
    assert path.is_normal()
    assert written(ledger) == []


# --- what could not be removed --------------------------------------------------------------------


def test_unconfirmed_removal_stays_written_and_the_watchdog_ends_it_at_once(
    ledger: FaultLedger, path: WatchedPath
) -> None:
    fault = path.fault()

    async def run() -> int | None:
        async with RunGuard("run001", ledger) as guard:
            await guard.arm(fault)
            path.inject(fault)
            guard.resting(fault, True)
            assert not path.is_normal()
            error = await guard.failed(fault, CleanupError("not confirmed"))
            assert str(error).startswith("not confirmed; the watchdog (process ")
            assert written(ledger) == [fault.name]
            await asyncio.to_thread(wait_for, path.is_normal)
            return guard.watchdog_pid()

    pid = asyncio.run(run())
    wait_for(lambda: not is_running(pid))
    assert path.is_normal()
    assert written(ledger) == []


def test_bypass_is_used_once_and_told_of_beside_what_is_left_to_do(
    ledger: FaultLedger, tmp_path: Path
) -> None:
    used = tmp_path / "used"
    bypass = ("sh", "-c", f"echo $CHAOSBANDIT_FAULT >> {used}")
    fault = replace(nowhere().fault(), server="http://192.0.2.1:1", bypass=bypass)

    async def run() -> tuple[CleanupError, int]:
        async with RunGuard("run001", ledger) as guard:
            await guard.arm(fault)
            error = await guard.failed(fault, UNCLEAN)
            assert used.read_text() == f"{fault.name}\n"
            assert written(ledger) == [fault.name]
            return error, guard.watchdog_pid() or 0

    found, pid = asyncio.run(run())
    told = found.trouble
    assert replace(told, found="") == replace(UNCLEAN.trouble, found="")
    assert told.found.startswith("it may be there; the bypass ")
    goes_on = f"0: take it back when the proxy is well again; the watchdog (process {pid})"
    assert goes_on in told.found
    assert told.found.endswith(f"its log is {ledger.directory / 'watchdog.log'}")
    assert found.exit_code == 7
    once = f"{fault.name}\n"  # the watchdog would use it after some seconds, too
    assert stays(lambda: is_running(pid) and used.read_text() == once, BYPASS_AFTER_S + 1.0)
    os.kill(pid, signal.SIGKILL)


def test_interruption_does_not_hide_a_failed_clean_up_while_the_bypass_works(
    ledger: FaultLedger, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    fault = replace(lonely(), bypass=("sh", "-c", f"touch {begun}; sleep 0.5; exit 3"))

    async def run() -> None:
        async with RunGuard("run001", ledger) as guard:
            await guard.arm(fault)
            task = asyncio.ensure_future(
                guard.failed(fault, CleanupError("not so", commands=["a"]))
            )
            await asyncio.to_thread(wait_for, begun.exists)
            task.cancel()
            trouble = (await task).trouble
            assert trouble.found.startswith("not so; the bypass ")
            assert trouble.commands == ("a",)

    asyncio.run(run())


def test_without_a_watchdog_nobody_is_said_to_go_on(
    ledger: FaultLedger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit(1)")

    async def run() -> None:
        async with RunGuard("run001", ledger) as guard:
            await guard.arm(lonely())
            monkeypatch.setattr(watchdog_link, "_PROGRAM", broken)
            os.kill(guard.watchdog_pid() or 0, signal.SIGKILL)
            wait_for(lambda: not guard.alive())
            assert str(await guard.failed(lonely(), CleanupError("not so"))) == "not so"

    asyncio.run(run())
    assert written(ledger) == [lonely().name]


def test_a_server_that_cannot_be_cleaned_up_is_not_waited_for(
    ledger: FaultLedger, path: WatchedPath
) -> None:
    claim = Claim(path.url, path.upstream, path.listen, int(time.time()) + 60)
    ended_s = []

    async def run() -> None:
        fault = path.fault()
        async with RunGuard("run001", ledger, claim=claim) as guard:
            await guard.arm(fault)
            guard.resting(fault, True)
            await guard.failed(fault, UNCLEAN)
            ended_s.append(time.monotonic())

    asyncio.run(run())
    assert time.monotonic() - ended_s[0] < 1.0
    wait_for(lambda: not written(ledger))  # the watchdog does both: the fault and the lease
    assert path.names() == [ORIGINAL]


def test_servers_own_end_is_the_end_of_its_faults(ledger: FaultLedger) -> None:
    """The run embeds the server: with it the server ends, and nothing can be left on it."""
    fault = replace(nowhere().fault(), dies_with_run=True)

    async def run() -> int | None:
        async with RunGuard("run001", ledger) as guard:
            await guard.arm(fault)
            assert ledger.entries().entries[0].fault.dies_with_run
            await guard.failed(fault, CleanupError("the server is gone"))
            return guard.watchdog_pid()

    pid = asyncio.run(run())
    wait_for(lambda: not is_running(pid), 5.0)
    assert written(ledger) == []


# --- the run that is stuck, or interrupted --------------------------------------------------------


def test_stuck_event_loop_is_noticed_and_a_working_one_left_alone(
    ledger: FaultLedger, path: WatchedPath
) -> None:
    fault = path.fault()

    async def run() -> None:
        async with RunGuard("run001", ledger, ttl_s=TTL_S) as guard:
            await guard.arm(fault)
            path.inject(fault)
            guard.resting(fault, True)
            assert await asyncio.to_thread(stays, lambda: path.toxics() == [fault.name], 3 * TTL_S)
            wait_for(path.is_normal)  # stuck: nothing else runs in this loop
            assert guard.alive()
            await guard.strike(fault)

    asyncio.run(run())
    assert [file.name for file in ledger.directory.iterdir()] == ["watchdog.log"]


@pytest.mark.parametrize("again", [False, True])
def test_cancelling_while_arming_leaves_only_what_was_armed_before(
    ledger: FaultLedger, again: bool
) -> None:
    async def run() -> None:
        async with RunGuard("run001", ledger) as guard:
            if again:
                await guard.arm(lonely())
            task = asyncio.ensure_future(guard.arm(lonely()))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert written(ledger) == ([lonely().name] if again else [])
            await guard.arm(lonely(2))
            assert guard.alive()
            for n in (1, 2):
                await guard.strike(lonely(n))

    asyncio.run(run())


# --- the watchdog that is dead, or hangs ----------------------------------------------------------


def test_killed_watchdog_is_replaced_and_takes_over_what_is_armed(
    ledger: FaultLedger, path: WatchedPath
) -> None:
    fault = path.fault()

    async def run() -> int | None:
        async with RunGuard("run001", ledger) as guard:
            await guard.arm(fault)
            path.inject(fault)
            guard.resting(fault, True)
            first = guard.watchdog_pid()
            os.kill(first or 0, signal.SIGKILL)
            wait_for(lambda: not guard.alive())
            guard.resting(fault, True)  # said to nobody, and no error
            await guard.arm(lonely(2))
            assert guard.alive()
            assert guard.watchdog_pid() != first
            await guard.strike(lonely(2))
            return guard.watchdog_pid()

    second = asyncio.run(run())
    wait_for(lambda: not is_running(second))
    assert path.is_normal()


def test_watchdog_killed_first_then_the_run_ends_normally(ledger: FaultLedger) -> None:
    async def run() -> None:
        async with RunGuard("run001", ledger) as guard:
            await guard.arm(lonely())
            os.kill(guard.watchdog_pid() or 0, signal.SIGKILL)
            wait_for(lambda: not guard.alive())
            await guard.strike(lonely())
            assert written(ledger) == []

    asyncio.run(run())
    assert list(ledger.directory.iterdir()) == []


def test_hanging_watchdog_refuses_the_fault_and_the_next_one_gets_another(
    ledger: FaultLedger,
) -> None:
    async def run() -> None:
        async with RunGuard("run001", ledger, ack_s=0.5) as guard:
            first = guard.watchdog_pid()
            with stopped(first):
                started_s = time.monotonic()
                with pytest.raises(HarnessError, match=r"`arm` of .* not acknowledged"):
                    await guard.arm(lonely())
                assert 0.45 < time.monotonic() - started_s < 5
                assert written(ledger) == []
                assert not guard.alive()
                await guard.arm(lonely(2))
                assert guard.alive()
                await guard.strike(lonely(2))
        wait_for(lambda: not is_running(first))

    asyncio.run(run())


def test_saying_whether_a_call_is_on_the_wire_never_waits(ledger: FaultLedger) -> None:
    async def run() -> None:
        async with RunGuard("run001", ledger, ack_s=1.0) as guard:
            await guard.arm(lonely())
            first = guard.watchdog_pid()
            with stopped(first):
                arming = asyncio.ensure_future(guard.arm(lonely(2)))
                await asyncio.sleep(SENT_S)
                began_s = time.monotonic()
                for n in range(1000):  # more than fit
                    guard.resting(lonely(), n % 2 == 0)
                assert time.monotonic() - began_s < 1.0
                with pytest.raises(HarnessError):
                    await arming
                assert not guard.alive()
                await guard.strike(lonely())
        wait_for(lambda: not is_running(first))

    asyncio.run(run())


def test_no_run_without_a_watchdog(
    ledger: FaultLedger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit(1)")
    monkeypatch.setattr(watchdog_link, "_PROGRAM", broken)

    async def run() -> None:
        async with RunGuard("run001", ledger):
            raise AssertionError("started without a watchdog")

    with pytest.raises(HarnessError, match="not ready within"):
        asyncio.run(run())
    assert not ledger.is_alive("run001")


# --- what is refused ------------------------------------------------------------------------------


def test_run_that_goes_on_elsewhere_is_refused(ledger: FaultLedger) -> None:
    async def run() -> None:
        async with RunGuard("run001", ledger):
            with pytest.raises(HarnessError, match="still going on"):
                async with RunGuard("run001", ledger):
                    raise AssertionError("two at once")
            assert ledger.is_alive("run001")
            async with RunGuard("run002", ledger):
                assert ledger.is_alive("run002")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"server": "https://127.0.0.1:8474"}, "is not http:"),
        ({"name": "inventory"}, "wanted cb"),
        ({"expires_epoch_s": 1000}, "expiry is in the past"),
        ({"name": f"cb-standin.run001.1.{'x' * 300}"}, "not written to"),
    ],
)
def test_fault_that_could_not_be_undone_is_refused(
    ledger: FaultLedger, change: dict[str, str], why: str
) -> None:
    fault: Fault = replace(nowhere().fault(), **change)  # type: ignore[arg-type]

    async def run() -> None:
        async with RunGuard("run001", ledger) as guard:
            with pytest.raises(HarnessError, match=why):
                await guard.arm(fault)
            assert written(ledger) == []
            assert guard.alive()

    asyncio.run(run())


def test_unusable_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)

    async def run(directory: Path) -> None:
        async with RunGuard("run001", FaultLedger(directory)):
            raise AssertionError("started without a ledger")

    with pytest.raises(HarnessError, match="not usable"):
        asyncio.run(run(tmp_path / "file" / "faults"))
    for folder in (tmp_path / "shared", tmp_path / "shared" / "faults"):
        with pytest.raises(HarnessError, match=r"not usable \(.* by others") as caught:
            asyncio.run(run(folder))
        assert caught.value.trouble.do.startswith(f"run `chmod go-w {tmp_path / 'shared'}")


# --- children -------------------------------------------------------------------------------------


def test_forked_worker_neither_holds_the_lock_nor_hides_the_end(
    ledger: FaultLedger, path: WatchedPath
) -> None:
    """A worker that outlives the run keeps no copy of what tells the others that it is gone."""
    fault = path.fault()
    ready, tell = os.pipe()
    victim = os.fork()
    if victim == 0:
        os.close(ready)
        asyncio.run(_fork_a_worker_and_wait(ledger, path, fault, tell))
        os._exit(0)
    os.close(tell)
    with os.fdopen(ready) as said:
        worker, watchdog = map(int, said.readline().split())
    try:
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
        wait_for(lambda: has_ended(watchdog))
        assert is_running(worker)
        assert path.is_normal()
        assert not ledger.is_alive("run001")
    finally:
        os.kill(worker, signal.SIGKILL)


async def _fork_a_worker_and_wait(
    ledger: FaultLedger, path: WatchedPath, fault: Fault, tell: int
) -> None:
    async with RunGuard("run001", ledger) as guard:
        await guard.arm(fault)
        path.inject(fault)
        guard.resting(fault, True)
        worker = os.fork()
        if worker == 0:
            os.close(tell)
            wait_to_be_killed()
        os.write(tell, f"{worker} {guard.watchdog_pid()}\n".encode())
        wait_to_be_killed()


@pytest.mark.parametrize("dosed", [False, True])
def test_only_a_path_without_a_dose_may_outlive_its_name(
    ledger: FaultLedger, path: WatchedPath, dosed: bool
) -> None:
    ours = path.path_of_ours(expires_in_s=2.0)
    toxic = path.fault(expires_in_s=2.0).toxics[0]
    fault = replace(ours, name=toxic.name, toxics=(toxic,)) if dosed else ours

    async def run() -> list[str]:
        async with RunGuard("run001", ledger) as guard:
            await guard.arm(fault)
            assert path.make(fault) == 201
            if dosed:
                path.inject(fault)
            guard.resting(fault, True)
            if dosed:
                await until(lambda: path.toxics(fault.proxy) == [])
            else:
                late_s = fault.expires_epoch_s + 1.0
                await until(lambda: time.time() > late_s)
            assert path.names() == sorted([ORIGINAL, fault.proxy])
            left = path.toxics(fault.proxy)
            await until(lambda: bool(written(ledger)) != dosed)
            path.call("DELETE", f"/proxies/{fault.proxy}")
            await guard.strike(fault)
            return left

    assert asyncio.run(run()) == []
