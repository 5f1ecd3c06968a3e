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

from chaosbandit.errors import UsageError
from chaosbandit.safety.clean import drop_locks, places_of, read, unexplained
from chaosbandit.safety.duty import Post
from chaosbandit.safety.ledger import Entries, FaultLedger
from chaosbandit.safety.sparing import Orders
from chaosbandit.safety.undoing import Undoing
from chaosbandit.safety.visits import Place, Visits


class Sweep:
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
        self._deadline_s = deadline_s
        self._epoch_s = epoch_s
        self._visits = Visits(ledger, Undoing(ledger, deadline_s))
        self._stop = threading.Event()
        self._turn = threading.Lock()
        self._undone = 0
        self._failed: dict[str, int] = {}
        self._unreadable: set[Path] = set()
        self._reached: set[str] = set()
        self._posts: dict[str, tuple[Post, threading.Thread]] = {}
        self._tender = threading.Thread(target=self._tend, name="sweep-ledger")

    def begin(self) -> None:
        """Go on duty.

        Raises:
            UsageError: there is a ledger that cannot be read.
        """
        self._man(places_of(self._servers, read(self._ledger)))
        self._tender.start()

    def end(self) -> None:
        """Finish what is being undone, and take the leases away."""
        self._stop.set()
        self._tender.join()
        for _, thread in self._posts.values():
            thread.join()

    @property
    def undone(self) -> int:
        """How many faults were undone so far."""
        return self._undone

    @property
    def left(self) -> int:
        """How many faults, and files of the ledger, could not be dealt with."""
        return sum(self._failed.values()) + len(self._unreadable)

    @property
    def never_reached(self) -> tuple[str, ...]:
        """Those of `servers` that never showed their proxies."""
        named = (place.server for place in places_of(self._servers, Entries()))
        return tuple(server for server in named if server not in self._reached)

    def _man(self, places: Iterable[Place]) -> None:
        """Have a thread for each place."""
        for place in places:
            running = self._posts.get(place.server)
            if running is None or not running[1].is_alive():
                post = Post(place, self._ledger, self._visits, self._every_s, self._deadline_s)
                thread = threading.Thread(target=self._keep, args=(post,), name=place.server)
                self._posts[place.server] = post, thread
                thread.start()

    def _tend(self) -> None:
        suspects: set[Path] = set()
        while not self._stop.wait(self._every_s):
            with suppress(OSError, UsageError):  # each post tells that the ledger is not readable
                suspects = self._look_at_ledger(suspects)

    def _look_at_ledger(self, suspects: set[Path]) -> set[Path]:
        """Man new places, drop old locks, and tell of files that no server has explained."""
        written = read(self._ledger)
        places = places_of(self._servers, written)
        self._man(places)
        drop_locks(self._ledger)
        orders = Orders(self._epoch_s(), expired=True)
        seen = frozenset[str]().union(*(post.seen for post, _ in self._posts.values()))
        damaged = {
            item.path: item.why for item in unexplained(self._ledger, written, seen, orders, places)
        }
        sure = suspects.intersection(damaged)  # twice in a row: no server was about to explain it
        self._tell(f"NOT READABLE: {path}: {damaged[path]}" for path in sure - self._unreadable)
        self._unreadable = sure
        return set(damaged)

    def _keep(self, post: Post) -> None:
        while True:
            lines = post.round(self._epoch_s())
            self._count(post)
            self._tell(lines)
            if self._stop.wait(self._every_s) or not post.is_needed():
                self._tell(post.leave())
                return

    def _count(self, post: Post) -> None:
        with self._turn:
            self._undone += post.undone
            post.undone = 0
            self._failed[post.place.server] = len(post.failed)
            if post.reached:
                self._reached.add(post.place.server)

    def _tell(self, lines: Iterable[str]) -> None:
        with self._turn:
            for line in lines:
                self._say(line)
