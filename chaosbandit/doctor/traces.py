"""What is left of runs, gathered: faults in the ledger, names at servers, locks and claims.

`leftovers` says what it means. Nothing is written here, and no lock is held for longer than a look.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaosbandit.core.names import SWEEPER, parse_lease, parse_name
from chaosbandit.doctor.servers import Shown
from chaosbandit.safety.durable import is_locked
from chaosbandit.safety.ledger import FaultLedger


@dataclass(frozen=True, slots=True)
class Trace:
    """One thing of a run: a fault or lease in the ledger, at a server, or both."""

    run: str
    name: str
    server: str
    upstream: str
    listen: str
    expires_epoch_s: int
    in_ledger: bool = False
    at_server: bool = False

    @property
    def is_lease(self) -> bool:
        """Whether it only says that the run is at work."""
        return parse_lease(self.name) is not None


def traces_of(ledger: FaultLedger, shown: Sequence[Shown]) -> list[Trace]:
    """All there is of any run, each once, but for the leases of sweepers."""
    found: dict[str, Trace] = {}
    for entry in ledger.entries().entries:
        fault = entry.fault
        found[fault.name] = Trace(
            *(fault.run, fault.name, fault.server, fault.upstream, fault.listen),
            expires_epoch_s=fault.expires_epoch_s,
            in_ledger=True,
        )
    for each in shown:
        for name, record in (each.proxies or {}).items():
            parsed = parse_name(name) or parse_lease(name)
            if parsed is None or parsed.run == SWEEPER:
                continue
            found[name] = Trace(
                *(parsed.run, name, each.url, record.upstream, record.listen),
                expires_epoch_s=parsed.expires_epoch_s,
                in_ledger=name in found,
                at_server=True,
            )
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


def stale_locks(directory: Path, with_traces: set[str]) -> int:
    """Lock files that nobody holds; those of runs that left more are told with the rest."""
    names = {f"run-{run}.lock" for run in with_traces}
    paths = [*directory.glob("run-*.lock"), *directory.glob("claim-*.lock")]
    return sum(path.name not in names and not _is_held(path) for path in paths)


def _is_held(path: Path) -> bool:
    try:
        return is_locked(path)
    except OSError:
        return True  # just gone, or not ours to judge
