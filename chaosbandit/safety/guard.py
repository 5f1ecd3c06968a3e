"""The run's side of safety: a fault is on disk and watched before it exists, and until it is gone.

Implements `ports.Safety`. It never talks to a server unless an exposure was interrupted, when it
looks for itself whether the fault is gone; undoing is the work of the injector and the watchdog.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from chaosbandit.core.model import Fault
from chaosbandit.errors import ChaosbanditError, CleanupError, HarnessError
from chaosbandit.safety.control import Control, UnansweredError
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.safety.restore import NotUndoneError, confirm, remedy_of
from chaosbandit.safety.watch import Watch, keep_from_children

_Result = TypeVar("_Result")

TTL_S = 3.0
_LOCK_S = 1.0
_LEAVE_S = 2.0
_CONFIRM_S = 4.0


class RunGuard:
    """Guards the faults of one run; `async with` it around everything that injects.

    `own_servers` are URLs of servers embedded in this process, whose faults end with it.

    Raises:
        HarnessError: the ledger is not writable, the run goes on elsewhere, or no watchdog starts.
    """

    def __init__(
        self,
        run: str,
        ledger: FaultLedger,
        *,
        own_servers: Collection[str] = (),
        ttl_s: float = TTL_S,
        start_s: float = 5.0,
        ack_s: float = 2.0,
    ) -> None:
        self._run = run
        self._ledger = ledger
        self._own_servers = frozenset(own_servers)
        self._ttl_s = ttl_s
        self._start_s = start_s
        self._ack_s = ack_s
        self._open: dict[str, Fault] = {}
        self._watch: Watch | None = None
        self._lock_file: FileIO | None = None
        self._turn = threading.Lock()  # the work is done in threads, one at a time

    async def __aenter__(self) -> Self:
        try:
            await _to_its_end(self._begin)
        except BaseException:
            await _to_its_end(self._end)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await _to_its_end(self._end)

    @asynccontextmanager
    async def guard(self, fault: Fault) -> AsyncIterator[None]:
        """Written down, watched, and struck out again unless its removal was not confirmed."""
        try:
            await _to_its_end(lambda: self._arm(fault))
        except asyncio.CancelledError:
            await _to_its_end(lambda: self._release(fault))
            raise
        try:
            yield
        except ChaosbanditError as error:
            if not _mentions_cleanup(error):
                await _to_its_end(lambda: self._release(fault))
            raise
        except BaseException as error:
            # The injector may have failed or been interrupted in its own removal: believe nothing.
            if not _mentions_cleanup(error) and await _to_its_end(lambda: _is_gone(fault)):
                await _to_its_end(lambda: self._release(fault))
            raise
        await _to_its_end(lambda: self._release(fault))

    def alive(self) -> bool:
        """Whether a watchdog is on duty."""
        return self._watch is not None and self._watch.alive()

    def watchdog_pid(self) -> int | None:
        """The process id of the watchdog, if one was started."""
        return None if self._watch is None else self._watch.pid

    def _begin(self) -> None:
        with self._turn:
            try:
                self._ledger.prepare()
                self._lock_file = self._locked()
            except OSError as error:
                raise HarnessError(
                    f"found the fault ledger {self._ledger.directory} not usable ({error}), "
                    "wanted a directory we can write to"
                ) from error
            self._start_watch()

    def _locked(self) -> FileIO:
        path = self._ledger.lock_path(self._run)
        give_up_s = time.monotonic() + _LOCK_S
        while True:
            file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.close()
                if time.monotonic() > give_up_s:  # a passing look by `clean` is over by then
                    raise HarnessError(
                        f"run {self._run} is still going on in another process ({path} is locked); "
                        "wait for it or stop it"
                    ) from error
                time.sleep(0.02)
            else:
                if _is_still_at(file, path):
                    keep_from_children(file)
                    return file
                file.close()  # its former owner has just removed it

    def _start_watch(self) -> Watch:
        log = self._ledger.directory / "watchdog.log"
        self._watch = watch = Watch(log, self._ttl_s, self._start_s, self._ack_s)
        for fault in self._open.values():
            self._hand_over(watch, fault)
        return watch

    def _hand_over(self, watch: Watch, fault: Fault) -> None:
        dies = fault.server in self._own_servers
        watch.arm(fault, self._ledger.path(fault.name), server_dies_with_run=dies)

    def _arm(self, fault: Fault) -> None:
        with self._turn:
            self._check(fault)
            try:
                dies = fault.server in self._own_servers
                self._ledger.record(fault, server_dies_with_run=dies)
            except OSError as error:
                raise HarnessError(
                    f"fault {fault.name} could not be written to {self._ledger.directory} "
                    f"({error}); nothing is injected that is not on disk"
                ) from error
            try:
                watch = self._watch
                if watch is None or not watch.alive():
                    self._let_go(0.0)
                    watch = self._start_watch()
                self._hand_over(watch, fault)
            except BaseException:
                self._ledger.strike(fault.name)
                raise
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
            if self._lock_file is not None:
                self._ledger.lock_path(self._run).unlink(missing_ok=True)
                self._lock_file.close()
                self._lock_file = None

    def _let_go(self, wait_s: float) -> None:
        if self._watch is not None:
            self._watch.close(wait_s)
            self._watch = None


async def _to_its_end(work: Callable[[], _Result]) -> _Result:
    """Run blocking `work` in a thread and await its end even if cancelled; it has deadlines."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
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


def _is_still_at(file: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _is_gone(fault: Fault) -> bool:
    control = Control(fault.server)
    try:
        confirm(remedy_of(fault), control, time.monotonic() + _CONFIRM_S)
    except (NotUndoneError, UnansweredError):
        return False
    finally:
        control.close()
    return True


def _mentions_cleanup(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(CleanupError) is not None
    return isinstance(error, CleanupError)
