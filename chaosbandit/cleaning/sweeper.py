"""`clean --watch`: removes expired faults for as long as it lives, beside one or more servers.

Each server has a thread of its own, so that one that hangs delays no other. Servers that only the
ledger names are looked at for as long as it does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from chaosbandit.cleaning.clean import drop_locks, places_of, read, unexplained
from chaosbandit.cleaning.one_server import NotShownError, OneServer, Place, shown
from chaosbandit.cleaning.report import CleanReport, Failed, Note, described
from chaosbandit.cleaning.sweeper_lease import SweeperLease
from chaosbandit.cleaning.undo_all import UndoAll
from chaosbandit.cleaning.what_stays import Orders
from chaosbandit.errors import UsageError
from chaosbandit.faults.addresses import same_server
from chaosbandit.faults.names import SWEEPER
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.toxiproxy.calls import Calls
from chaosbandit.toxiproxy.listing import Listing


class Sweeper:
    """Looks at `servers`, and those of the ledger, every `every_s` from `begin` to `end`.

    `say` hears one line for each thing done and each change of state, and nothing else.
    """

    def __init__(
        self,
        ledger: FaultLedger,
        servers: Sequence[str],
        every_s: float,
        say: Callable[[str], None],
        deadline_s: float = 10.0,
        epoch_s: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._servers = tuple(servers)
        self._every_s = every_s
        self._say = say
        self._epoch_s = epoch_s
        self._undo_all = UndoAll(ledger, deadline_s, lambda _: None, comes_again=True)
        self._stop = threading.Event()
        self._turn = threading.Lock()
        self._unreadable: set[Path] = set()
        self._watched: dict[str, WatchedServer] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._files = threading.Thread(target=self._watch_files, name="sweeper-ledger")

    def begin(self) -> None:
        """Begin to look.

        Raises:
            UsageError: there is a ledger that cannot be read.
        """
        self._watch(places_of(self._servers, read(self._ledger)))
        self._files.start()

    def end(self) -> None:
        """Finish what is being undone, and take the leases away."""
        self._stop.set()
        self._files.join()
        for thread in self._threads.values():
            thread.join()

    @property
    def undone(self) -> int:
        """How many faults were undone so far."""
        return sum(server.undone for server in self._watched.values())

    @property
    def left(self) -> int:
        """How many faults, and files of the ledger, are not dealt with."""
        open_ = sum(len(server.open) for server in self._watched.values())
        return open_ + len(self._unreadable)

    @property
    def never_reached(self) -> tuple[str, ...]:
        """Those of `servers` that never showed their proxies."""
        named = [server for server in self._watched.values() if server.place.named]
        return tuple(server.place.server for server in named if not server.reached)

    def _watch(self, places: Iterable[Place]) -> None:
        """Have a thread for each place; one that was left is known when it is looked at again."""
        for place in places:
            running = self._threads.get(place.server)
            if running is None or not running.is_alive():
                fresh = WatchedServer(place, self._ledger, self._undo_all, self._every_s)
                server = self._watched.setdefault(place.server, fresh)
                thread = threading.Thread(target=self._keep, args=(server,), name=place.server)
                self._threads[place.server] = thread
                thread.start()

    def _watch_files(self) -> None:
        suspects: set[Path] = set()
        while not self._stop.wait(self._every_s):
            with suppress(OSError, UsageError):  # each server tells that it is not readable
                suspects = self._look_at_ledger(suspects)

    def _look_at_ledger(self, suspects: set[Path]) -> set[Path]:
        """Watch new places, drop old locks, and tell of files that no server has explained."""
        written = read(self._ledger)
        places = places_of(self._servers, written)
        self._watch(places)
        drop_locks(self._ledger)
        orders = Orders(self._epoch_s(), expired=True)
        seen = frozenset[str]().union(*(server.seen for server in self._watched.values()))
        damaged = {
            item.path: item.why for item in unexplained(self._ledger, written, seen, orders, places)
        }
        sure = suspects.intersection(damaged)  # twice in a row: no server was about to explain it
        self._tell(f"NOT READABLE: {path}: {damaged[path]}" for path in sure - self._unreadable)
        self._unreadable = sure
        return set(damaged)

    def _keep(self, server: WatchedServer) -> None:
        while True:
            self._tell(server.round(self._epoch_s()))
            if self._stop.wait(self._every_s) or not server.is_needed():
                self._tell(server.leave())
                return

    def _tell(self, lines: Iterable[str]) -> None:
        with self._turn:
            for line in lines:
                self._say(line)


class WatchedServer:
    """What is known of one server, so that only what is done and what changes is told."""

    def __init__(
        self, place: Place, ledger: FaultLedger, undo_all: UndoAll, every_s: float
    ) -> None:
        self.place = place
        self.undone = 0
        self.reached = False
        self.seen: frozenset[str] = frozenset()  # what the server showed last, perhaps going now
        self._ledger = ledger
        self._server = OneServer(place, ledger, undo_all, lambda _: None)
        self._lease = SweeperLease(every_s)
        self._calls: Calls | None = None
        self._troubles: set[str] = set()
        self._failed: set[str] = set()

    @property
    def open(self) -> set[str]:
        """The names of faults that have to be looked at again."""
        return set(self._server.open)

    def round(self, now_epoch_s: float) -> list[str]:
        """Look once and undo what has expired; what there is to tell."""
        try:
            lines = self._look(now_epoch_s)
        except Exception as error:  # nothing may end the watch, least of all what nobody thought of
            return self._changed("FAILED", f"{type(error).__name__}: {error}")
        return [*lines, *self._changed("FAILED", None)]

    def leave(self) -> list[str]:
        """End the watch here; what there is to tell."""
        if self._calls is None:
            return []
        why = self._lease.leave(self._calls)
        self._calls.close()
        return [] if why is None else [f"{self.place.server}: its lease is left to expire: {why}"]

    def is_needed(self) -> bool:
        """Whether there is a reason to look at this server again."""
        if self.place.named or self._server.open:
            return True
        with suppress(Exception):  # told by the next round
            entries = read(self._ledger).entries
            return any(same_server(one.fault.server, self.place.server) for one in entries)
        return True

    def _look(self, now_epoch_s: float) -> list[str]:
        written = read(self._ledger)
        listing, why = self._listed()
        self.seen = _names(listing)
        lines = self._changed("NOT REACHED", why if self.place.named else None)
        before = self.open
        report = self._server.act(written, listing, Orders(now_epoch_s, expired=True))
        lines += self._told(report, before)
        if self.place.named and self._calls is not None and listing is not None:
            trouble = self._lease.keep(self._calls, listing, now_epoch_s)
            lines += self._changed("NO LEASE", trouble)
        return lines

    def _listed(self) -> tuple[Listing | None, str | None]:
        try:
            if self._calls is None:
                self._calls = Calls(self.place.server)
            listing = shown(self._calls)
        except (NotShownError, ValueError) as error:
            return None, str(error)
        self.reached = True
        return listing, None

    def _changed(self, trouble: str, why: str | None) -> list[str]:
        if why is None and trouble in self._troubles:
            self._troubles.remove(trouble)
            return [f"{self.place.server}: no longer {trouble}"]
        if why is not None and trouble not in self._troubles:
            self._troubles.add(trouble)
            return [f"{self.place.server}: {trouble}: {why}"]
        return []

    def _told(self, report: CleanReport, before: set[str]) -> list[str]:
        """What is new: neither a lease that ran out, nor what was told and is looked at again."""
        late = before - self._failed
        undone = [one for one in report.undone if one.run != SWEEPER and one.name not in late]
        failed = [one for one in report.failed if one.fault.name not in self._failed]
        fresh = {one.name for one in undone}.union(one.fault.name for one in failed)
        told: list[Note | Failed] = [
            *(note for note in report.notes if note.fault.name in fresh),
            *failed,
        ]
        self.undone += len(undone)
        self._failed = {one.fault.name for one in report.failed}
        lines = [f"undone: {described(fault)}" for fault in undone]
        return lines + [f"{one.lines()[0]} {'; '.join(one.commands)}".rstrip() for one in told]


def _names(listing: Listing | None) -> frozenset[str]:
    """Of all proxies and toxics."""
    proxies = {} if listing is None else listing.proxies
    toxics = (toxic.name for proxy in proxies.values() for toxic in proxy.toxics)
    return frozenset((*proxies, *toxics))
