"""The faults of one run, each on disk and in the watchdog's charge for as long as it may exist.

Blocking calls with deadlines, one at a time; `guard` makes them in threads. A watchdog that is dead
or hangs is replaced by another, which takes over all that its predecessor had.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from chaosbandit.errors import HarnessError
from chaosbandit.faults.fault import Fault
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.safety.watchdog_link import WatchdogLink
from chaosbandit.toxiproxy.calls import Calls
from chaosbandit.toxiproxy.undo import Late

_LEAVE_S = 2.0


class WatchedFaults:
    """What is written in `ledger` and watched; `start` starts a watchdog."""

    def __init__(self, ledger: FaultLedger, start: Callable[[], WatchdogLink]) -> None:
        self._ledger = ledger
        self._start = start
        self._open: dict[str, Fault] = {}
        self._resting: set[str] = set()
        self._late: dict[str, tuple[Fault, Late]] = {}
        self._turn = threading.Lock()
        self.link: WatchdogLink | None = None
        self.pid: int | None = None  # of the watchdog that was started last

    def begin(self) -> None:
        """Have a watchdog.

        Raises:
            HarnessError: none starts.
        """
        with self._turn:
            self._living()

    def __contains__(self, name: str) -> bool:
        return name in self._open

    def arm(self, fault: Fault) -> None:
        """Have it watched and written down, or anew; calls about it may be on the wire then.

        Raises:
            HarnessError: it cannot be.
        """
        self._check(fault)
        with self._turn:
            # Watched before it is written: whoever dies in between leaves nothing written either.
            link = self._living()
            self._resting.discard(fault.name)
            link.arm(fault, self._ledger.path(fault.name))
            try:
                self._ledger.record(fault)
            except OSError as error:
                if fault.name not in self._open:
                    with suppress(HarnessError):
                        link.disarm(fault.name)
                raise HarnessError(
                    f"fault {fault.name} not written to {self._ledger.directory} ({error})",
                    wanted="it on disk before it is injected",
                ) from error
            self._open[fault.name] = fault
            self._late.pop(fault.name, None)

    def resting(self, fault: Fault, rests: bool) -> None:
        """Whether no call about it is on the wire; from any thread, at once, and never raises."""
        (self._resting.add if rests else self._resting.discard)(fault.name)
        link = self.link
        if link is not None:
            link.rests(fault.name, rests)

    def strike(self, fault: Fault, late: Late | None = None) -> None:
        """It is gone; with `late`, a call that may still arrive, it stays until then.

        Raises:
            HarnessError: its file stays, or nobody can watch it.
        """
        with self._turn:
            self._open.pop(fault.name, None)
            if late is not None and left_s(late) > 0:
                self._late[fault.name] = (fault, late)
                return self._pass_on_late(self._living(), fault, late)
            try:
                self._ledger.strike(fault.name)
            except OSError as error:
                raise HarnessError(
                    f"fault {fault.name} is gone, but not its file in the ledger ({error})",
                    do="run `chaosbandit clean` when the disk is well again",
                ) from error
            if self.link is not None and self.link.alive():
                with suppress(HarnessError):  # it finds nothing to undo; the next gets another one
                    self.link.disarm(fault.name)
        return None

    def leave_to_watchdog(self, fault: Fault, why: str, *, bypassed: bool) -> None:
        """Have it undone from now on; without a watchdog nobody does, and `alive` says so."""
        with self._turn, suppress(HarnessError):
            self._living().undo(fault.name, why, bypassed=bypassed)

    def late(self) -> list[tuple[Fault, Late]]:
        """What is gone and still watched."""
        return [(fault, late) for fault, late in self._late.values() if left_s(late) > 0]

    def alive(self) -> bool:
        """Whether a watchdog is there."""
        return self.link is not None and self.link.alive()

    def end(self) -> None:
        """Let the watchdog go, which stays as long as there is something to do for it."""
        with self._turn:
            self._let_go(0.0 if self._open or self._late else _LEAVE_S)

    def _check(self, fault: Fault) -> None:
        try:
            self._ledger.path(fault.name)
            Calls(fault.server)
        except ValueError as error:
            raise HarnessError(f"this fault could not be undone: {error}") from error
        if fault.toxics and fault.expires_epoch_s <= time.time():
            raise HarnessError(f"fault {fault.name} is not injected: its expiry is in the past")

    def _living(self) -> WatchdogLink:
        if self.link is not None and self.link.alive():
            return self.link
        self._let_go(0.0)
        self.link = link = self._start()
        self.pid = link.pid
        for fault in self._open.values():
            link.arm(fault, self._ledger.path(fault.name))
            link.rests(fault.name, fault.name in self._resting)
        for fault, late in self.late():
            self._pass_on_late(link, fault, late)
        return link

    def _pass_on_late(self, link: WatchdogLink, fault: Fault, late: Late) -> None:
        link.late(fault, self._ledger.path(fault.name), left_s(late), closes=late.closes)

    def _let_go(self, wait_s: float) -> None:
        if self.link is not None:
            self.link.close(wait_s)
            self.link = None


def left_s(late: Late) -> float:
    """How long a late call may still arrive."""
    return late.until_s - time.monotonic()
