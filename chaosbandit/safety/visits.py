"""One server at one moment: what is left there, what of it must go, and that it goes.

Brings together what the ledger says, what the server shows and the rules; it asks no server to
list its proxies itself unless told to, since a sweeper keeps its own connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from chaosbandit.core.model import Fault
from chaosbandit.core.names import SWEEPER, owner
from chaosbandit.safety.cleaned import CleanReport, Skipped, Unreachable, merged
from chaosbandit.safety.control import Control
from chaosbandit.safety.ledger import Entries, Entry, FaultLedger
from chaosbandit.safety.sparing import Life, Orders, is_on_duty, spared
from chaosbandit.safety.survey import NotShownError, Survey, same_server, survey
from chaosbandit.safety.undoing import Leftover, Outcome, Undoing, in_order


@dataclass(frozen=True, slots=True)
class Place:
    """A server to look at; `named`: by the caller, so it has to answer."""

    server: str
    named: bool


def quiet(_: str) -> None:
    """Say nothing."""


class Visits:
    """Looks at servers, one after the other or several at once from several threads."""

    def __init__(
        self, ledger: FaultLedger, undoing: Undoing, say: Callable[[str], None] = quiet
    ) -> None:
        self._ledger = ledger
        self._undoing = undoing
        self._say = say

    def visit(self, place: Place, written: Entries, orders: Orders) -> CleanReport:
        """Have a server show its proxies, and undo there what must go."""
        try:
            control = Control(place.server)
        except ValueError as error:
            return _unanswered(self.act(place, written, None, orders), place, written, str(error))
        with closing(control):
            self._say(f"looking at {place.server}")
            try:
                shown = survey(control)
            except NotShownError as error:
                report = self.act(place, written, None, orders)
                report = _unanswered(report, place, written, str(error))
            else:
                return self.act(place, written, shown, orders)
            if report.undone:  # closing a wedged proxy frees the list of all others
                try:
                    shown = survey(control)
                except NotShownError:
                    return report
                again = self.act(place, Entries(), shown, orders)
                report = merged([replace(report, unreachable=()), again])
            return report

    def act(
        self,
        place: Place,
        written: Entries,
        shown: Survey | None,
        orders: Orders,
        pending: Iterable[Leftover] = (),
    ) -> CleanReport:
        """Undo what is due; without a survey only what the ledger, or `pending`, tells of."""
        due: list[Leftover] = []
        skipped: list[Skipped] = []
        others: set[str] = set()
        ends = shown.lease_ends() if shown is not None else {}
        local = local_runs(self._ledger, written)
        for leftover in _leftovers(place, written, shown, pending):
            fault = leftover.fault
            if is_on_duty(fault, orders.now_epoch_s):
                continue
            if not orders.concern(fault.run):
                others.update({fault.run} - {SWEEPER})
                continue
            why = spared(
                fault,
                dosed=leftover.dosed,
                life=self._life(fault.run, local),
                lease_end_epoch_s=ends.get(fault.run, 0),
                orders=orders,
            )
            if why is None:
                due.append(leftover)
            else:
                skipped.append(Skipped(fault, why))
        if orders.dry_run:
            faults = (*(one.fault for one in due), *(item.fault for item in skipped))
            report = CleanReport(faults, skipped=tuple(skipped), dry_run=True)
        else:
            if due:
                self._say(f"undoing {len(due)} at {place.server}")
            staying = (item.fault for item in skipped)
            report = _told(self._undoing.run(in_order(due, staying, shown)), skipped)
        return replace(report, other_runs=tuple(sorted(others)))

    def _life(self, run: str, local: set[str]) -> Life:
        if self._ledger.is_alive(run):
            return Life.ALIVE
        return Life.DEAD if run in local else Life.ELSEWHERE


def local_runs(ledger: FaultLedger, written: Entries) -> set[str]:
    """Runs of this host, of which its locks tell whether they are alive."""
    names = [entry.fault.name for entry in written.entries]
    names += [item.path.stem for item in written.damaged]
    runs = {run for name in names if (run := owner(name)) is not None}
    locks = ledger.directory.glob("run-*.lock")
    return runs.union(path.stem.removeprefix("run-") for path in locks)


def _leftovers(
    place: Place, written: Entries, shown: Survey | None, pending: Iterable[Leftover]
) -> list[Leftover]:
    """Each of our proxies once; the ledger knows more of one than the server can show."""
    known = {entry.fault.name: entry for entry in written.entries}
    damaged = {item.path.stem for item in written.damaged}
    found = {
        name: Leftover(entry, dosed=bool(entry.fault.toxics), written=True)
        for name, entry in known.items()
        if same_server(entry.fault.server, place.server)
    }
    for fault in shown.ours() if shown is not None else ():
        if fault.name in found:
            continue
        entry = _as_written(known.get(fault.name), fault)
        dosed = shown is not None and bool(shown.proxies[fault.name].toxics)
        found[fault.name] = Leftover(
            entry or Entry(fault),
            dosed=dosed or (entry is not None and bool(entry.fault.toxics)),
            written=entry is not None or fault.name in damaged,
        )
    for leftover in pending:
        found.setdefault(leftover.fault.name, leftover)
    return list(found.values())


def _as_written(entry: Entry | None, fault: Fault) -> Entry | None:
    """What the ledger knows of a fault seen at another address than it says, if it is the same."""
    if entry is None or (entry.fault.listen, entry.fault.upstream) != (
        fault.listen,
        fault.upstream,
    ):
        return None
    return replace(entry, fault=replace(entry.fault, server=fault.server))


def _told(outcomes: Sequence[Outcome], skipped: Sequence[Skipped]) -> CleanReport:
    ours = [outcome for outcome in outcomes if not outcome.by_others]
    return CleanReport(
        found=(*(one.leftover.fault for one in ours), *(item.fault for item in skipped)),
        undone=tuple(one.leftover.fault for one in ours if one.failed is None),
        skipped=tuple(skipped),
        failed=tuple(one.failed for one in ours if one.failed is not None),
        notes=tuple(note for one in ours for note in one.notes),
    )


def _unanswered(report: CleanReport, place: Place, written: Entries, why: str) -> CleanReport:
    """A server that only the ledger knows may be gone with its run; its faults tell.

    A dry run undoes none that could tell, so there the server itself is told of.
    """
    due = report.due()  # empty but in a dry run
    lasting = (one.fault in due for one in written.entries if not one.server_dies_with_run)
    told = place.named or any(lasting)
    return replace(report, unreachable=(Unreachable(place.server, why),) if told else ())
