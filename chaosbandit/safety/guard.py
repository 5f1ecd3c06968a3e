"""The run's side of safety: a fault is on disk and watched before it exists, and until it is gone.

Implements `ports.Safety`, and keeps other runs off what this one claims. It asks a server only for
its lease; undoing is the work of the injector and of the watchdog.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from chaosbandit.errors import CleanupError, HarnessError
from chaosbandit.faults.fault import Fault
from chaosbandit.safety.bypass import run_bypass
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.safety.lock_files import locked, unlock
from chaosbandit.safety.owned_files import NotOursError
from chaosbandit.safety.run_claims import RunClaims
from chaosbandit.safety.run_faults import WatchedFaults, left_s
from chaosbandit.safety.watchdog_link import WatchdogLink
from chaosbandit.safety.watchdog_one_fault import UNDO_S
from chaosbandit.toxiproxy.lease import DURATION_S, Claim, Lease
from chaosbandit.toxiproxy.undo import Late
from chaosbandit.uninterrupted import in_thread, to_the_end

_Result = TypeVar("_Result")

TTL_S = 3.0
WATCHDOG_LOG = "watchdog.log"
_TOUCH_S = 0.2
_STOPPED_S = 1.0
_BYPASS_S = 3.0


class RunGuard:
    """Guards the faults of one run; `async with` it around everything that injects.

    `claim` is what no other run may have meanwhile; its lease is renewed every `renew_s`.

    Raises:
        TargetError: another run has what is claimed.
        HarnessError: the ledger is not writable, or by others, too; the run goes on elsewhere, no
            watchdog starts, or the server grants no lease.
    """

    def __init__(
        self,
        run: str,
        ledger: FaultLedger,
        *,
        claim: Claim | None = None,
        ttl_s: float = TTL_S,
        start_s: float = 5.0,
        ack_s: float = 2.0,
        lease_s: float = DURATION_S,
        renew_s: float = DURATION_S / 3,
    ) -> None:
        self._run = run
        self._ledger = ledger
        self._ttl_s = ttl_s
        self._start_s = start_s
        self._ack_s = ack_s
        self._lease_s = lease_s
        self._renew_s = renew_s
        self._claim = claim
        self._locks = RunClaims(ledger.directory, run)
        self._lease: Lease | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._faults = WatchedFaults(ledger, self._started_watchdog)
        self._unclean = False
        self._lock_file: FileIO | None = None

    async def __aenter__(self) -> Self:
        try:
            await in_thread(self._begin)
            self._tasks.append(asyncio.create_task(self._touch()))
            if self._lease is not None:
                await in_thread(self._lease.refuse_slow)
                await in_thread(self._lease.claim)
                self._tasks.append(asyncio.create_task(self._renew(self._lease)))
        except BaseException:
            await to_the_end(self._leave())
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await to_the_end(self._leave())

    # --- ports.Safety -----------------------------------------------------------------------------

    async def arm(self, fault: Fault) -> None:
        """Have it written down and watched; where that is interrupted, a new one is neither."""
        is_new = fault.name not in self._faults
        try:
            await in_thread(lambda: self._admit(fault))
        except asyncio.CancelledError:
            if is_new:
                await in_thread(lambda: self._faults.strike(fault))
            raise

    def resting(self, fault: Fault, rests: bool) -> None:
        """Tell the watchdog whether no call about the fault is on the wire."""
        self._faults.resting(fault, rests)

    async def strike(self, fault: Fault, late: Late | None = None) -> None:
        """Strike it out; with `late` it stays written, and the watchdog looks until then."""
        await in_thread(lambda: self._faults.strike(fault, late))

    async def failed(self, fault: Fault, error: CleanupError) -> CleanupError:
        """Leave it to the watchdog from now on, use the bypass once, and tell of both."""
        self._unclean = True
        found, bypassed = error.trouble.found, fault.bypass is not None
        await in_thread(
            lambda: self._faults.leave_to_watchdog(fault, found, bypassed=bypassed),
            interruptible=False,
        )
        told = [found]
        if bypassed:
            bypass = in_thread(lambda: run_bypass(fault, found, _BYPASS_S), interruptible=False)
            told.append(await bypass)
        if self.alive():
            told.append(
                f"the watchdog (process {self._faults.pid}) goes on trying for "
                f"{UNDO_S / 60:g} minutes, its log is {self._log}"
            )
        return CleanupError(replace(error.trouble, found="; ".join(told)))

    # --- what a run asks --------------------------------------------------------------------------

    def alive(self) -> bool:
        """Whether a watchdog is there."""
        return self._faults.alive()

    def watchdog_pid(self) -> int | None:
        """The process id of the watchdog that was started last; it may outlive the run."""
        return self._faults.pid

    def lost(self) -> str | None:
        """Why the run no longer has what it claimed, or None while it has."""
        return None if self._lease is None else self._lease.lost()

    def watched(self) -> str | None:
        """A sentence on what stays watched although it is gone, and until when; None if nothing."""
        found = self._faults.late()
        if not found:
            return None
        proxies = ", ".join(sorted({fault.proxy for fault, _ in found}))
        until_s = time.time() + max(left_s(late) for _, late in found)
        return (
            f"The watchdog (process {self._faults.pid}) keeps watching {proxies} until "
            f"{time.strftime('%H:%M:%SZ', time.gmtime(until_s))}, since a call to Toxiproxy went "
            "unanswered."
        )

    # --- the event loop's part --------------------------------------------------------------------

    async def _touch(self) -> None:
        """Tell the watchdog that this event loop is not stuck."""
        while True:
            if self._faults.link is not None:
                self._faults.link.touch()
            await asyncio.sleep(_TOUCH_S)

    async def _renew(self, lease: Lease) -> None:
        due_s = time.monotonic() + self._renew_s
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(_TOUCH_S)
            now_s = time.monotonic()
            # After a stop the watchdog may have taken us for dead, and the lease away.
            if now_s < due_s and now_s < began_s + _TOUCH_S + _STOPPED_S:
                continue
            wait_s = self._renew_s
            try:
                await in_thread(lease.renew)
            except (HarnessError, OSError):  # `lost` and the next `arm` tell of it
                wait_s /= 10
            due_s = time.monotonic() + wait_s

    async def _leave(self) -> None:
        try:
            for renewing in self._tasks[1:]:
                await _ended(renewing)
            # Of a server that could not even be cleaned up nobody waits: the watchdog has it all.
            if self._lease is not None:
                leave = self._lease.leave if self._unclean else self._lease.release
                await asyncio.to_thread(leave)
        finally:
            await asyncio.to_thread(self._end)
            for touching in self._tasks[:1]:
                await _ended(touching)

    # --- in threads -------------------------------------------------------------------------------

    @property
    def _log(self) -> Path:
        return self._ledger.directory / WATCHDOG_LOG

    def _begin(self) -> None:
        try:
            self._ledger.prepare()
            self._lock_file = self._locked()
            if self._claim is not None:
                self._locks.take(self._claim)
        except OSError as error:
            why, do = str(error), ""
            if isinstance(error, NotOursError):
                why, do = error.found, error.do
            raise HarnessError(
                f"the fault ledger {self._ledger.directory} not usable ({why})",
                wanted="a folder that this user alone can write to",
                do=do,
            ) from error
        if self._claim is not None:
            self._lease = self._lease_on(self._claim)
        self._faults.begin()

    def _locked(self) -> FileIO:
        path = self._ledger.lock_path(self._run)
        try:
            return locked(path)
        except BlockingIOError as error:
            raise HarnessError(
                f"run {self._run} is still going on in another process ({path} is locked)",
                do="wait for it or stop it",
            ) from error

    def _lease_on(self, claim: Claim) -> Lease:
        try:
            return Lease(
                self._run,
                claim,
                write=self._faults.arm,
                rests=lambda fault: self._faults.resting(fault, True),
                strike=self._faults.strike,
                duration_s=self._lease_s,
            )
        except ValueError as error:
            raise HarnessError(f"no lease can be taken: {error}") from error

    def _started_watchdog(self) -> WatchdogLink:
        locks = [self._ledger.lock_path(self._run), *self._locks.paths()]
        return WatchdogLink(self._log, self._ttl_s, self._start_s, self._ack_s, locks)

    def _admit(self, fault: Fault) -> None:
        if self._lease is not None:
            self._lease.confirm()
        self._faults.arm(fault)

    def _end(self) -> None:
        self._faults.end()
        self._locks.release()
        if self._lock_file is not None:
            unlock(self._lock_file, self._ledger.lock_path(self._run))
            self._lock_file = None


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
