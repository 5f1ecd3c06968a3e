"""The run's side: nothing is injected unwritten or unwatched, or struck out unproven."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chaosbandit.core.model import Fault
from chaosbandit.errors import CleanupError, HarnessError, ToxiproxyError
from chaosbandit.safety import watch
from chaosbandit.safety.guard import RunGuard
from chaosbandit.safety.lease import Claim
from chaosbandit.safety.ledger import FaultLedger
from tests.operator_path import ORIGINAL, OperatorPath, beside, free_port, operator_path
from tests.servers import running_server


@pytest.fixture
def ledger(tmp_path: Path) -> FaultLedger:
    return FaultLedger(tmp_path / "faults")


@pytest.fixture
def path() -> Iterator[OperatorPath]:
    with running_server("embedded") as url, operator_path(url) as path:
        yield path


def a_fault(n: int = 1) -> Fault:
    """A fault of our own on a server that is not there, so that undoing it is quick."""
    server = f"http://127.0.0.1:{free_port()}"
    path = OperatorPath(server, f"127.0.0.1:{free_port()}", "127.0.0.1:1")
    return replace(path.fault(n), restores=None)


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


def wait_for(condition: object, within_s: float = 15.0) -> None:
    assert callable(condition)
    give_up_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_s
        time.sleep(0.01)


def test_fault_is_written_and_watched_inside_and_neither_outside(ledger: FaultLedger) -> None:
    async def run() -> int | None:
        async with RunGuard("run001", ledger) as guard:
            assert ledger.is_alive("run001")
            for n in (1, 2):
                async with guard.guard(a_fault(n)):
                    assert len(written(ledger)) == 1
                    assert guard.alive()
                assert written(ledger) == []
            return guard.watchdog_pid()

    pid = asyncio.run(run())
    assert not is_running(pid)
    assert list(ledger.directory.iterdir()) == []


def test_several_faults_at_once(ledger: FaultLedger) -> None:
    async def run() -> None:
        async with RunGuard("run001", ledger) as guard:
            first, second = a_fault(1), a_fault(2)
            async with guard.guard(first), guard.guard(second):
                assert written(ledger) == sorted([first.name, second.name])
            assert written(ledger) == []

    asyncio.run(run())


def test_a_bug_on_the_way_out_is_no_proof_that_the_fault_is_gone(ledger: FaultLedger) -> None:
    fault = a_fault()

    async def run() -> None:
        async with RunGuard("run001", ledger) as guard:
            with pytest.raises(ValueError, match="bug"):
                async with guard.guard(fault):
                    raise ValueError("bug")
            assert written(ledger) == [fault.name]

    asyncio.run(run())


@pytest.mark.parametrize("error", [ToxiproxyError("odd", 500), HarnessError("refused")])
def test_error_after_a_verified_removal_strikes_the_fault_out(
    ledger: FaultLedger, error: Exception
) -> None:
    async def run() -> None:
        async with RunGuard("run001", ledger) as guard:
            with pytest.raises(type(error)):
                async with guard.guard(a_fault()):
                    raise error
            assert written(ledger) == []

    asyncio.run(run())


@pytest.mark.parametrize("grouped", [False, True])
def test_unconfirmed_removal_stays_written_and_the_watchdog_ends_it(
    ledger: FaultLedger, path: OperatorPath, grouped: bool
) -> None:
    fault = path.fault()
    error: Exception = CleanupError("not confirmed")

    async def run() -> int | None:
        async with RunGuard("run001", ledger) as guard:
            with pytest.raises((CleanupError, ExceptionGroup)):
                async with guard.guard(fault):
                    path.inject(fault)
                    raise ExceptionGroup("two", [error, ValueError()]) if grouped else error
            assert written(ledger) == [fault.name]
            assert not path.is_normal()
            return guard.watchdog_pid()

    pid = asyncio.run(run())
    wait_for(lambda: not is_running(pid))
    assert path.is_normal()
    assert written(ledger) == []


@pytest.mark.parametrize("grouped", [False, True])
def test_bypass_is_used_once_and_told_of_beside_what_is_left_to_do(
    ledger: FaultLedger, tmp_path: Path, grouped: bool
) -> None:
    used = tmp_path / "used"
    fault = replace(a_fault(), bypass=("sh", "-c", f"echo $CHAOSBANDIT_FAULT >> {used}"))
    unclean = CleanupError("It may be there. Run `clean`, or by hand:", ["curl a", "curl b"])
    error: Exception = ExceptionGroup("two", [ValueError(), unclean]) if grouped else unclean

    async def run() -> CleanupError:
        async with RunGuard("run001", ledger) as guard:
            with pytest.raises(CleanupError) as caught:
                async with guard.guard(fault):
                    raise error
            assert used.read_text() == f"{fault.name}\n"
            assert written(ledger) == [fault.name]
            return caught.value

    found = asyncio.run(run())
    assert found.__cause__ is error
    assert found.commands == ("curl a", "curl b")
    assert str(found).startswith("It may be there. The bypass ")
    assert " 0: take it back when the proxy is well again. The watchdog (process " in str(found)
    assert f"its log is {ledger.directory / 'watchdog.log'}. Run" in str(found)
    assert str(found).endswith(". Run `clean`, or by hand:\n  curl a\n  curl b")
    assert found.exit_code == 7


def test_interruption_does_not_hide_a_failed_clean_up_while_the_bypass_works(
    ledger: FaultLedger, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    fault = replace(a_fault(), bypass=("sh", "-c", f"touch {begun}; sleep 0.5; exit 3"))

    async def exposure(guard: RunGuard) -> None:
        async with guard.guard(fault):
            raise CleanupError("not confirmed", ["curl a"])

    async def run() -> None:
        async with RunGuard("run001", ledger) as guard:
            task = asyncio.ensure_future(exposure(guard))
            await asyncio.to_thread(wait_for, begun.exists)
            task.cancel()
            with pytest.raises(CleanupError, match=r"^not confirmed\. The bypass .*\n  curl a"):
                await task

    asyncio.run(run())


def test_error_without_a_bypass_or_a_failed_clean_up_stays_as_it_is(
    ledger: FaultLedger, tmp_path: Path
) -> None:
    used = tmp_path / "used"
    plain = a_fault()
    cases: list[tuple[Fault, Exception]] = [
        (plain, HarnessError("no injection")),
        (replace(plain, bypass=("touch", str(used))), HarnessError("refused")),
    ]

    async def run() -> None:
        async with RunGuard("run001", ledger) as guard:
            for fault, error in cases:
                with pytest.raises(type(error)) as caught:
                    async with guard.guard(fault):
                        raise error
                assert caught.value is error

    asyncio.run(run())
    assert not used.exists()


def test_stuck_event_loop_is_noticed_and_a_working_one_left_alone(
    ledger: FaultLedger, path: OperatorPath
) -> None:
    fault = path.fault()

    async def run() -> None:
        async with RunGuard("run001", ledger, ttl_s=1.0) as guard:
            async with guard.guard(fault):
                path.inject(fault)
                await asyncio.sleep(4.0)
                assert path.names() == sorted([fault.name, ORIGINAL])
                wait_for(path.is_normal)  # stuck: nothing else runs in this loop
            assert guard.alive()

    asyncio.run(run())
    assert list(ledger.directory.iterdir()) == []


@pytest.mark.parametrize("removed", [False, True])
def test_interrupted_exposure_is_believed_only_if_the_server_confirms(
    ledger: FaultLedger, path: OperatorPath, removed: bool
) -> None:
    fault = path.fault()

    async def exposure(guard: RunGuard, inside: asyncio.Event) -> None:
        async with guard.guard(fault):
            path.inject(fault, "restored" if removed else "enabled")
            inside.set()
            await asyncio.sleep(60)

    async def run() -> int | None:
        async with RunGuard("run001", ledger) as guard:
            inside = asyncio.Event()
            task = asyncio.ensure_future(exposure(guard, inside))
            await inside.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert written(ledger) == ([] if removed else [fault.name])
            return guard.watchdog_pid()

    pid = asyncio.run(run())
    wait_for(lambda: not is_running(pid))
    assert written(ledger) == []
    assert path.is_normal()


def test_cancelling_while_arming_leaves_nothing_written(ledger: FaultLedger) -> None:
    async def run() -> None:
        async with RunGuard("run001", ledger) as guard:

            async def expose() -> None:
                async with guard.guard(a_fault()):
                    raise AssertionError("entered although cancelled")

            task = asyncio.ensure_future(expose())
            await asyncio.sleep(0)
            task.cancel()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert written(ledger) == []
            async with guard.guard(a_fault(2)):
                assert guard.alive()

    asyncio.run(run())


def test_killed_watchdog_is_replaced_and_takes_over_what_is_armed(
    ledger: FaultLedger, path: OperatorPath
) -> None:
    fault = path.fault()

    async def run() -> int | None:
        async with RunGuard("run001", ledger) as guard:
            with pytest.raises(CleanupError):
                async with guard.guard(fault):
                    path.inject(fault)
                    first = guard.watchdog_pid()
                    os.kill(first or 0, signal.SIGKILL)
                    wait_for(lambda: not guard.alive())
                    async with guard.guard(a_fault(2)):
                        assert guard.alive()
                        assert guard.watchdog_pid() != first
                    raise CleanupError("left to the watchdog")
            return guard.watchdog_pid()

    second = asyncio.run(run())
    wait_for(lambda: not is_running(second))
    assert path.is_normal()


def test_watchdog_killed_first_then_the_run_ends_normally(ledger: FaultLedger) -> None:
    async def run() -> None:
        async with RunGuard("run001", ledger) as guard:
            async with guard.guard(a_fault()):
                os.kill(guard.watchdog_pid() or 0, signal.SIGKILL)
                wait_for(lambda: not guard.alive())
            assert written(ledger) == []

    asyncio.run(run())
    assert list(ledger.directory.iterdir()) == []


def test_hanging_watchdog_refuses_the_fault_and_the_next_one_gets_another(
    ledger: FaultLedger,
) -> None:
    async def run() -> None:
        async with RunGuard("run001", ledger, ack_s=0.5) as guard:
            stopped = guard.watchdog_pid() or 0
            os.kill(stopped, signal.SIGSTOP)
            started_s = time.monotonic()
            with pytest.raises(HarnessError, match="did not acknowledge `arm`"):
                async with guard.guard(a_fault()):
                    raise AssertionError("injected without a watchdog")
            assert 0.45 < time.monotonic() - started_s < 5
            assert written(ledger) == []
            assert not guard.alive()
            async with guard.guard(a_fault(2)):
                assert guard.alive()
            os.kill(stopped, signal.SIGCONT)
        wait_for(lambda: not is_running(stopped))

    asyncio.run(run())


def test_no_run_without_a_watchdog(
    ledger: FaultLedger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit(1)")
    monkeypatch.setattr(watch, "_PROGRAM", broken)

    async def run() -> None:
        async with RunGuard("run001", ledger):
            raise AssertionError("started without a watchdog")

    with pytest.raises(HarnessError, match="was not ready"):
        asyncio.run(run())
    assert not ledger.is_alive("run001")


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
        ({"server": "https://127.0.0.1:8474"}, "wanted http"),
        ({"name": "inventory"}, "wanted cb"),
        ({"expires_epoch_s": 1000}, "expiry is in the past"),
        ({"name": f"cb.run001.1.1.{'x' * 300}"}, "could not be written"),
    ],
)
def test_fault_that_could_not_be_undone_is_refused(
    ledger: FaultLedger, change: dict[str, str], why: str
) -> None:
    async def run() -> None:
        async with RunGuard("run001", ledger) as guard:
            with pytest.raises(HarnessError, match=why):
                async with guard.guard(replace(a_fault(), **change)):  # type: ignore[arg-type]
                    raise AssertionError("injected")
            assert written(ledger) == []
            assert guard.alive()

    asyncio.run(run())


def test_unusable_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def run() -> None:
        async with RunGuard("run001", FaultLedger(tmp_path / "file" / "faults")):
            raise AssertionError("started without a ledger")

    with pytest.raises(HarnessError, match="not usable"):
        asyncio.run(run())


def test_forked_worker_neither_holds_the_lock_nor_hides_the_end(
    ledger: FaultLedger, path: OperatorPath
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
    ledger: FaultLedger, path: OperatorPath, fault: Fault, tell: int
) -> None:
    async with RunGuard("run001", ledger) as guard:
        async with guard.guard(fault):
            path.inject(fault)
            worker = os.fork()
            if worker == 0:
                os.close(tell)
                _wait_for_the_end()
            os.write(tell, f"{worker} {guard.watchdog_pid()}\n".encode())
            _wait_for_the_end()


def _wait_for_the_end() -> None:
    """Outlast the test, which kills whoever is in here."""
    time.sleep(120)
    os._exit(1)


def test_servers_own_end_is_the_end_of_its_faults(ledger: FaultLedger) -> None:
    """The run embeds the server: with it the server ends, and nothing can be restored."""
    fault = replace(a_fault(), restores="inventory")

    async def run() -> int | None:
        async with RunGuard("run001", ledger, own_servers=[fault.server]) as guard:
            with pytest.raises(CleanupError):
                async with guard.guard(fault):
                    assert ledger.entries().entries[0].server_dies_with_run
                    raise CleanupError("the server is gone")
            return guard.watchdog_pid()

    pid = asyncio.run(run())
    wait_for(lambda: not is_running(pid))
    assert written(ledger) == []


@pytest.mark.parametrize("dosed", [False, True])
def test_only_a_path_without_a_dose_may_outlive_its_name(
    ledger: FaultLedger, path: OperatorPath, dosed: bool
) -> None:
    fault = beside(path, path.fault(expires_in_s=2.0))
    if not dosed:
        fault = replace(fault, toxics=())

    async def run() -> list[str]:
        async with RunGuard("run001", ledger) as guard:
            async with guard.guard(fault):
                body = {"name": fault.name, "listen": fault.listen, "upstream": fault.upstream}
                assert path.call("POST", "/proxies", body) == 201
                await asyncio.sleep(4.0)
                return path.names()

    left = [ORIGINAL] if dosed else sorted([ORIGINAL, fault.name])
    assert left == asyncio.run(run())


def test_a_server_that_cannot_be_cleaned_up_is_not_waited_for(
    ledger: FaultLedger, path: OperatorPath
) -> None:
    claim = Claim(path.url, path.upstream, path.listen, int(time.time()) + 60)
    ended_s = []

    async def run() -> None:
        async with RunGuard("run001", ledger, claim=claim) as guard:
            with pytest.raises(CleanupError):
                async with guard.guard(path.fault()):
                    ended_s.append(time.monotonic())
                    raise CleanupError("not gone", ["curl"])

    asyncio.run(run())
    assert time.monotonic() - ended_s[0] < 1.0
    wait_for(lambda: not written(ledger))  # the watchdog does both: the fault and the lease
    assert path.names() == [ORIGINAL]
