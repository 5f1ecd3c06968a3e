"""Undoing one fault at its server, in one place: run, watchdog and `clean` all do it here.

    look --> nothing of ours: read back, done
      |  --> a living proxy: quiet; no answer in 0.5 s, or not allowed: cut
      |  --> a closed proxy: ours to open, or marked by a stand-in of ours: cut;
      |      closed by others: wait until it is empty, delete the toxics, leave it closed
      +--> marked by a stand-in of ours: the proxy is opened again, whoever had begun to cut it

Each round looks at the server instead of remembering, so it does not matter how far the injection,
or somebody else's undoing of it, came. Never `/reset`. What others did to the operator's proxy is
told and left as it is. Standard library only, since the watchdog uses it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from chaosbandit.faults import undo_steps
from chaosbandit.faults.addresses import accepts, host_of, is_loopback, same_address
from chaosbandit.faults.fault import Fault
from chaosbandit.faults.fault import Late as Late  # for those who wait for it
from chaosbandit.faults.names import is_lease
from chaosbandit.faults.softening import is_soft, may_be_quiet, soft_form
from chaosbandit.faults.undo_steps import DEADLINE_S, proxy_path, stand_in
from chaosbandit.toxiproxy.calls import LATE_S as LATE_S  # for those who wait for it
from chaosbandit.toxiproxy.calls import Calls, UnansweredError
from chaosbandit.toxiproxy.cut_and_reopen import Cutting, FrozenError
from chaosbandit.toxiproxy.listing import StrangeError, as_toxic, one_proxy, toxics_named
from chaosbandit.toxiproxy.undo_step_calls import RefusedError, send
from chaosbandit.toxiproxy.wire_format import ProxyRecord, ToxicRecord

FROZEN_S = 75.0  # freezes by clients that give up end by themselves after 45-60 s
_FIRST_LOOK_S = 0.1  # before a cut, which is in a hurry
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 2.0
_DEAD_S = 3.0  # a loopback server that refuses all this while is gone, and our faults with it
_LEASE_DEAD_S = 10.0  # nobody suffers from a lease, so there is time to be sure


class Way(Enum):
    """How toxics come off a living proxy."""

    QUIET = "quiet"  # softened, no connection is cut; a path of ours stays
    CUT = "cut"  # at once: the run is dead and nobody waits; a path of ours goes


class Others(Enum):
    """What others did to the proxy; told, and left as it is."""

    GONE = "gone"
    CLOSED = "closed"
    MOVED = "moved"  # it listens, or leads, elsewhere


@dataclass(frozen=True, slots=True)
class Undone:
    """A fault is gone: read back, or dead with its server."""

    cut: bool = False  # its proxy was closed on the way
    connections_cut: int | None = 0  # None: they could not be counted
    replaced: bool = False  # the proxy was deleted and created as it was
    others: Others | None = None
    late: Late | None = None
    died: bool = False  # with its server


class NotUndoneError(Exception):
    """A fault is not confirmed as undone: `found` is what was instead, at the fault's server."""

    def __init__(self, fault: Fault, found: str, *, served_by: str | None = None) -> None:
        self.fault = fault
        self.found = found
        self.served_by = served_by  # a stand-in of ours that users reach meanwhile
        super().__init__(f"{fault.name}: {found}")


def undo(
    fault: Fault,
    calls: Calls,
    within_s: float,
    *,
    way: Way = Way.QUIET,
    nobody_gave_up: bool = False,
    ours_to_open: bool = False,
    frozen_s: float = FROZEN_S,
) -> Undone:
    """Take `fault` off its server and read that back, again and again if need be.

    `nobody_gave_up` allows toxics without a soft form to come off quietly. `ours_to_open`: that
    the proxy is closed or gone may be the late effect of a call of ours. A proxy that hangs is
    looked at for `frozen_s` beyond `within_s`.

    Raises:
        NotUndoneError: not confirmed in time.
        StoppedError: `calls` was stopped meanwhile.
    """
    cutting = Cutting(fault, calls, frozen_s)
    return _Undoing(fault, calls, way, nobody_gave_up, ours_to_open, cutting).run(within_s)


def is_gone(fault: Fault, calls: Calls, within_s: float = DEADLINE_S) -> bool:
    """Whether the server shows nothing of the fault, and no stand-in for its proxy."""
    try:
        shown = one_proxy(calls, fault.proxy, within_s)
        if fault.owned and not fault.toxics:
            return shown is None
        marked = not fault.owned and one_proxy(calls, stand_in(fault), within_s) is not None
    except (UnansweredError, StrangeError):
        return False
    return not marked and not (shown and toxics_named(shown, fault.toxic_names))


@dataclass(slots=True)
class _Undoing:
    """One call of `undo`."""

    fault: Fault
    calls: Calls
    way: Way
    nobody_gave_up: bool
    ours_to_open: bool
    cutting: Cutting
    moved: bool = False
    refused_from_s: float | None = None

    def run(self, within_s: float) -> Undone:
        began_s, pause_s = time.monotonic(), _FIRST_PAUSE_S
        while True:
            try:
                return self._told(self._round())
            except FrozenError as error:
                raise NotUndoneError(self.fault, str(error), served_by=error.served_by) from error
            except (UnansweredError, StrangeError, RefusedError) as error:
                found = error.briefly if isinstance(error, UnansweredError) else str(error)
                if self._died(error):
                    return Undone(died=True)
            spent_s = time.monotonic() - began_s - self.cutting.looked_s
            if spent_s + pause_s >= within_s:
                raise NotUndoneError(self.fault, found)
            self.calls.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _round(self) -> Others | None:
        """One attempt from whatever the server shows; what others did to the proxy, if anything."""
        if self.fault.owned and (self.way is Way.CUT or not self.fault.toxics):
            self._drop()
            return None
        look_s = _FIRST_LOOK_S if self.way is Way.CUT else DEADLINE_S
        try:
            shown = one_proxy(self.calls, self.fault.proxy, look_s)
        except UnansweredError as error:
            if error.refused:
                raise
            self.cutting.cut(None)
        else:
            self._take_off(shown)
        return self._others(self.cutting.open_again(ours_to_open=self.ours_to_open))

    def _take_off(self, shown: ProxyRecord | None) -> None:
        if shown is None:
            return
        self._follow(shown)
        left = toxics_named(shown, self.fault.toxic_names)
        if not left or (shown.enabled and self._may_be_quiet(left) and self._quiet()):
            return
        if shown.enabled or self._is_ours_to_open():
            self.cutting.cut(shown)
        else:
            self.cutting.empty(shown)

    def _follow(self, shown: ProxyRecord) -> None:
        """Others may have moved the proxy: a stand-in for it must be where it is now."""
        fault = self.fault
        if same_address(shown.listen, fault.listen) and shown.upstream == fault.upstream:
            return
        self.moved = True
        self.fault = replace(fault, listen=shown.listen, upstream=shown.upstream)
        self.cutting.fault = self.fault

    def _may_be_quiet(self, left: Iterable[ToxicRecord]) -> bool:
        if all(is_soft(as_toxic(toxic)) for toxic in left):
            return True
        quiet = may_be_quiet(self.fault.toxics, nobody_gave_up=self.nobody_gave_up)
        return self.way is Way.QUIET and quiet

    def _quiet(self) -> bool:
        """Take the toxics off a living proxy; False where that hangs."""
        plan = undo_steps.quiet(self.fault)
        softened = len(undo_steps.soften(self.fault))
        try:
            send(self.calls, plan[:softened])
            if softened:
                self._read_back_soft()
            send(self.calls, plan[softened:])
        except UnansweredError as error:
            if error.refused:
                raise
            return False
        return True

    def _read_back_soft(self) -> None:
        shown = one_proxy(self.calls, self.fault.proxy, DEADLINE_S)
        left = () if shown is None else toxics_named(shown, self.fault.toxic_names)
        for toxic in map(as_toxic, left):
            if soft_form(toxic) is not None and not is_soft(toxic):
                raise RefusedError(f"{toxic.name} on {self.fault.proxy} was softened and is not")

    def _is_ours_to_open(self) -> bool:
        if self.ours_to_open or self.cutting.begun:
            return True
        fault = self.fault
        return not fault.owned and one_proxy(self.calls, stand_in(fault), DEADLINE_S) is not None

    def _drop(self) -> None:
        """Delete a proxy of ours, which must not hang then."""
        close, delete = undo_steps.drop(self.fault)
        there = is_lease(self.fault.proxy) or self.cutting.close_answered(close)
        if there and one_proxy(self.calls, self.fault.proxy, DEADLINE_S) is not None:
            send(self.calls, [delete])
        if one_proxy(self.calls, self.fault.proxy, DEADLINE_S) is not None:
            raise RefusedError(f"proxy {self.fault.proxy} is still there")

    # --- what there is to say ---------------------------------------------------------------------

    def _others(self, shown: ProxyRecord | None) -> Others | None:
        if shown is None:
            return Others.GONE
        if not shown.enabled:
            return Others.CLOSED
        return Others.MOVED if self.moved else None

    def _told(self, others: Others | None) -> Undone:
        cutting = self.cutting
        late = self._late()
        return Undone(cutting.begun, cutting.connections, cutting.replaced, others, late)

    def _late(self) -> Late | None:
        """Of calls on this proxy, or on its stand-in, that may still arrive."""
        sent = self.calls.unanswered(proxy_path(self.fault.proxy))
        closes = sent is not None and sent.closes
        ends_s = [] if sent is None else [sent.at_s]
        if not self.fault.owned:
            mark = self.calls.unanswered(proxy_path(stand_in(self.fault)))
            ends_s += [] if mark is None else [mark.at_s]
        return Late(max(ends_s) + LATE_S, closes) if ends_s else None

    def _died(self, error: Exception) -> bool:
        """Proxies live in memory only: where API and path are closed for good, so are ours.

        A port that is forwarded may open again with the server behind it: this takes a while.
        """
        now_s = time.monotonic()
        refused = isinstance(error, UnansweredError) and error.refused
        self.refused_from_s = (self.refused_from_s or now_s) if refused else None
        if self.refused_from_s is None or not is_loopback(host_of(self.fault.server)):
            return False
        refused_s = now_s - self.refused_from_s
        if is_lease(self.fault.proxy):
            return self.fault.dies_with_run or refused_s >= _LEASE_DEAD_S
        closed = accepts(self.fault.listen, self.fault.server) is False
        return closed and (self.fault.dies_with_run or refused_s >= _DEAD_S)
