"""What a person pastes into a shell to undo a fault when we could not: our own steps, as commands.

In this order they are right however far an injection or its removal came: what is already so is
answered with 404 or 409 and changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from chaosbandit.faults.fault import Fault
from chaosbandit.faults.undo_steps import (
    Call,
    Step,
    Wait,
    close_and_stand_in,
    delete_toxics,
    drop,
    empty,
    proxy_path,
    quiet,
    swap_back,
)
from chaosbandit.faults.undo_steps import create as create_closed
from chaosbandit.hidden_values import shell_word

_AHEAD_S = 1  # users wait for the next command
_SOON_S = 3  # whether it hangs is known by then
_FROZEN_S = 40  # a frozen server answers after 25 s


def commands(fault: Fault) -> tuple[str, ...]:
    """The commands that undo `fault`, the gentlest that may work first.

    A proxy is closed before anything in it is deleted, and opened only if it answers: whatever
    hangs must not be deleted, since that would freeze the whole API.
    """
    if fault.owned:
        close, delete = drop(fault)
        return (*_lines(fault.server, [close]), _if_it_answers(fault, [delete]))
    begin = [*close_and_stand_in(fault), *_waits(fault)] if fault.toxics else []
    back = [*delete_toxics(fault), create_closed(fault), *swap_back(fault)]
    return (*_lines(fault.server, begin), _if_it_answers(fault, back))


def look(server: str, proxy: str) -> str:
    """The command that shows a proxy."""
    return _joined(_curl(_SOON_S, server, proxy_path(proxy)))


def create(fault: Fault) -> str:
    """The command that creates the proxy which others have deleted; we never do it ourselves."""
    body = {"name": fault.proxy, "listen": fault.listen, "upstream": fault.upstream}
    return line(fault.server, Call("create", "POST", "/proxies", {**body, "enabled": True}))


def enable(fault: Fault) -> str:
    """The command that opens the proxy which others have closed."""
    return line(fault.server, Call("open", "POST", proxy_path(fault.proxy), {"enabled": True}))


def line(server: str, step: Step) -> str:
    """One step as a shell command."""
    if isinstance(step, Wait):
        return f"sleep {step.duration_s:.1f}"
    words = _curl(_AHEAD_S if step.ahead else _FROZEN_S, server, step.path)
    if step.method == "DELETE":
        words += ["-X", "DELETE"]
    if step.body is not None:
        words += ["-d", json.dumps(step.body)]
    return _joined(words)


def quiet_commands(fault: Fault) -> tuple[str, ...]:
    """The gentle way, for a server that is known to answer."""
    return tuple(_lines(fault.server, quiet(fault)))


def _waits(fault: Fault) -> list[Step]:
    return [step for step in empty(fault) if isinstance(step, Wait)]


def _lines(server: str, steps: Iterable[Step]) -> list[str]:
    return [line(server, step) for step in steps]


def _if_it_answers(fault: Fault, steps: Iterable[Step]) -> str:
    return " && ".join([look(fault.server, fault.proxy), *_lines(fault.server, steps)])


def _joined(words: Iterable[str]) -> str:
    """A command; what variables of the scenario held is left for the shell to fill in."""
    return " ".join(map(shell_word, words))


def _curl(within_s: int, server: str, path: str) -> list[str]:
    return ["curl", "-sS", "-m", str(within_s), f"{server.rstrip('/')}{path}"]
