"""Undoing what is due at one server: in which order, how long, and what is said if it fails.

Of several faults that stand in for one proxy of the operator's, only the last to go brings it
back. This module decides nothing about what is due.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from urllib.parse import quote

from chaosbandit.core.model import Fault
from chaosbandit.safety.bypass import run_bypass
from chaosbandit.safety.cleaned import Failed, Note
from chaosbandit.safety.ledger import Entry, FaultLedger
from chaosbandit.safety.restore import (
    NotUndoneError,
    Remedy,
    manual_commands,
    path_serves,
    remedy_of,
    undo,
)
from chaosbandit.safety.survey import Survey

_AT_ONCE = 32
_FIRST_S = 4.0  # then the operator's bypass is used, and tried on
_LEAST_S = 0.5
_PATH_S = 1.0
_PAUSE_S = 0.05
_BYPASS_S = 10.0
_ERRNO = re.compile(r"\[Errno -?\d+\] ")


@dataclass(frozen=True, slots=True)
class Leftover:
    """One of our proxies, from the ledger (`written`) or as a server shows it."""

    entry: Entry
    dosed: bool
    written: bool

    @property
    def fault(self) -> Fault:
        """What it stands for."""
        return self.entry.fault


@dataclass(frozen=True, slots=True)
class Step:
    """One fault to undo, by a remedy that may leave the operator's proxy to others."""

    leftover: Leftover
    remedy: Remedy
    moved: str | None = None  # where the operator's proxy was put meanwhile
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one fault; without `failed` it is gone."""

    leftover: Leftover
    failed: Failed | None = None
    notes: tuple[Note, ...] = ()
    by_others: bool = False  # somebody else undid it meanwhile, perhaps by another URL


def in_order(
    due: Iterable[Leftover], staying: Iterable[Fault], shown: Survey | None
) -> list[list[Step]]:
    """Steps in groups, one for each proxy of the operator's; the last of a group restores it."""
    groups: dict[str, list[Leftover]] = {}
    for leftover in due:
        fault = leftover.fault
        groups.setdefault(fault.restores or f" {fault.name}", []).append(leftover)
    kept = {fault.restores: fault for fault in staying if _is_enabled(fault, shown)}
    ordered = []
    for original, group in groups.items():
        group.sort(key=lambda leftover: _is_enabled(leftover.fault, shown))  # the open one last
        last = len(group) - 1
        steps = [_step(one, n == last, kept.get(original), shown) for n, one in enumerate(group)]
        ordered.append(steps)
    return ordered


def _step(leftover: Leftover, is_last: bool, keeper: Fault | None, shown: Survey | None) -> Step:
    fault = leftover.fault
    # No toxic is ever put on the operator's own proxy: what it carries is theirs.
    bare = replace(fault, toxics=())
    remedy = remedy_of(bare, server_dies_with_run=leftover.entry.server_dies_with_run)
    ours_only = replace(remedy, restores=None)
    if fault.restores is None:
        return Step(leftover, remedy)
    if keeper is not None:
        what = f"{fault.restores} was not touched: {keeper.name} stands in for it now"
        return Step(leftover, ours_only, notes=(Note(fault, what),))
    if not is_last:
        return Step(leftover, ours_only)
    moved = shown.moved(fault) if shown is not None else None
    found = shown.proxies.get(fault.restores) if shown is not None else None
    notes: tuple[Note, ...] = ()
    if found is not None and found.toxics:
        names = ", ".join(found.toxics)
        notes = (Note(fault, f"{fault.restores} carries toxics that are not ours, kept: {names}"),)
    return Step(leftover, remedy if moved is None else ours_only, moved, notes)


def _is_enabled(fault: Fault, shown: Survey | None) -> bool:
    found = shown.proxies.get(fault.name) if shown is not None else None
    return found is not None and found.enabled


class Undoing:
    """Undoes faults and strikes them out; each bypass is used once in the life of this object."""

    def __init__(self, ledger: FaultLedger, deadline_s: float) -> None:
        self._ledger = ledger
        self._deadline_s = deadline_s
        self._bypassed: set[str] = set()

    def run(self, groups: Sequence[Sequence[Step]]) -> list[Outcome]:
        """Undo all, and return when each is gone or given up."""
        if not groups:
            return []
        with ThreadPoolExecutor(min(_AT_ONCE, sum(map(len, groups)))) as pool:
            # All first ones are queued before any last one, which waits for those of its group.
            first = [[pool.submit(self._undo, step) for step in group[:-1]] for group in groups]
            last = [
                pool.submit(self._undo_after, others, group[-1])
                for others, group in zip(first, groups, strict=True)
            ]
            futures = (one for pair in zip(first, last, strict=True) for one in (*pair[0], pair[1]))
            return [future.result() for future in futures]

    def _undo_after(self, others: Sequence[Future[Outcome]], step: Step) -> Outcome:
        wait(others)
        return self._undo(step)

    def _undo(self, step: Step) -> Outcome:
        leftover = step.leftover
        name = leftover.fault.name
        give_up_s = time.monotonic() + self._deadline_s
        why = _tried(step.remedy, min(_FIRST_S, self._deadline_s))
        said = None
        if why is not None:
            if leftover.written and not self._ledger.path(name).exists():
                return Outcome(leftover, by_others=True)
            if step.remedy.bypass is not None and name not in self._bypassed:
                self._bypassed.add(name)
                said = _within_a_sentence(run_bypass(step.remedy, why, _BYPASS_S))
            left_s = give_up_s - time.monotonic()
            why = _tried(step.remedy, left_s) if left_s > _LEAST_S else why
        if why is not None:
            return Outcome(leftover, _failed(leftover, why if said is None else f"{why}; {said}"))
        return self._struck(step, said)

    def _struck(self, step: Step, said: str | None) -> Outcome:
        fault, notes = step.leftover.fault, step.notes
        if step.moved is not None:
            notes += (_moved(step),)
        if said is not None:
            what = f"{said}; the fault is gone since, so take the bypass back"
            notes += (Note(fault, what, alarming=True),)
        if not step.leftover.written:
            return Outcome(step.leftover, notes=notes)
        try:
            self._ledger.strike(fault.name)
        except OSError as error:
            path = self._ledger.path(fault.name)
            why = f"it is gone, but its file in the ledger is not ({error})"
            return Outcome(step.leftover, Failed(fault, why, (shlex.join(["rm", str(path)]),)))
        return Outcome(step.leftover, notes=notes)


def _tried(remedy: Remedy, within_s: float) -> str | None:
    """Undo one fault and look at the path; what went wrong, or None."""
    try:
        undo(remedy, within_s)
    except (NotUndoneError, ValueError) as error:
        return _briefly(remedy, str(error))
    why = _persistently(lambda: path_serves(remedy))
    return None if why is None else f"proxy {remedy.restores} is restored, but {why}"


def _briefly(remedy: Remedy, why: str) -> str:
    """For a line that has the fault's name and its server's address already."""
    server = remedy.server.rstrip("/")
    why = why.removeprefix(f"{remedy.name}: ")
    why = why.replace(f" {server}/proxies/{quote(remedy.name, safe='')}", " of it")
    return _ERRNO.sub("", why.replace(f" {server}/", " /"))


def _within_a_sentence(said: str) -> str:
    return f"{said[:1].lower()}{said[1:]}".removesuffix(".")


def _persistently(look: Callable[[], str | None]) -> str | None:
    give_up_s = time.monotonic() + _PATH_S
    while (why := look()) is not None and time.monotonic() < give_up_s:
        time.sleep(_PAUSE_S)
    return why


def _moved(step: Step) -> Note:
    """Ours is gone; the operator's proxy is as they left it, which may not be where users are."""
    fault = step.leftover.fault
    what = (
        f"{fault.restores} was changed to {step.moved} since and is left so; it was on "
        f"{fault.listen} -> {fault.upstream}"
    )
    closed = _persistently(lambda: path_serves(remedy_of(fault)))
    if closed is None:
        return Note(fault, what)
    return Note(fault, f"{what}, where clients may still go: {closed}", alarming=True)


def _failed(leftover: Leftover, why: str) -> Failed:
    return Failed(leftover.fault, why, tuple(manual_commands(remedy_of(leftover.fault))))
