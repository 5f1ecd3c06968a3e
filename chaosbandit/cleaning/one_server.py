"""One server at one moment: what is left there, what of it must go, and that it goes.

Brings together what the ledger says, what the server shows and the rules. What could not be undone,
or may be reached by a late call, is remembered and looked at again the next time.
"""

from __future__ import annotations

import shlex
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from chaosbandit.cleaning import path_notes
from chaosbandit.cleaning.leftovers import Leftover, leftovers_at
from chaosbandit.cleaning.report import CleanReport, Planned, Skipped, Unreachable, merged
from chaosbandit.cleaning.undo_all import UndoAll, plan
from chaosbandit.cleaning.what_stays import Life, Orders, is_honoured, is_on_duty, reason_to_stay
from chaosbandit.faults import by_hand
from chaosbandit.faults.names import SWEEPER, owner
from chaosbandit.safety.ledger import Entries, FaultLedger
from chaosbandit.toxiproxy.calls import Calls, UnansweredError
from chaosbandit.toxiproxy.listing import Listing, StrangeError, all_proxies

_WEDGED = (
    "if it stays like this, restart that Toxiproxy: its proxies, ours too, live in memory only"
)


class NotShownError(Exception):
    """A server did not show its proxies; the text says what it did instead."""


@dataclass(frozen=True, slots=True)
class Place:
    """A server to look at; `named`: by the caller, so it has to answer."""

    server: str
    named: bool


class OneServer:
    """Cleans up at one server, once or again and again."""

    def __init__(
        self, place: Place, ledger: FaultLedger, undo_all: UndoAll, say: Callable[[str], None]
    ) -> None:
        self.place = place
        self.open: dict[str, Leftover] = {}  # by name: to be looked at again
        self._ledger = ledger
        self._undo_all = undo_all
        self._say = say

    def clean(self, written: Entries, orders: Orders) -> CleanReport:
        """Have the server show its proxies, and undo there what must go."""
        try:
            calls = Calls(self.place.server)
        except ValueError as error:
            return self._unseen(written, orders, str(error))
        with closing(calls):
            self._say(f"looking at {self.place.server}")
            try:
                return self.act(written, shown(calls), orders)
            except NotShownError as error:
                report = self._unseen(written, orders, str(error))
            if not report.undone:
                return report
            try:  # closing a wedged proxy frees the list of all others
                again = self.act(self._ledger.entries(), shown(calls), orders)
            except NotShownError:
                return report
            first = tuple(fault for fault in report.undone if fault not in again.undone)
            return merged([CleanReport(undone=first, notes=report.notes), again])

    def act(self, written: Entries, listing: Listing | None, orders: Orders) -> CleanReport:
        """Undo what is due; without a listing only what the ledger tells of, or was left open."""
        found = self._with_open(leftovers_at(self.place.server, written, listing))
        mine = [one for one in found if not is_on_duty(one.fault, orders.now_epoch_s)]
        asked = [one for one in mine if orders.concern(one.fault.run)]
        others = {one.fault.run for one in mine} - {one.fault.run for one in asked} - {SWEEPER}
        judged = list(zip(asked, self._reasons(asked, written, orders), strict=True))
        due = [one for one, why in judged if why is None]
        report = CleanReport(
            planned=tuple(map(_planned, due)) if orders.dry_run else (),
            skipped=tuple(Skipped(one.fault, why) for one, why in judged if why is not None),
            notes=tuple(note for one in due for note in path_notes.of_the_file(one)),
            other_runs=tuple(sorted(others)),
            dry_run=orders.dry_run,
        )
        return report if orders.dry_run else merged([report, self._undone(due)])

    def _with_open(self, found: list[Leftover]) -> list[Leftover]:
        """Those that were left open keep what is known of late calls, and are not forgotten."""
        left = dict(self.open)
        for n, one in enumerate(found):
            if (before := left.pop(one.fault.name, None)) is not None:
                late_s, opens = before.late_until_s, before.ours_to_open
                found[n] = replace(one, late_until_s=late_s, ours_to_open=opens)
        return [*found, *left.values()]

    def _reasons(
        self, found: Sequence[Leftover], written: Entries, orders: Orders
    ) -> list[str | None]:
        """Why each of them stays, or None; a toxic in its time is no reason for its path to go."""
        now_epoch_s, local = orders.now_epoch_s, _local_runs(self._ledger, written)
        expired = (one for one in found if one.fault.expires_epoch_s <= now_epoch_s)
        dosed = {one.fault.proxy for one in expired if one.fault.toxics or one.foreign_toxics}
        ends = _lease_ends(found, now_epoch_s)
        return [
            reason_to_stay(
                one.fault,
                dosed=one.fault.proxy in dosed,
                life=self._life(one.fault.run, local),
                lease_end_epoch_s=ends.get(one.fault.run, 0),
                orders=orders,
            )
            for one in found
        ]

    def _life(self, run: str, local: set[str]) -> Life:
        if self._ledger.is_alive(run):
            return Life.ALIVE
        return Life.DEAD if run in local else Life.ELSEWHERE

    def _undone(self, due: Sequence[Leftover]) -> CleanReport:
        if due:
            self._say(f"undoing {len(due)} at {self.place.server}")
        outcomes = self._undo_all.run(due)
        self.open = {one.leftover.fault.name: one.leftover for one in outcomes if one.is_open}
        return CleanReport(
            undone=tuple(one.leftover.fault for one in outcomes if one.undone is not None),
            failed=tuple(one.failed for one in outcomes if one.failed is not None),
            notes=tuple(note for one in outcomes for note in one.notes),
        )

    def _unseen(self, written: Entries, orders: Orders, why: str) -> CleanReport:
        """A server that only the ledger knows may be gone with its run; its faults tell.

        A dry run undoes none that could tell, so there the server itself is told of.
        """
        report = self.act(written, None, orders)
        lasting = any(not item.fault.dies_with_run for item in report.planned)
        told = self.place.named or lasting
        there = (Unreachable(self.place.server, why),) if told else ()
        return replace(report, unreachable=there)


def shown(calls: Calls) -> Listing:
    """What the server lists; asked twice, since one answer may be late on a busy host.

    Raises:
        NotShownError: nothing, or not all of it.
    """
    for is_last in (False, True):
        try:
            return all_proxies(calls)
        except StrangeError as error:
            raise NotShownError(str(error)) from error
        except UnansweredError as error:
            if is_last or _is_elsewhere(error):
                hint = "" if _is_elsewhere(error) else f"; {_WEDGED}"
                raise NotShownError(f"{in_words(error)}{hint}") from error
    raise AssertionError


def in_words(error: UnansweredError) -> str:
    """Why there was no answer, for a line that has the server's address already."""
    cause = error.__cause__
    if error.refused:
        return "connection refused; is a Toxiproxy server running there?"
    if isinstance(cause, socket.gaierror):
        said = (cause.strerror or "unknown").lower()
        host = error.url.partition("//")[2].rpartition(":")[0]
        return f"the host name {host} does not resolve ({said})"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return f"{error.call}: {error.why}"


def _is_elsewhere(error: UnansweredError) -> bool:
    """Whether no server was met at all, so that asking again or restarting it is no help."""
    return error.refused or isinstance(error.__cause__, socket.gaierror)


def _lease_ends(found: Iterable[Leftover], now_epoch_s: float) -> dict[str, int]:
    """Until when, at the latest, each run holds a lease that the server shows."""
    ends: dict[str, int] = {}
    for fault in (one.fault for one in found if one.shown is not None):
        if is_honoured(fault, now_epoch_s):
            ends[fault.run] = max(fault.expires_epoch_s, ends.get(fault.run, 0))
    return ends


def _local_runs(ledger: FaultLedger, written: Entries) -> set[str]:
    """Runs of this host, of which its locks tell whether they are alive."""
    names = [entry.fault.name for entry in written.entries]
    names += [item.path.stem for item in written.damaged]
    runs = {run for name in names if (run := owner(name)) is not None}
    locks = ledger.directory.glob("run-*.lock")
    return runs.union(path.stem.removeprefix("run-") for path in locks)


def _planned(leftover: Leftover) -> Planned:
    fault, bypass = leftover.fault, leftover.fault.bypass
    if isinstance(bypass, str):  # a secret may stand behind the ?
        bypass = ("POST", bypass.partition("?")[0] + ("?..." if "?" in bypass else ""))
    commands = tuple(by_hand.line(fault.server, step) for step in plan(leftover))
    return Planned(fault, commands, None if bypass is None else shlex.join(bypass))
