"""Removing what earlier runs left: by the fault ledger, and by the names the servers show.

A name carries all that is needed, so this works on a host that never saw the run. It touches only
proxies named by us, and those of a living run only when that run is named.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from chaosbandit.core.model import Fault
from chaosbandit.core.names import parse_name
from chaosbandit.safety.address import accepts
from chaosbandit.safety.control import Control, UnansweredError
from chaosbandit.safety.ledger import Damaged, Entries, Entry, FaultLedger
from chaosbandit.safety.restore import NotUndoneError, manual_commands, remedy_of, undo

_AT_ONCE = 8


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
    damaged: tuple[Damaged, ...] = ()
    unreachable: tuple[Unreachable, ...] = ()
    dry_run: bool = False

    @property
    def confirmed(self) -> bool:
        """Whether nothing is left that should have gone (faults skipped on purpose may stay)."""
        return not (self.failed or self.damaged or self.unreachable)

    def text(self) -> str:
        """What a person needs to know, one line a fault and the commands left to do."""
        gone = {fault.name for fault in self.undone}
        skipped = {item.fault.name for item in self.skipped}
        failed = {item.fault.name for item in self.failed}
        due = [item for item in self.found if item.name not in gone | skipped | failed]
        lines = [f"undone: {_described(fault)}" for fault in self.undone]
        lines += [f"would be undone: {_described(fault)}" for fault in due]
        lines += [f"left alone: {_described(item.fault)}: {item.why}" for item in self.skipped]
        for item in self.failed:
            lines.append(f"NOT UNDONE: {_described(item.fault)}: {item.why}; by hand:")
            lines += [f"  {command}" for command in item.commands]
        lines += [f"NOT READABLE: {item.path}: {item.why}" for item in self.damaged]
        lines += [f"NOT REACHED: {item.server}: {item.why}" for item in self.unreachable]
        return "\n".join(lines or ["nothing of ours was found"])


def clean(
    ledger: FaultLedger,
    servers: Sequence[str],
    run: str | None,
    expired: bool,
    dry_run: bool,
    now_epoch_s: float,
    deadline_s: float = 10.0,
) -> CleanReport:
    """Undo the faults of dead runs, of `run` if named, or with `expired` only those out of time.

    Looks at `servers` and at every server in the ledger; `deadline_s` bounds each fault.
    """
    written = ledger.entries()
    known = {entry.fault.name: entry for entry in written.entries}
    named = dict.fromkeys(url.rstrip("/") for url in servers)
    elsewhere = dict.fromkeys(entry.fault.server.rstrip("/") for entry in known.values())
    visible, unreachable = _visible(named | elsewhere)
    found = [*known.values(), *(entry for entry in visible if entry.fault.name not in known)]
    local_runs = _local_runs(ledger, written)
    due: list[Entry] = []
    skipped: list[Skipped] = []
    for entry in found:
        if run is not None and entry.fault.run != run:
            continue
        is_local = entry.fault.run in local_runs
        why = _why_not(entry.fault, ledger, run, expired, now_epoch_s, is_local)
        if why is None:
            due.append(entry)
        else:
            skipped.append(Skipped(entry.fault, why))
    failed = [] if dry_run else _undo_all(ledger, due, deadline_s)
    lost = {failure.fault.name for failure in failed}
    undone = [entry.fault for entry in due if not dry_run and entry.fault.name not in lost]
    if not dry_run:
        _drop_locks(ledger)
    return CleanReport(
        found=tuple(entry.fault for entry in [*due, *(Entry(item.fault) for item in skipped)]),
        undone=tuple(undone),
        skipped=tuple(skipped),
        failed=tuple(failed),
        damaged=tuple(item for item in written.damaged if item.path.exists()),
        unreachable=tuple(item for item in unreachable if item.server in named),
        dry_run=dry_run,
    )


def _described(fault: Fault) -> str:
    return f"{fault.name} at {fault.server}"


def _why_not(
    fault: Fault,
    ledger: FaultLedger,
    run: str | None,
    expired: bool,
    now_epoch_s: float,
    is_local: bool,
) -> str | None:
    """The reason to leave `fault` alone, or None if it must go."""
    left_s = fault.expires_epoch_s - now_epoch_s
    if left_s <= 0:
        return None
    if expired:
        return f"it expires in {left_s:.0f} s, and only expired faults were asked for"
    if fault.run == run:
        return None
    if ledger.is_alive(fault.run):
        return f"run {fault.run} is alive; name it with --run to take its faults away"
    if not is_local:
        return (
            f"run {fault.run} is not in the ledger here and may be alive on another host; it "
            f"expires in {left_s:.0f} s; name it with --run to take its faults away"
        )
    return None


def _local_runs(ledger: FaultLedger, written: Entries) -> set[str]:
    """Runs of this host, of which its locks tell whether they are alive."""
    runs = {entry.fault.run for entry in written.entries}
    names = [parse_name(item.path.stem) for item in written.damaged]
    runs.update(name.run for name in names if name is not None)
    locks = ledger.directory.glob("run-*.lock")
    return runs.union(path.stem.removeprefix("run-") for path in locks)


def _visible(servers: Iterable[str]) -> tuple[list[Entry], list[Unreachable]]:
    """Our proxies at the servers, as the faults they stand for."""
    entries: dict[str, Entry] = {}
    unreachable: list[Unreachable] = []
    for server in servers:
        try:
            with closing(Control(server)) as control:
                reply = control.call("GET", "/proxies")
        except (UnansweredError, ValueError) as error:
            unreachable.append(Unreachable(server, str(error)))
            continue
        if reply.status != 200:
            unreachable.append(Unreachable(server, f"GET /proxies answered {reply.status}"))
            continue
        for name, proxy in reply.record().items():
            fault = _fault_seen(server, name, proxy)
            if fault is not None:
                entries.setdefault(name, Entry(fault))
    return list(entries.values()), unreachable


def _fault_seen(server: str, name: str, proxy: object) -> Fault | None:
    parsed = parse_name(name)
    if parsed is None or not isinstance(proxy, dict):
        return None
    return Fault(
        run=parsed.run,
        server=server,
        name=name,
        listen=str(proxy.get("listen")),
        upstream=str(proxy.get("upstream")),
        restores=parsed.restores,
        expires_epoch_s=parsed.expires_epoch_s,
        toxics=(),
    )


def _undo_all(ledger: FaultLedger, due: Sequence[Entry], deadline_s: float) -> list[Failed]:
    if not due:
        return []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        outcomes = list(pool.map(lambda entry: _undo(entry, deadline_s), due))
    failed = []
    for entry, why in zip(due, outcomes, strict=True):
        if why is None:
            ledger.strike(entry.fault.name)
        else:
            commands = tuple(manual_commands(remedy_of(entry.fault)))
            failed.append(Failed(entry.fault, why, commands))
    return failed


def _undo(entry: Entry, deadline_s: float) -> str | None:
    """Undo one fault; what went wrong, or None."""
    fault = entry.fault
    remedy = remedy_of(fault, server_dies_with_run=entry.server_dies_with_run)
    try:
        undo(remedy, deadline_s)
    except (NotUndoneError, ValueError) as error:
        return str(error)
    if fault.restores is not None and not entry.server_dies_with_run:
        give_up_s = time.monotonic() + 1.0
        while accepts(fault.listen, fault.server) is False:
            if time.monotonic() > give_up_s:
                return (
                    f"proxy {fault.restores} is restored, but nothing accepts connections at "
                    f"{fault.listen}"
                )
            time.sleep(0.05)
    return None


def _drop_locks(ledger: FaultLedger) -> None:
    """Remove the lock files of dead runs that have nothing left here."""
    held = {entry.fault.run for entry in ledger.entries().entries}
    for path in ledger.directory.glob("run-*.lock"):
        run = path.stem.removeprefix("run-")
        if run not in held and not ledger.is_alive(run):
            path.unlink(missing_ok=True)
