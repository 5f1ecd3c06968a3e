"""Undoing what is due at one server: one proxy's faults in a row, different proxies side by side.

How a fault is undone is the door's; here is how long it is given, and when the operator's bypass is
used. It decides nothing about what is due.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace

from chaosbandit.cleaning import path_notes
from chaosbandit.cleaning.leftovers import Leftover
from chaosbandit.cleaning.report import Failed, Note
from chaosbandit.faults import by_hand, undo_steps
from chaosbandit.faults.fault import Fault
from chaosbandit.faults.softening import may_be_quiet
from chaosbandit.faults.undo_steps import DEADLINE_S, Step, proxy_path
from chaosbandit.safety.bypass import run_bypass
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.toxiproxy.calls import Calls, Unanswered, UnansweredError
from chaosbandit.toxiproxy.undo import FROZEN_S, NotUndoneError, Undone, is_gone, undo

_AT_ONCE = 8  # more make each other's calls late
_FIRST_S = 4.0  # then the operator's bypass is used, and tried on
_LEAST_S = 0.5
_BYPASS_S = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one fault: undone, failed, or neither where somebody else undid it."""

    leftover: Leftover
    undone: Undone | None = None
    failed: Failed | None = None
    notes: tuple[Note, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it has to be looked at again."""
        return self.failed is not None or self.leftover.late_until_s > time.monotonic()


class UndoAll:
    """Undoes faults and strikes them out; each bypass is used once in the life of this object.

    `comes_again`: its user looks again by itself, so that a proxy that hangs is not waited for.
    """

    def __init__(
        self,
        ledger: FaultLedger,
        deadline_s: float,
        say: Callable[[str], None],
        *,
        comes_again: bool = False,
    ) -> None:
        self._ledger = ledger
        self._deadline_s = deadline_s
        self._say = say
        self._comes_again = comes_again
        self._bypassed: set[str] = set()

    def run(self, due: Iterable[Leftover]) -> list[Outcome]:
        """Undo all, and return when each is gone or given up."""
        groups: dict[str, list[Leftover]] = {}
        for leftover in sorted(due, key=lambda one: not one.fault.toxics):  # whole proxies last
            groups.setdefault(leftover.fault.proxy, []).append(leftover)
        if not groups:
            return []
        with ThreadPoolExecutor(min(_AT_ONCE, len(groups))) as pool:
            return [one for found in pool.map(self._undo_on_one, groups.values()) for one in found]

    def _undo_on_one(self, group: Sequence[Leftover]) -> list[Outcome]:
        """Undo the faults on one proxy; once it hangs, the others on it are given up as well."""
        try:
            calls = Calls(group[0].fault.server)
        except ValueError as error:
            return [Outcome(one, failed=Failed(one.fault, str(error))) for one in group]
        outcomes: list[Outcome] = []
        with closing(calls):
            for leftover in group:
                before = outcomes[-1].failed if outcomes else None
                if before is not None and _unanswered(leftover.fault, calls) is not None:
                    outcomes.append(self._given_up(leftover, before.why, calls))
                else:
                    outcomes.append(self._undo(leftover, calls))
        told = path_notes.of_the_path([(one.leftover, one.undone) for one in outcomes])
        return [*outcomes[:-1], replace(outcomes[-1], notes=(*outcomes[-1].notes, *told))]

    def _undo(self, leftover: Leftover, calls: Calls) -> Outcome:
        if not leftover.believed:
            return self._struck_if_gone(leftover, calls)
        give_up_s = time.monotonic() + self._deadline_s
        try:
            undone = _tried(leftover, calls, min(_FIRST_S, self._deadline_s))
            return self._struck(leftover, undone, None)
        except NotUndoneError as error:
            last = error
        if self._is_struck(leftover):
            return Outcome(leftover)
        said = self._go_around(leftover.fault, last)
        frozen_s = self._patience_s(leftover.fault, calls)
        left_s = give_up_s - time.monotonic()
        if frozen_s or left_s > _LEAST_S:
            try:
                undone = _tried(leftover, calls, max(left_s, _LEAST_S), frozen_s)
                return self._struck(leftover, undone, said)
            except NotUndoneError as error:
                last = error
        why = "; ".join([_briefly(last), *([said] if said is not None else [])])
        return self._given_up(leftover, why, calls)

    def _go_around(self, fault: Fault, error: NotUndoneError) -> str | None:
        """Use the operator's bypass, unless users are served; what came of it."""
        if fault.bypass is None or fault.name in self._bypassed or error.served_by is not None:
            return None
        self._bypassed.add(fault.name)
        return run_bypass(fault, _briefly(error), _BYPASS_S)

    def _patience_s(self, fault: Fault, calls: Calls) -> float:
        """How long to wait for a proxy that hangs; a server that hangs as a whole never heals."""
        if self._comes_again or _unanswered(fault, calls) is None:
            return 0.0
        try:
            calls.call("GET", "/version", within_s=DEADLINE_S)
        except UnansweredError:
            return 0.0
        self._say(
            f"{fault.proxy} at {fault.server} hangs: waiting for it, {FROZEN_S:.0f} s at most"
        )
        return FROZEN_S

    def _struck(self, leftover: Leftover, undone: Undone, bypassed: str | None) -> Outcome:
        """Gone; what may still be reached by a late call stays written down."""
        if undone.late is not None:
            until_s = max(undone.late.until_s, leftover.late_until_s)
            opens = undone.late.closes or leftover.ours_to_open
            leftover = replace(leftover, late_until_s=until_s, ours_to_open=opens)
        told = path_notes.of_the_fault(leftover, undone, bypassed, comes_again=self._comes_again)
        outcome = Outcome(leftover, undone, notes=told)
        return outcome if outcome.is_open else self._file_removed(outcome)

    def _struck_if_gone(self, leftover: Leftover, calls: Calls) -> Outcome:
        """Nothing is done on the word of a file that others may write: the server has to say it."""
        if is_gone(leftover.fault, calls):
            return self._file_removed(Outcome(leftover, Undone()))
        why = "its server does not show whether it is there, and its file alone is not believed"
        return Outcome(leftover, failed=Failed(leftover.fault, why))

    def _file_removed(self, outcome: Outcome) -> Outcome:
        name, fault = outcome.leftover.file, outcome.leftover.fault
        if name is None:
            return outcome
        try:
            self._ledger.strike(name)
        except OSError as error:
            why = f"it is gone, but its file in the ledger is not ({error})"
            remove = shlex.join(["rm", str(self._ledger.path(name))])
            return replace(outcome, undone=None, failed=Failed(fault, why, (remove,)))
        return outcome

    def _given_up(self, leftover: Leftover, why: str, calls: Calls) -> Outcome:
        if self._is_struck(leftover):
            return Outcome(leftover)
        commands = by_hand.commands(leftover.fault) if leftover.believed else ()
        failed = Failed(leftover.fault, why, commands)
        return Outcome(replace(leftover, ours_to_open=_may_close(leftover, calls)), failed=failed)

    def _is_struck(self, leftover: Leftover) -> bool:
        """Whether somebody else undid it meanwhile, perhaps by another URL."""
        return leftover.file is not None and not self._ledger.path(leftover.file).exists()


def plan(leftover: Leftover) -> tuple[Step, ...]:
    """The steps that undo it as long as nothing hangs; none on the word of others alone."""
    fault, shown = leftover.fault, leftover.shown
    if not leftover.believed:
        return ()
    if fault.owned:
        return undo_steps.quiet(fault) if fault.toxics else undo_steps.drop(fault)
    back = undo_steps.swap_back(fault)
    if shown is not None and not shown.enabled and fault.toxics:
        off = undo_steps.empty(fault)
    elif may_be_quiet(fault.toxics, nobody_gave_up=False):
        off = undo_steps.quiet(fault)
    else:
        return (*undo_steps.close_and_stand_in(fault), *undo_steps.empty(fault), *back)
    return (*off, *back) if leftover.served else off


def _tried(leftover: Leftover, calls: Calls, within_s: float, frozen_s: float = 0.0) -> Undone:
    fault, opens = leftover.fault, _may_close(leftover, calls)
    try:
        return undo(fault, calls, within_s, ours_to_open=opens, frozen_s=frozen_s)
    except ValueError as error:  # a file with a run or a proxy that no name can be made of
        raise NotUndoneError(fault, str(error)) from error


def _unanswered(fault: Fault, calls: Calls) -> Unanswered | None:
    return calls.unanswered(proxy_path(fault.proxy))


def _may_close(leftover: Leftover, calls: Calls) -> bool:
    """Whether a call of ours may be what closed its proxy."""
    sent = _unanswered(leftover.fault, calls)
    return leftover.ours_to_open or (sent is not None and sent.closes)


def _briefly(error: NotUndoneError) -> str:
    """What was found, and who serves users."""
    if error.served_by is None:
        return error.found
    served = f"the path is served by {error.served_by}, restart that Toxiproxy when you can"
    return f"{error.found}; {served}"
