"""What a clean-up found and what became of it, as text for people and as JSON for machines.

It knows nothing of servers; an exit code and every sentence follow from the records alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from chaosbandit.core.model import Fault
from chaosbandit.errors import Exit
from chaosbandit.safety.ledger import Damaged

_SCHEMA = 1
_LAST_RESORT = (
    "If such a command gets no answer either, restart that Toxiproxy (its proxies live in memory "
    "only) and create the operator's own ones again."
)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A fault that was left alone, and why."""

    fault: Fault
    why: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A fault that could not be confirmed as undone, and what to do by hand."""

    fault: Fault
    why: str
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """Something beside a fault that its people should know; `alarming`: they have to act."""

    fault: Fault
    what: str
    alarming: bool = False

    def text(self) -> str:
        """One line."""
        kind = "LOOK AT THIS" if self.alarming else "note"
        return f"{kind}: {described(self.fault)}: {self.what}"


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A server that did not show its proxies."""

    server: str
    why: str


@dataclass(frozen=True, slots=True)
class CleanReport:
    """What was found and what became of it; a dry run finds and skips only."""

    found: tuple[Fault, ...] = ()
    undone: tuple[Fault, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    failed: tuple[Failed, ...] = ()
    notes: tuple[Note, ...] = ()
    damaged: tuple[Damaged, ...] = ()
    unreachable: tuple[Unreachable, ...] = ()
    dry_run: bool = False
    looked_at: tuple[str, ...] = ()  # servers, besides the ledger
    run: str | None = None  # the only one that was asked for
    other_runs: tuple[str, ...] = ()  # seen on the way, when one was asked for

    @property
    def confirmed(self) -> bool:
        """Whether nothing is left that should have gone (faults skipped on purpose may stay)."""
        alarming = any(note.alarming for note in self.notes)
        return not (self.failed or self.damaged or self.unreachable or alarming or self.due())

    @property
    def exit_code(self) -> Exit:
        """How a command that cleaned up ends."""
        return Exit.ANSWERED if self.confirmed else Exit.NOT_CLEAN

    def due(self) -> tuple[Fault, ...]:
        """What a dry run would have undone."""
        return self.found[: len(self.found) - len(self.skipped)] if self.dry_run else ()

    def text(self) -> str:
        """What a person needs to know, one line a fault and the commands left to do."""
        lines = [f"undone: {described(fault)}" for fault in self.undone]
        lines += [f"would be undone: {described(fault)}" for fault in self.due()]
        lines += [f"left alone: {described(item.fault)}: {item.why}" for item in self.skipped]
        lines += [note.text() for note in self.notes]
        for item in self.failed:
            lines.append(f"NOT UNDONE: {described(item.fault)}: {item.why}; by hand:")
            lines += [f"  {command}" for command in item.commands]
        lines += [_LAST_RESORT] if self.failed else []
        lines += [f"NOT READABLE: {item.path}: {item.why}" for item in self.damaged]
        lines += [f"NOT REACHED: {item.server}: {item.why}" for item in self.unreachable]
        return "\n".join(lines or [self._nothing()])

    def to_json(self) -> str:
        """The same as one JSON object; keys are added in later versions, never changed."""
        content = {
            "schema": _SCHEMA,
            "exit_code": int(self.exit_code),
            "confirmed": self.confirmed,
            "dry_run": self.dry_run,
            "looked_at": list(self.looked_at),
            "run": self.run,
            "other_runs": list(self.other_runs),
            "found": [_plain(fault) for fault in self.found],
            "undone": [_plain(fault) for fault in self.undone],
            "would_undo": [_plain(fault) for fault in self.due()],
            "skipped": [{**_plain(item.fault), "why": item.why} for item in self.skipped],
            "failed": [
                {**_plain(item.fault), "why": item.why, "commands": list(item.commands)}
                for item in self.failed
            ],
            "notes": [
                {**_plain(note.fault), "what": note.what, "alarming": note.alarming}
                for note in self.notes
            ],
            "damaged": [{"path": str(item.path), "why": item.why} for item in self.damaged],
            "unreachable": [{"server": item.server, "why": item.why} for item in self.unreachable],
        }
        return json.dumps(content, ensure_ascii=False, indent=2) + "\n"

    def _nothing(self) -> str:
        """Where nothing was found, and of whom: a misspelt run must not look cleaned up."""
        whom = "ours" if self.run is None else f"run {self.run}"
        places = ["in the ledger", *([", ".join(self.looked_at)] if self.looked_at else [])]
        found = f"nothing of {whom} was found {' or at '.join(places)}"
        if self.run is None:
            return found
        others = ", ".join(self.other_runs)
        return f"{found}; other runs seen: {others or 'none'}"


def described(fault: Fault) -> str:
    """A fault's name, where it is and what it stands in for."""
    place = f"{fault.name} at {fault.server}"
    return place if fault.restores is None else f"{place} (in place of {fault.restores})"


def merged(reports: Iterable[CleanReport]) -> CleanReport:
    """One report of several, in their order; what is due comes before what was skipped."""
    parts = list(reports)
    skipped = tuple(item for part in parts for item in part.skipped)
    due = [fault for part in parts for fault in part.found[: len(part.found) - len(part.skipped)]]
    return CleanReport(
        found=(*due, *(item.fault for item in skipped)),
        undone=tuple(fault for part in parts for fault in part.undone),
        skipped=skipped,
        failed=tuple(item for part in parts for item in part.failed),
        notes=tuple(note for part in parts for note in part.notes),
        damaged=tuple(item for part in parts for item in part.damaged),
        unreachable=tuple(item for part in parts for item in part.unreachable),
        dry_run=any(part.dry_run for part in parts),
        looked_at=tuple(dict.fromkeys(url for part in parts for url in part.looked_at)),
        other_runs=tuple(sorted({run for part in parts for run in part.other_runs})),
    )


def _plain(fault: Fault) -> dict[str, Any]:
    """Without the operator's bypass, which may hold a secret."""
    return {
        "name": fault.name,
        "run": fault.run,
        "server": fault.server,
        "listen": fault.listen,
        "upstream": fault.upstream,
        "restores": fault.restores,
        "expires_epoch_s": fault.expires_epoch_s,
    }
