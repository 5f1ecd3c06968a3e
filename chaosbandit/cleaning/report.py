"""What a clean-up found and what became of it, as text for people and as JSON for machines.

It knows nothing of servers; an exit code and every sentence follow from the records alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from chaosbandit.errors import Exit
from chaosbandit.faults.fault import Fault
from chaosbandit.foreign_text import said
from chaosbandit.safety.ledger import Damaged

_SCHEMA = 1
_LAST_RESORT = (
    "If such a command gets no answer either, restart that Toxiproxy (its proxies live in memory "
    "only) and create the operator's own ones again."
)


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault that a dry run leaves in place, and the commands that would undo it."""

    fault: Fault
    commands: tuple[str, ...]
    last_resort: str | None = None  # the operator's bypass


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
    commands: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """One line, and one more for each command."""
        return _with_commands(f"NOT UNDONE: {described(self.fault)}: {self.why}", self.commands)


@dataclass(frozen=True, slots=True)
class Note:
    """Something beside a fault that its people should know; `worth`: the exit code it leads to."""

    fault: Fault
    what: str
    worth: Exit = Exit.ANSWERED
    commands: tuple[str, ...] = ()

    @property
    def alarming(self) -> bool:
        """Whether they have to act."""
        return self.worth is not Exit.ANSWERED

    def lines(self) -> list[str]:
        """One line, and one more for each command."""
        kind = "LOOK AT THIS" if self.alarming else "note"
        return _with_commands(f"{kind}: {described(self.fault)}: {self.what}", self.commands)


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A server that did not show its proxies."""

    server: str
    why: str


@dataclass(frozen=True, slots=True)
class CleanReport:
    """What was found and what became of it; a dry run plans and skips only."""

    undone: tuple[Fault, ...] = ()
    planned: tuple[Planned, ...] = ()
    failed: tuple[Failed, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[Note, ...] = ()
    damaged: tuple[Damaged, ...] = ()
    unreachable: tuple[Unreachable, ...] = ()
    looked_at: tuple[str, ...] = ()  # servers, besides the ledger
    other_runs: tuple[str, ...] = ()  # seen on the way, when one was asked for
    run: str | None = None  # the only one that was asked for
    dry_run: bool = False

    @property
    def found(self) -> tuple[Fault, ...]:
        """Everything of ours, whatever became of it."""
        rest = (item.fault for part in (self.planned, self.failed, self.skipped) for item in part)
        return (*self.undone, *rest)

    @property
    def confirmed(self) -> bool:
        """Whether nothing is left that should have gone (faults skipped on purpose may stay)."""
        return self.exit_code is not Exit.NOT_CLEAN

    @property
    def exit_code(self) -> Exit:
        """How a command that cleaned up ends; a path down by itself is worth less than a fault."""
        if self.failed or self.damaged or self.unreachable or self.planned:
            return Exit.NOT_CLEAN
        return max((note.worth for note in self.notes), default=Exit.ANSWERED)

    def text(self) -> str:
        """What a person needs to know, one line a fault and the commands left to do."""
        lines = [f"undone: {described(fault)}" for fault in self.undone]
        for plan in self.planned:
            place = f"would be undone: {described(plan.fault)}"
            lines += _with_commands(place, plan.commands, "; by:")
            if plan.last_resort is not None:
                lines.append(f"  if that does not succeed, the bypass: {plan.last_resort}")
        lines += [f"left alone: {described(item.fault)}: {item.why}" for item in self.skipped]
        lines += [line for note in self.notes for line in note.lines()]
        lines += [line for item in self.failed for line in item.lines()]
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
            "would_undo": [
                _plain(item.fault, commands=item.commands, last_resort=item.last_resort)
                for item in self.planned
            ],
            "skipped": [_plain(item.fault, why=item.why) for item in self.skipped],
            "failed": [
                _plain(item.fault, why=item.why, commands=item.commands) for item in self.failed
            ],
            "notes": [
                _plain(note.fault, what=note.what, alarming=note.alarming, commands=note.commands)
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
    """A fault's name, where it is and whose proxy it concerns."""
    more = f" and {len(fault.toxics) - 1} more" if len(fault.toxics) > 1 else ""
    place = f"{fault.name}{more} at {fault.server}"
    if fault.proxy == fault.name:
        return place
    return f"{place} ({'on' if fault.toxics else 'in place of'} {said(fault.proxy)})"


def merged(reports: Iterable[CleanReport]) -> CleanReport:
    """One report of several, in their order."""
    parts = list(reports)
    lists: dict[str, Any] = {
        each.name: tuple(item for part in parts for item in getattr(part, each.name))
        for each in fields(CleanReport)
        if each.name not in ("run", "dry_run")
    }
    return CleanReport(**lists, dry_run=any(part.dry_run for part in parts))


def _with_commands(line: str, commands: Sequence[str], leading: str = "; by hand:") -> list[str]:
    return [f"{line}{leading if commands else ''}", *(f"  {command}" for command in commands)]


def _plain(fault: Fault, **more: Any) -> dict[str, Any]:
    """Without the operator's bypass, which may hold a secret."""
    found = {
        "name": fault.name,
        "run": fault.run,
        "server": fault.server,
        "proxy": fault.proxy,
        "listen": fault.listen,
        "upstream": fault.upstream,
        "toxics": [toxic.name for toxic in fault.toxics],
        "expires_epoch_s": fault.expires_epoch_s,
    }
    return {**found, **{key: list(v) if isinstance(v, tuple) else v for key, v in more.items()}}
