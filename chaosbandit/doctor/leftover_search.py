"""What is left of runs, gathered: faults in the ledger, names at servers, locks and claims.

`leftovers` says what it means. Nothing is written here, and no lock is held for longer than a look.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chaosbandit.doctor.server_answer import ServerAnswer
from chaosbandit.faults.fault import Fault
from chaosbandit.faults.names import HONOURED_S, SWEEPER, is_lease
from chaosbandit.safety.ledger import Entries
from chaosbandit.safety.lock_files import is_locked


@dataclass(frozen=True, slots=True)
class Trace:
    """One thing of a run: a fault or lease in the ledger, at a server, or both."""

    fault: Fault  # its server as it was asked, where it was seen there
    in_ledger: bool = False
    at_server: bool = False

    @property
    def run(self) -> str:
        """Whose it is."""
        return self.fault.run

    @property
    def name(self) -> str:
        """The name by which it is found again."""
        return self.fault.name

    @property
    def is_lease(self) -> bool:
        """Whether it only says that the run is at work."""
        return is_lease(self.fault.name)

    @property
    def is_stand_in(self) -> bool:
        """Whether it serves in place of an operator's proxy."""
        return not self.fault.owned and not self.fault.toxics

    @property
    def proxy(self) -> str:
        """The operator's proxy that it is on, or in place of; empty where it is on none."""
        return "" if self.fault.owned else self.fault.proxy

    @property
    def acts(self) -> bool:
        """Whether requests may meet it: a path of ours without toxics, or a lease, hurts nobody."""
        return bool(self.fault.toxics) or self.is_stand_in

    def is_over(self, now_epoch_s: float) -> bool:
        """Whether its time is over."""
        return self.fault.expires_epoch_s <= now_epoch_s

    def is_unhonoured(self, now_epoch_s: float) -> bool:
        """Whether it is a lease that claims more time than anybody grants it."""
        return self.is_lease and self.fault.expires_epoch_s - now_epoch_s > HONOURED_S


def traces_of(written: Entries, shown: Sequence[ServerAnswer]) -> list[Trace]:
    """All there is of any run, each once, but for the leases of sweepers."""
    found = {entry.fault.name: Trace(entry.fault, in_ledger=True) for entry in written.entries}
    by_toxic = {name: trace for trace in found.values() for name in trace.fault.toxic_names}
    for each in shown:
        for fault in each.listing.faults() if each.listing is not None else ():
            if fault.run == SWEEPER and is_lease(fault.name):
                continue
            known = found.get(fault.name) or by_toxic.get(fault.name)
            if known is None:
                found[fault.name] = Trace(fault, _is_written(fault, written), at_server=True)
            else:
                at = replace(known.fault, server=each.url)
                found[known.name] = Trace(at, known.in_ledger, at_server=True)
    return list(found.values())


def claims_in(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """What runs of this host say they have, by run."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(directory.glob("claim-*.lock")):
        try:
            content = json.loads(path.read_bytes()[:4096])
        except (OSError, ValueError):
            continue  # about to be written, or just gone
        if isinstance(content, dict) and "run" in content and "until_epoch_s" in content:
            found.setdefault(str(content["run"]), []).append(content)
    return found


def runs_with_locks(directory: Path) -> set[str]:
    """Runs of this host that have, or had, something to guard."""
    return {path.stem.removeprefix("run-") for path in directory.glob("run-*.lock")}


def stale_locks(directory: Path, with_traces: Iterable[str]) -> int:
    """Lock files that nobody holds; those of runs that left more are told with the rest."""
    names = {f"run-{run}.lock" for run in with_traces}
    paths = [*directory.glob("run-*.lock"), *directory.glob("claim-*.lock")]
    return sum(path.name not in names and not _is_held(path) for path in paths)


def _is_written(stand_in: Fault, written: Entries) -> bool:
    """Whether the ledger has the fault in whose course this stand-in of a run was made."""
    faults = [entry.fault for entry in written.entries]
    made_for = (stand_in.run, stand_in.proxy, stand_in.expires_epoch_s)
    return any((each.run, each.proxy, each.expires_epoch_s) == made_for for each in faults)


def _is_held(path: Path) -> bool:
    try:
        return is_locked(path)
    except OSError:
        return True  # just gone, or not ours to judge
