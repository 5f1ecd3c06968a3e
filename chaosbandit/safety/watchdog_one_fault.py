"""One fault in the watchdog's charge: its thread, its connections, and how it is undone.

    asked --> undo, again and again --> gone --> look until no late call can arrive --> struck out
                 |    ^                              | something did
                 |    +------------------------------+
                 +-- 4 s: the operator's bypass, once; 10 min: told what to do by hand

It does not know when to undo, only how. Standard library and what the watchdog may import only.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaosbandit.faults.by_hand import commands
from chaosbandit.faults.fault import Fault
from chaosbandit.faults.names import is_lease
from chaosbandit.safety.bypass import run_bypass
from chaosbandit.safety.durable_files import remove_durably
from chaosbandit.toxiproxy.calls import Calls, StoppedError
from chaosbandit.toxiproxy.undo import (
    FROZEN_S,
    LATE_S,
    NotUndoneError,
    Undone,
    Way,
    is_gone,
    undo,
)

UNDO_S = 600.0
BYPASS_AFTER_S = 4.0
_BYPASS_S = 10.0
_ATTEMPT_S = 15.0  # then what was asked meanwhile counts
_AGAIN_S = 1.0
_LOOK_S = 0.25
_OPEN_S = 0.25
_TICK_S = 1.0
_CONNECTIONS = 2  # a cut opens the stand-in before the closing is answered
_NEVER_S = float("-inf")


@dataclass(frozen=True, slots=True)
class _Asked:
    at_s: float
    why: str
    way: Way


class ArmedFault:
    """A fault to be undone when the run cannot.

    Asking for it returns at once. Only the thread in here uses the connections, and what is asked
    while it is at work is done after that, so two undoings of one fault never meet.
    """

    def __init__(self, fault: Fault, ledger: Path, note: Callable[[str], None]) -> None:
        self.fault = fault
        self.rests = False  # no call of the run about it is on the wire
        self.only_looks = False  # the run saw it gone; a late call of the run is waited for
        self.undone_s = _NEVER_S  # it was gone at this moment
        self.expires_s = math.inf if _lives_with_run(fault) else _at_monotonic_s(fault)
        self._ledger = ledger
        self._note = note
        self._calls = Calls(fault.server)
        self._turn = threading.Condition()
        self._asked: _Asked | None = None
        self._way = Way.QUIET
        self._late_until_s = _NEVER_S
        self._ours_to_open = False
        self._looking = self._bypassed = self._stopped = False
        self._noted = ""
        threading.Thread(target=self._stay, daemon=True).start()

    def undo(self, why: str, way: Way, *, bypassed: bool = False) -> None:
        """Ask for the fault to be undone from now on, whatever was seen before."""
        with self._turn:
            self._asked = _Asked(time.monotonic(), why, way)
            self.only_looks = False
            self._bypassed |= bypassed
            if not self.rests:
                self._expect(self._asked.at_s + LATE_S, closes=way is Way.CUT)
            self._turn.notify_all()

    def look(self, until_s: float, *, closes: bool) -> None:
        """It was seen gone; until then a call may arrive that puts it back, or closes its proxy."""
        with self._turn:
            self.only_looks = self._looking = True
            self._expect(until_s, closes=closes)
            self._turn.notify_all()

    def busy(self) -> bool:
        """Whether it is being undone."""
        return self._asked is not None

    def wait(self) -> bool:
        """Wait until nothing is left to be done; whether the fault is gone."""
        with self._turn:
            self._turn.wait_for(lambda: self._asked is None and not self._looking)
            return self.only_looks or self.undone_s > _NEVER_S

    def stop(self) -> None:
        """The fault is gone, or somebody else's again: begin no further call."""
        self._calls.stop()
        with self._turn:
            self._stopped = True
            self._turn.notify_all()

    def _expect(self, until_s: float, *, closes: bool) -> None:
        self._late_until_s = max(self._late_until_s, until_s)
        self._ours_to_open |= closes

    def _stay(self) -> None:
        while not self._stopped:
            asked = self._asked
            try:
                if asked is not None:
                    self._attempt(asked)
                elif self._looking:
                    self._look()
                else:
                    self._calls.keep_open(_CONNECTIONS, _OPEN_S)
            except StoppedError:
                break
            except Exception as error:  # whatever it was, somebody must learn what to do by hand
                self._give_up(asked, f"{type(error).__name__}: {error}")
            with self._turn:
                if self._asked is None and not self._stopped:
                    self._turn.wait(_LOOK_S if self._looking else _TICK_S)
        self._calls.close()

    # --- undoing ----------------------------------------------------------------------------------

    def _attempt(self, asked: _Asked) -> None:
        give_up_s = asked.at_s + (BYPASS_AFTER_S if self._may_bypass() else UNDO_S)
        left_s = max(give_up_s - time.monotonic(), 0.0)
        try:
            undone = undo(
                self.fault,
                self._calls,
                min(left_s, _ATTEMPT_S),
                way=asked.way,
                ours_to_open=self._ours_to_open,
                frozen_s=0.0 if self._may_bypass() else min(FROZEN_S, left_s),
            )
        except NotUndoneError as error:
            self._failed(asked, error, give_up_s)
        else:
            self._gone(asked, undone)

    def _may_bypass(self) -> bool:
        return self.fault.bypass is not None and not self._bypassed

    def _failed(self, asked: _Asked, error: NotUndoneError, give_up_s: float) -> None:
        served = f"; users are served by {error.served_by}" if error.served_by else ""
        found = f"({asked.why}) {error}{served}"
        if found != self._noted:
            self._noted = found
            self._note(f"not undone yet {found}")
        if self._may_bypass():
            self._calls.wait(max(give_up_s - time.monotonic(), 0.0))
            self._bypassed = True
            self._note(run_bypass(self.fault, f"{asked.why}; {error}", _BYPASS_S))
        elif time.monotonic() + _AGAIN_S < give_up_s:
            self._calls.wait(_AGAIN_S)
        else:
            self._give_up(asked, str(error))

    def _give_up(self, asked: _Asked | None, why: str) -> None:
        by_hand = "".join(f"\n  {line}" for line in commands(self.fault))
        reason = "a late call was looked for" if asked is None else asked.why
        self._note(f"NOT UNDONE ({reason}) {why}; do by hand:{by_hand}")
        with self._turn:
            self.undone_s, self.only_looks = _NEVER_S, False
            self._answer(asked)
            self._looking = False

    def _gone(self, asked: _Asked, undone: Undone) -> None:
        self._tell(undone, asked.why)
        if self._noted and self._bypassed:
            self._note(f"{self.fault.name} is undone after all: take the bypass back")
        self._noted = ""
        with self._turn:
            self.undone_s, self._way = time.monotonic(), asked.way
            self._looking = True
            self._answer(asked)
        self._until_nothing_is_late(undone)

    def _answer(self, asked: _Asked | None) -> None:
        if self._asked is asked:
            self._asked = None
        self._turn.notify_all()

    def _tell(self, undone: Undone, why: str) -> None:
        if undone.cut:
            count = undone.connections_cut
            cut = "its connections were cut" if count is None else f"{count} connections were cut"
            replaced = "; it was deleted and created as it was" if undone.replaced else ""
            self._note(f"{self.fault.name} is undone ({why}): {self.fault.proxy} {cut}{replaced}")
        if undone.others is not None:
            self._note(f"{self.fault.proxy} was found {undone.others.value}, by others; left so")

    # --- late calls -------------------------------------------------------------------------------

    def _look(self) -> None:
        """See that nothing has arrived, and undo what has."""
        if not self._ours_to_open and is_gone(self.fault, self._calls):
            return self._until_nothing_is_late(Undone())
        why = "a late call arrived"
        try:
            undone = undo(
                self.fault,
                self._calls,
                _ATTEMPT_S,
                way=self._way,
                ours_to_open=self._ours_to_open,
                frozen_s=0.0,
            )
        except NotUndoneError:
            with self._turn:
                self._asked = self._asked or _Asked(time.monotonic(), why, self._way)
            return None
        self._tell(undone, why)
        return self._until_nothing_is_late(undone)

    def _until_nothing_is_late(self, undone: Undone) -> None:
        """The ledger's file goes when nothing of the fault can come back any more."""
        with self._turn:
            if undone.late is not None:
                self._expect(undone.late.until_s, closes=undone.late.closes)
            if time.monotonic() < self._late_until_s and not undone.died:
                return
        try:
            remove_durably(self._ledger)
        except OSError as error:
            self._note(f"{self.fault.name} is gone, but not its file in the ledger: {error}")
        with self._turn:
            self._looking = False
            self._stopped |= self.only_looks  # the run has no more to do with it
            self._turn.notify_all()


def _lives_with_run(fault: Fault) -> bool:
    """Whether it is a path of ours without a dose: its run beats, and holds a lease."""
    return fault.owned and not fault.toxics and not is_lease(fault.proxy)


def _at_monotonic_s(fault: Fault) -> float:
    return time.monotonic() + fault.expires_epoch_s - time.time()
