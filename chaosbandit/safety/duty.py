"""One server of a sweep: its lease, its expired faults, and what has changed since the last look.

The sweeper's lease is a disabled proxy that shows to everybody who looks at the server, `doctor`
for instance, that somebody removes expired faults there. It is no fault and is in nobody's way.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from chaosbandit.core.names import SWEEPER, lease_name
from chaosbandit.safety.clean import read
from chaosbandit.safety.cleaned import CleanReport, described
from chaosbandit.safety.control import Control, UnansweredError
from chaosbandit.safety.ledger import Entry, FaultLedger
from chaosbandit.safety.sparing import Orders
from chaosbandit.safety.survey import NotShownError, Survey, in_words, same_server, survey
from chaosbandit.safety.undoing import Leftover
from chaosbandit.safety.visits import Place, Visits

SHORTEST_TERM_S = 60.0
_ROUNDS_IN_TERM = 3
_RENEW_AT = 2 / 3
_LISTEN = "127.0.0.1:0"  # never listened on: the proxy is never enabled


class SweeperLease:
    """Renewed while on duty, taken along on leaving."""

    def __init__(self, every_s: float) -> None:
        self._term_s = max(SHORTEST_TERM_S, _ROUNDS_IN_TERM * every_s)
        self._ends_epoch_s = 0
        self._names: list[str] = []  # more than one only while a renewal is not finished

    def keep(self, control: Control, shown: Survey, now_epoch_s: float) -> str | None:
        """Have one that lasts for a while, and no older one; why not, if so."""
        left_s = self._ends_epoch_s - now_epoch_s
        if left_s > self._term_s * _RENEW_AT and self._names[-1] in shown.proxies:
            return self._drop(control, self._names[:-1])
        self._ends_epoch_s = int(now_epoch_s + self._term_s)
        name = lease_name(SWEEPER, self._ends_epoch_s)
        if name not in self._names:
            self._names.append(name)
        proxy = {"name": name, "listen": _LISTEN, "upstream": SWEEPER, "enabled": False}
        try:
            reply = control.call("POST", "/proxies", proxy)
        except UnansweredError as error:
            return in_words(control, error)
        if reply.status not in (201, 409):  # 409: another sweeper's, made in the same second
            return f"POST /proxies answered {reply.status}, wanted 201"
        return self._drop(control, self._names[:-1])

    def leave(self, control: Control) -> str | None:
        """Take it away; why it may still be there, if so."""
        return self._drop(control, self._names)

    def _drop(self, control: Control, names: Sequence[str]) -> str | None:
        for name in tuple(names):
            try:
                reply = control.call("DELETE", f"/proxies/{name}")
            except UnansweredError as error:
                return in_words(control, error)
            if reply.status not in (204, 404):
                return f"DELETE of {name} answered {reply.status}, wanted 204"
            self._names.remove(name)
        return None


class Post:
    """What is known of one server, so that only what is done and what changes is told."""

    def __init__(
        self, place: Place, ledger: FaultLedger, visits: Visits, every_s: float, deadline_s: float
    ) -> None:
        self.place = place
        self.undone = 0
        self.reached = False
        self.seen: frozenset[str] = frozenset()  # what the server showed last, perhaps going now
        self.failed: dict[str, Leftover] = {}
        self._ledger = ledger
        self._visits = visits
        self._deadline_s = deadline_s
        self._lease = SweeperLease(every_s)
        self._control: Control | None = None
        self._troubles: set[str] = set()

    def round(self, now_epoch_s: float) -> list[str]:
        """Look once and undo what has expired; what there is to tell."""
        try:
            lines = self._look(now_epoch_s)
        except Exception as error:  # nothing may end the duty, least of all what nobody thought of
            return self._changed("FAILED", f"{type(error).__name__}: {error}")
        return [*lines, *self._changed("FAILED", None)]

    def leave(self) -> list[str]:
        """End the duty here; what there is to tell."""
        if self._control is None:
            return []
        why = self._lease.leave(self._control)
        self._control.close()
        return [] if why is None else [f"{self.place.server}: its lease is left to expire: {why}"]

    def is_needed(self) -> bool:
        """Whether there is a reason to look at this server again."""
        if self.place.named or self.failed:
            return True
        with suppress(Exception):  # told by the next round
            entries = read(self._ledger).entries
            return any(same_server(one.fault.server, self.place.server) for one in entries)
        return True

    def _look(self, now_epoch_s: float) -> list[str]:
        written = read(self._ledger)
        shown, why = self._survey()
        self.seen = frozenset(shown.proxies if shown is not None else ())
        lines = self._changed("NOT REACHED", why if self.place.named else None)
        orders = Orders(now_epoch_s, expired=True, deadline_s=self._deadline_s)
        report = self._visits.act(self.place, written, shown, orders, self.failed.values())
        lines += self._told(report)
        names = {entry.fault.name for entry in written.entries}
        self.failed = {
            item.fault.name: Leftover(Entry(item.fault), True, item.fault.name in names)
            for item in report.failed
        }
        if self.place.named and self._control is not None and shown is not None:
            trouble = self._lease.keep(self._control, shown, now_epoch_s)
            lines += self._changed("NO LEASE", trouble)
        return lines

    def _survey(self) -> tuple[Survey | None, str | None]:
        try:
            if self._control is None:
                self._control = Control(self.place.server)
            shown = survey(self._control)
        except (NotShownError, ValueError) as error:
            return None, str(error)
        self.reached = True
        return shown, None

    def _changed(self, trouble: str, why: str | None) -> list[str]:
        if why is None and trouble in self._troubles:
            self._troubles.remove(trouble)
            return [f"{self.place.server}: no longer {trouble}"]
        if why is not None and trouble not in self._troubles:
            self._troubles.add(trouble)
            return [f"{self.place.server}: {trouble}: {why}"]
        return []

    def _told(self, report: CleanReport) -> list[str]:
        undone = [fault for fault in report.undone if fault.run != SWEEPER]  # a lease that ran out
        lines = [f"undone: {described(fault)}" for fault in undone]
        lines += [note.text() for note in report.notes]
        for item in report.failed:
            if item.fault.name not in self.failed:
                by_hand = "; ".join(item.commands)
                lines.append(f"NOT UNDONE: {described(item.fault)}: {item.why}; by hand: {by_hand}")
        self.undone += len(undone)
        return lines
