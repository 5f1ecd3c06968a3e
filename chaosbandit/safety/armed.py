"""One fault in the watchdog's charge: its thread, its connection, and how it is undone.

    undo --> settle --> does the path serve? --yes--> struck out of the ledger
      ^                          | no
      +-- pause, revive once <---+        late: the operator's bypass, once, then on

It does not know when to undo, only how. Standard library and the files beside it only, since it
lives in the watchdog process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from chaosbandit.safety.bypass import run_bypass
from chaosbandit.safety.control import Control, StoppedError
from chaosbandit.safety.durable import remove_durably
from chaosbandit.safety.restore import (
    NotUndoneError,
    Remedy,
    manual_commands,
    path_serves,
    revive,
    settle,
    undo,
)

UNDO_S = 600.0
BYPASS_AFTER_S = 4.0
_BYPASS_S = 10.0
_OPEN_S = 0.25
_TICK_S = 1.0
_SETTLE_S = 0.3  # for calls the dying run still had on the wire
_LOOK_AGAIN_S = 0.5
_LOOKS_BEFORE_REVIVAL = 2
_REVIVAL_S = 10.0  # it closes a proxy, so there must be time left to see it open again
_NEVER_S = float("-inf")


class Armed:
    """A fault to be undone when the run cannot.

    Asking for it returns at once. Only the thread in here uses the connection, and what is asked
    while it is at work is done after that, so two undoings of one fault never meet.
    """

    def __init__(
        self, remedy: Remedy, ledger: Path, expires_s: float, note: Callable[[str], None]
    ) -> None:
        self.expires_s = expires_s
        self.undone_s = _NEVER_S  # it was gone at this moment, and still was a while later
        self._remedy = remedy
        self._ledger = ledger
        self._note = note
        self._control = Control(remedy.server)
        self._turn = threading.Condition()
        self._asked_s = self._answered_s = _NEVER_S
        self._why = ""
        self._stopped = self._revived = self._bypassed = False
        threading.Thread(target=self._stay, daemon=True).start()

    def undo(self, why: str) -> None:
        """Ask for the fault to be undone from now on, whatever was seen before."""
        with self._turn:
            self._asked_s, self._why = time.monotonic(), why
            self._turn.notify_all()

    def busy(self) -> bool:
        """Whether something that was asked for is not answered yet."""
        with self._turn:
            return self._is_asked()

    def wait(self) -> bool:
        """Wait until all that was asked for is answered; whether the fault is undone."""
        with self._turn:
            self._turn.wait_for(lambda: not self._is_asked())
            return self.undone_s >= self._asked_s

    def stop(self) -> None:
        """The fault is gone, or somebody else's again: begin no further call."""
        self._control.stop()
        with self._turn:
            self._stopped = True
            self._turn.notify_all()

    def _is_asked(self) -> bool:
        return self._answered_s < self._asked_s

    def _stay(self) -> None:
        while not self._stopped:
            with self._turn:
                asked = (self._asked_s, self._why) if self._is_asked() else None
            if asked is not None:
                self._answer(*asked)
                continue
            self._control.keep_open(_OPEN_S)
            with self._turn:
                if not self._is_asked() and not self._stopped:
                    self._turn.wait(_TICK_S)
        self._control.close()

    def _answer(self, asked_s: float, why: str) -> None:
        try:
            self._undo(asked_s + UNDO_S, why)
        except StoppedError:
            return
        except Exception as error:  # whatever it was, somebody must learn what to do by hand
            commands = "".join(f"\n  {line}" for line in manual_commands(self._remedy))
            self._note(f"NOT UNDONE ({why}) {error}; do by hand:{commands}")
        with self._turn:
            self._answered_s = max(asked_s, self.undone_s)
            self._turn.notify_all()

    def _undo(self, give_up_s: float, why: str) -> None:
        first_s = min(give_up_s, time.monotonic() + BYPASS_AFTER_S)
        try:
            self._undo_until_it_serves(first_s if self._may_bypass() else give_up_s)
        except NotUndoneError as error:
            if not self._may_bypass():
                raise
            self._bypassed = True
            self._note(f"not undone yet ({why}) {error}")
            self._note(run_bypass(self._remedy, f"{why}; {error}", _BYPASS_S))
            self._undo_until_it_serves(give_up_s)
            self._note(f"{self._remedy.name} is undone after all: take the bypass back")
        remove_durably(self._ledger)

    def _may_bypass(self) -> bool:
        return self._remedy.bypass is not None and not self._bypassed

    def _undo_until_it_serves(self, give_up_s: float) -> None:
        looks = 0
        while True:
            undo(self._remedy, give_up_s - time.monotonic(), self._control)
            undone_s = time.monotonic()
            self._control.wait(_SETTLE_S)
            settle(self._remedy, give_up_s - time.monotonic(), self._control)
            found = path_serves(self._remedy)
            if found is None:
                self.undone_s = undone_s
                return
            left_s = give_up_s - time.monotonic()
            if left_s <= _LOOK_AGAIN_S:
                raise NotUndoneError(f"{self._remedy.name} is gone, but {found}")
            looks += 1
            if looks >= _LOOKS_BEFORE_REVIVAL and left_s > _REVIVAL_S and not self._revived:
                self._revived = True
                revive(self._remedy, self._control)
            self._control.wait(_LOOK_AGAIN_S)
