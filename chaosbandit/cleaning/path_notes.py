"""What people should know beside a fault that is undone: what it cost, and how its path is now.

Nothing is repaired here: what others did to the operator's proxy is told with the command.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence

from chaosbandit.cleaning.leftovers import Leftover
from chaosbandit.cleaning.report import Note
from chaosbandit.errors import Exit
from chaosbandit.faults import by_hand
from chaosbandit.faults.addresses import accepts
from chaosbandit.faults.fault import Fault
from chaosbandit.toxiproxy.calls import UnansweredError, status_of
from chaosbandit.toxiproxy.undo import Others, Undone

_PATH_S = 1.0
_LOOK_S = 2.0
_PAUSE_S = 0.05
_NAMES_ONLY = (
    "its file in the ledger is another user's or may be written by others: only its names were "
    "used, and its check and its bypass were not run"
)
_BY_OTHERS: Mapping[Others, tuple[str, Callable[[Fault], str] | None]] = {
    Others.GONE: ("deleted", by_hand.create),
    Others.CLOSED: ("closed", by_hand.enable),
    Others.MOVED: ("moved elsewhere", None),
}


def of_the_file(leftover: Leftover) -> tuple[Note, ...]:
    """That a file was not believed, where it was not."""
    return () if leftover.trusted else (Note(leftover.fault, _NAMES_ONLY),)


def of_the_fault(
    leftover: Leftover, undone: Undone, bypassed: str | None, *, comes_again: bool
) -> tuple[Note, ...]:
    """What undoing it did beside, and what is still to be done about it."""
    fault, found = leftover.fault, []
    if undone.cut:
        found.append(Note(fault, _cost(fault, undone)))
    if leftover.foreign_toxics and not fault.owned and not undone.replaced:
        kept = ", ".join(leftover.foreign_toxics)
        found.append(Note(fault, f"{fault.proxy} carries toxics that are not ours, kept: {kept}"))
    if bypassed is not None:
        what = f"{bypassed}; the fault is gone since, so take the bypass back"
        found.append(Note(fault, what, Exit.NOT_CLEAN))
    if undone.late is not None:
        found.append(_late(leftover, undone.late.closes, comes_again))
    return tuple(found)


def of_the_path(outcomes: Sequence[tuple[Leftover, Undone | None]]) -> tuple[Note, ...]:
    """How the path through the operator's proxy is, once all on it is undone."""
    undone = [(one.fault, what) for one, what in outcomes if what is not None]
    if len(undone) < len(outcomes) or undone[-1][0].owned or undone[-1][0].dies_with_run:
        return ()
    last, how = undone[-1]
    fault = next((one for one, _ in undone if one.check is not None), last)
    serves, why = _path(fault)
    if how.others is None and serves is not False:
        return ()
    what, commands = f"nothing of ours is left on {fault.proxy}", tuple[str, ...]()
    if how.others is not None:
        done, command = _BY_OTHERS[how.others]
        was = f"it was on {fault.listen} -> {fault.upstream}"
        what = f"{fault.proxy} was {done} by others and is left so; {was}"
        commands = () if command is None else (command(fault),)
    if serves is False:
        what = f"{what}, but {why}"
    return (Note(fault, what, Exit.ANSWERED if serves else Exit.HARNESS, commands),)


def _cost(fault: Fault, undone: Undone) -> str:
    count = undone.connections_cut
    cut = "its connections were" if count is None else f"{count} of its connections were"
    if not undone.replaced:
        return f"{fault.proxy} had to be closed for a moment: {cut} cut"
    return (
        f"{fault.proxy} had to be deleted and was created as it was, without toxics of others: "
        f"{cut} cut"
    )


def _late(leftover: Leftover, closes: bool, comes_again: bool) -> Note:
    """What may still come: alarming only where it would close the path."""
    fault, left_s = leftover.fault, leftover.late_until_s - time.monotonic()
    until = time.strftime("%H:%M:%SZ", time.gmtime(time.time() + left_s + 1))
    what = f"a call about it got no answer and may take effect until {until}"
    what = f"{what}, and close {fault.proxy}" if closes else what
    if comes_again:
        return Note(fault, f"{what}; it is looked at again until then")
    clean = shlex.join(["chaosbandit", "clean", "--toxiproxy", fault.server])
    commands = (clean, by_hand.look(fault.server, fault.proxy))
    worth = Exit.NOT_CLEAN if closes else Exit.ANSWERED
    return Note(fault, f"{what}; look at it again then", worth, commands)


def _path(fault: Fault) -> tuple[bool | None, str]:
    """Whether the path answers, None where that cannot be seen from here; and why not.

    A wedged Toxiproxy still accepts connections, so without a `check` this proves little.
    """
    give_up_s = time.monotonic() + _PATH_S
    while (found := _look(fault))[0] is False and time.monotonic() < give_up_s:
        time.sleep(_PAUSE_S)
    return found


def _look(fault: Fault) -> tuple[bool | None, str]:
    if fault.check is None:
        why = f"nothing accepts connections at {fault.listen}"
        return accepts(fault.listen, fault.server, _LOOK_S), why
    try:
        status_of("GET", fault.check, _LOOK_S)
    except UnansweredError as error:
        return False, f"the path does not answer: {error}"
    return True, ""
