"""The run's side of safety: a fault is on disk and watched before it exists, and until it is gone.

Implements `ports.Safety`, and keeps other runs off what this one claims. It looks at a server only
for its lease, and after an interruption, to see for itself whether the fault is gone; undoing is
the work of the injector and the watchdog.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager, suppress
from io import FileIO
from types import TracebackType
from typing import Any, Self, TypeVar

from chaosbandit.core.model import Fault
from chaosbandit.core.names import parse_lease
from chaosbandit.errors import ChaosbanditError, CleanupError, HarnessError
from chaosbandit.safety.armed import UNDO_S
from chaosbandit.safety.bypass import run_bypass
from chaosbandit.safety.claims import LocalClaims, locked, unlock
from chaosbandit.safety.control import Control, UnansweredError
from chaosbandit.safety.lease import DURATION_S, Claim, Lease
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.safety.restore import NotUndoneError, confirm, remedy_of
from chaosbandit.safety.watch import Watch

_Result = TypeVar("_Result")

TTL_S = 3.0
WATCHDOG_LOG = "watchdog.log"
_TOUCH_S = 0.2
_STOPPED_S = 1.0
_BYPASS_S = 3.0
_LEAVE_S = 2.0
_CONFIRM_S = 4.0


class RunGuard:
    """Guards the faults of one run; `async with` it around everything that injects.

    `own_servers` are URLs of servers embedded in this process, whose faults end with it. `claim` is
    what no other run may have meanwhile; its lease is renewed every `renew_s`.

    Raises:
        TargetError: another run has what is claimed.
        HarnessError: the ledger is not writable, the run goes on elsewhere, no watchdog starts, or
            the server grants no lease.
    """

    def __init__(
        self,
        run: str,
        ledger: FaultLedger,
        *,
        claim: Claim | None = None,
        own_servers: Collection[str] = (),
        ttl_s: float = TTL_S,
        start_s: float = 5.0,
        ack_s: float = 2.0,
        lease_s: float = DURATION_S,
        renew_s: float = DURATION_S / 3,
    ) -> None:
        self._run = run
        self._ledger = ledger
        self._own_servers = frozenset(own_servers)
        self._ttl_s = ttl_s
        self._start_s = start_s
        self._ack_s = ack_s
        self._lease_s = lease_s
        self._renew_s = renew_s
        self._claim = claim
        self._claims = LocalClaims(ledger.directory, run)
        self._lease: Lease | None = None
        self._touching: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._open: dict[str, Fault] = {}
        self._unclean = False
        self._watch: Watch | None = None
        self._lock_file: FileIO | None = None
        self._turn = threading.Lock()  # the work is done in threads, one at a time

    async def __aenter__(self) -> Self:
        try:
            await _to_its_end(self._begin)
            self._touching = asyncio.create_task(self._touch())
            if self._lease is not None:
                await _to_its_end(self._lease.claim)
                self._renewing = asyncio.create_task(self._renew(self._lease))
        except BaseException:
            await _finished(self._leave())
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await _finished(self._leave())

    @asynccontextmanager
    async def guard(self, fault: Fault) -> AsyncIterator[None]:
        """Written down, watched, and struck out again unless its removal was not confirmed.

        Where it was not, the operator's bypass is used, if the fault names one, and the error also
        says that the watchdog goes on.

        Raises:
            HarnessError: it cannot be guarded, or the run no longer has what it claimed.
        """
        try:
            await _to_its_end(lambda: self._admit(fault))
        except asyncio.CancelledError:
            await _to_its_end(lambda: self._release(fault))
            raise
        try:
            yield
        except BaseException as error:
            unclean = _cleanup_failure(error)
            self._unclean |= unclean is not None
            if unclean is not None:
                raise await self._told(fault, unclean) from error
            # The injector may have failed or been interrupted in its own removal: unless it says
            # that it is through, believe nothing.
            through = isinstance(error, ChaosbanditError)
            if unclean is None and (through or await _to_its_end(lambda: _is_gone(fault))):
                await _to_its_end(lambda: self._release(fault))
            raise
        await _to_its_end(lambda: self._release(fault))

    def alive(self) -> bool:
        """Whether a watchdog is on duty."""
        return self._watch is not None and self._watch.alive()

    def watchdog_pid(self) -> int | None:
        """The process id of the watchdog, if one was started."""
        return None if self._watch is None else self._watch.pid

    def lost(self) -> str | None:
        """Why the run no longer has what it claimed, or None while it has."""
        return None if self._lease is None else self._lease.lost()

    async def _told(self, fault: Fault, unclean: CleanupError) -> CleanupError:
        """The failed clean-up, and who does what about it meanwhile, before the commands."""
        listed = "".join(f"\n  {command}" for command in unclean.commands)
        message = str(unclean).removesuffix(listed)
        said = [] if fault.bypass is None else [await _bypassed(fault, message)]
        if self.alive():
            log = self._ledger.directory / WATCHDOG_LOG
            said.append(
                f"The watchdog (process {self.watchdog_pid()}) goes on trying for "
                f"{UNDO_S / 60:g} minutes; its log is {log}."
            )
        if message.endswith(":"):  # the last sentence introduces the commands
            before, stop, introduction = message.rpartition(". ")
            told = f"{before}{stop}{' '.join(said)} {introduction}"
        else:
            told = " ".join([f"{message.rstrip('.')}.", *said])
        return CleanupError(told, unclean.commands)

    async def _touch(self) -> None:
        """Tell the watchdog that this event loop is not stuck."""
        while True:
            if self._watch is not None:
                self._watch.touch()
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
                await _to_its_end(lease.renew)
            except (HarnessError, OSError):  # `lost` and the next `guard` tell of it
                wait_s /= 10
            due_s = time.monotonic() + wait_s

    async def _leave(self) -> None:
        try:
            await _ended(self._renewing)
            # Of a server that could not even be cleaned up nobody waits: the watchdog has it all.
            if self._lease is not None:
                leave = self._lease.leave if self._unclean else self._lease.release
                await asyncio.to_thread(leave)
        finally:
            await asyncio.to_thread(self._end)
            await _ended(self._touching)

    def _begin(self) -> None:
        with self._turn:
            try:
                self._ledger.prepare()
                self._lock_file = self._locked()
                if self._claim is not None:
                    self._claims.take(self._claim)
            except OSError as error:
                raise HarnessError(
                    f"found the fault ledger {self._ledger.directory} not usable ({error}), "
                    "wanted a directory we can write to"
                ) from error
            if self._claim is not None:
                self._lease = self._lease_on(self._claim)
            self._start_watch()

    def _locked(self) -> FileIO:
        path = self._ledger.lock_path(self._run)
        try:
            return locked(path)
        except BlockingIOError as error:
            raise HarnessError(
                f"run {self._run} is still going on in another process ({path} is locked); "
                "wait for it or stop it"
            ) from error

    def _lease_on(self, claim: Claim) -> Lease:
        try:
            return Lease(
                self._run,
                claim,
                write=self._arm,
                strike=self._release,
                duration_s=self._lease_s,
            )
        except ValueError as error:
            raise HarnessError(f"no lease can be taken: {error}") from error

    def _start_watch(self) -> Watch:
        log = self._ledger.directory / WATCHDOG_LOG
        locks = [self._ledger.lock_path(self._run), *self._claims.paths()]
        self._watch = watch = Watch(log, self._ttl_s, self._start_s, self._ack_s, locks)
        for fault in self._open.values():
            if parse_lease(fault.name) is None or fault.expires_epoch_s > time.time():
                self._hand_over(watch, fault)  # a lease out of time is in nobody's way
        return watch

    def _hand_over(self, watch: Watch, fault: Fault) -> None:
        dies = fault.server in self._own_servers
        watch.arm(fault, self._ledger.path(fault.name), server_dies_with_run=dies)

    def _admit(self, fault: Fault) -> None:
        if self._lease is not None:
            self._lease.confirm()
        self._arm(fault)

    def _arm(self, fault: Fault) -> None:
        with self._turn:
            self._check(fault)
            # Watched before it is written: whoever dies in between leaves nothing written either.
            watch = self._watch
            if watch is None or not watch.alive():
                self._let_go(0.0)
                watch = self._start_watch()
            self._hand_over(watch, fault)
            try:
                dies = fault.server in self._own_servers
                self._ledger.record(fault, server_dies_with_run=dies)
            except OSError as error:
                with suppress(HarnessError):
                    watch.disarm(fault.name)
                raise HarnessError(
                    f"fault {fault.name} could not be written to {self._ledger.directory} "
                    f"({error}); nothing is injected that is not on disk"
                ) from error
            self._open[fault.name] = fault

    def _check(self, fault: Fault) -> None:
        try:
            self._ledger.path(fault.name)
            Control(fault.server)
        except ValueError as error:
            raise HarnessError(f"this fault could not be undone: {error}") from error

    def _release(self, fault: Fault) -> None:
        with self._turn:
            self._open.pop(fault.name, None)
            try:
                self._ledger.strike(fault.name)
            except OSError as error:
                raise HarnessError(
                    f"fault {fault.name} is gone, but not its file in the ledger ({error}); "
                    "run `chaosbandit clean` when the disk is well again"
                ) from error
            if self._watch is not None and self._watch.alive():
                try:
                    self._watch.disarm(fault.name)
                except HarnessError:
                    return  # it will find nothing to undo; the next guard starts another one

    def _end(self) -> None:
        with self._turn:
            self._let_go(0.0 if self._open else _LEAVE_S)
            self._claims.release()
            if self._lock_file is not None:
                unlock(self._lock_file, self._ledger.lock_path(self._run))
                self._lock_file = None

    def _let_go(self, wait_s: float) -> None:
        if self._watch is not None:
            self._watch.close(wait_s)
            self._watch = None


async def _to_its_end(work: Callable[[], _Result]) -> _Result:
    """Run blocking `work` in a thread and await its end even if cancelled; it has deadlines."""
    return await _finished(asyncio.to_thread(work))


async def _finished(work: Coroutine[Any, Any, _Result]) -> _Result:
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()  # told to nobody else
        raise cancelled
    return task.result()


async def _ended(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait([task])


async def _bypassed(fault: Fault, why: str) -> str:
    """Use the operator's bypass and say what came of it."""
    call = asyncio.ensure_future(
        asyncio.to_thread(run_bypass, remedy_of(fault), why=why, within_s=_BYPASS_S)
    )
    while not call.done():
        with suppress(asyncio.CancelledError):  # a clean-up that failed outranks it
            await asyncio.wait([call])
    return call.result()


def _is_gone(fault: Fault) -> bool:
    control = Control(fault.server)
    try:
        confirm(remedy_of(fault), control, time.monotonic() + _CONFIRM_S)
    except (NotUndoneError, UnansweredError):
        return False
    finally:
        control.close()
    return True


def _cleanup_failure(error: BaseException) -> CleanupError | None:
    if isinstance(error, BaseExceptionGroup):
        found = (_cleanup_failure(each) for each in error.exceptions)
        return next((each for each in found if each is not None), None)
    return error if isinstance(error, CleanupError) else None
