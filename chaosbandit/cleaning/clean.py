"""Removing what earlier runs left: by the fault ledger, and by the names the servers show.

A name carries all that is needed, so this works on a host that never saw the run. Servers are
looked at side by side, so that one that hangs delays no other. What is not ours is not touched.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from chaosbandit.cleaning.one_server import OneServer, Place
from chaosbandit.cleaning.report import CleanReport, merged
from chaosbandit.cleaning.undo_all import UndoAll
from chaosbandit.cleaning.what_stays import Orders
from chaosbandit.errors import UsageError
from chaosbandit.faults.addresses import same_server
from chaosbandit.faults.names import owner, parse
from chaosbandit.safety.ledger import Damaged, Entries, FaultLedger
from chaosbandit.safety.lock_files import remove_unlocked
from chaosbandit.safety.owned_files import read_ours

_SERVER = re.compile(r'"server":\s*"(http://[^"\s]+)"')


def clean(
    ledger: FaultLedger,
    servers: Sequence[str],
    run: str | None,
    expired: bool,
    dry_run: bool,
    now_epoch_s: float,
    deadline_s: float = 10.0,
    say: Callable[[str], None] = lambda _: None,
) -> CleanReport:
    """Undo the faults of dead runs, of `run` if named, or with `expired` only those out of time.

    Looks at `servers` and at every server in the ledger; `deadline_s` bounds each fault (a proxy
    that hangs on a server that lives is waited for longer), and `say` hears what is being done.

    Raises:
        UsageError: there is a ledger that cannot be read.
    """
    orders = Orders(now_epoch_s, run, expired, dry_run)
    written = read(ledger)
    places = places_of(servers, written)
    undo_all = UndoAll(ledger, deadline_s, say)

    def at(place: Place) -> CleanReport:
        return OneServer(place, ledger, undo_all, say).clean(written, orders)

    with ThreadPoolExecutor(max(1, len(places))) as pool:
        report = merged(pool.map(at, places))
    if not dry_run:
        drop_locks(ledger)
    seen = {name for fault in report.found for name in (fault.name, *fault.toxic_names)}
    return replace(
        report,
        damaged=unexplained(ledger, written, seen, orders, places),
        dry_run=dry_run,
        looked_at=tuple(place.server for place in places),
        run=run,
        other_runs=_others(report, written, orders),
    )


def read(ledger: FaultLedger) -> Entries:
    """What the ledger holds; one that does not exist holds nothing.

    Raises:
        UsageError: it exists and cannot be read, which must not look like an empty one.
    """
    folder = ledger.directory
    if folder.exists() and not (folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)):
        raise UsageError(f"found {folder} as the fault ledger, wanted a directory we can read")
    return ledger.entries()


def places_of(servers: Iterable[str], written: Entries) -> list[Place]:
    """The servers named and those in the ledger, each once, however it is spelt."""
    elsewhere = [entry.fault.server for entry in written.entries]
    elsewhere += [url for item in written.damaged for url in _servers_in(item.path)]
    candidates = [Place(url.rstrip("/"), True) for url in servers]
    candidates += [Place(url.rstrip("/"), False) for url in elsewhere]
    places: list[Place] = []
    for place in candidates:
        if not any(same_server(place.server, other.server) for other in places):
            places.append(place)
    return places


def drop_locks(ledger: FaultLedger) -> None:
    """Remove the lock files of dead processes, but those of runs that still have faults here."""
    written = ledger.entries()
    names = [entry.fault.name for entry in written.entries]
    names += [item.path.stem for item in written.damaged]
    needed = {f"run-{owner(name)}.lock" for name in names}
    for pattern in ("run-*.lock", "claim-*.lock"):
        for path in ledger.directory.glob(pattern):
            if path.name not in needed:
                remove_unlocked(path)


def unexplained(
    ledger: FaultLedger,
    written: Entries,
    seen: Collection[str],
    orders: Orders,
    places: Sequence[Place],
) -> tuple[Damaged, ...]:
    """Damaged files of faults that are due and were not `seen` at a server; what to do then."""
    looked_at = ", ".join(place.server for place in places) or "none"
    left = []
    for item in written.damaged:
        name = item.path.stem
        parsed = parse(name)
        if name in seen or not item.path.exists():
            continue
        if parsed is None:
            told = "its name says nothing either; look at it"
        elif not _is_due(ledger, parsed.run, parsed.expires_epoch_s, orders):
            continue  # whoever wrote it may still strike it out
        else:
            told = (
                f"no server looked at ({looked_at}) shows it; name the one that run {parsed.run} "
                "used with --toxiproxy"
            )
        remove = shlex.join(["rm", str(item.path)])
        left.append(Damaged(item.path, f"{item.why}; {told}. Once it is gone: {remove}"))
    return tuple(left)


def _others(report: CleanReport, written: Entries, orders: Orders) -> tuple[str, ...]:
    """The runs that were seen though another one was asked for."""
    torn = {owner(item.path.stem) for item in written.damaged}
    named = {run for run in torn if run is not None and not orders.concern(run)}
    return tuple(sorted(named.union(report.other_runs)))


def _servers_in(damaged: Path) -> list[str]:
    """The server that a file which is no JSON any more may still name."""
    try:
        found = _SERVER.search(read_ours(damaged)[0])
    except (OSError, ValueError):
        return []
    return [] if found is None else [found[1]]


def _is_due(ledger: FaultLedger, run: str, expires_epoch_s: int, orders: Orders) -> bool:
    if expires_epoch_s <= orders.now_epoch_s:
        return orders.concern(run)
    return not orders.expired and (run == orders.run if orders.run else not ledger.is_alive(run))
