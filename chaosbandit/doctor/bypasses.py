"""The operator's ways around proxies: whether a bypass command is there and may be executed.

Nothing is tried: a bypass may do anything, and is used when a removal cannot be confirmed.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from chaosbandit.core.scenario import Proxy, Scenario
from chaosbandit.deadline_thread import awaited_within
from chaosbandit.doctor.findings import Finding, fail, note, ok

LOOK_S = 2.0  # a file system that hangs holds nobody up
_WANTED = "a command that works when Toxiproxy does not"


async def findings(scenario: Scenario | None) -> list[Finding]:
    """One finding for each proxy that has a bypass."""
    found = []
    for proxy in scenario.proxies if scenario is not None else ():
        if isinstance(proxy.bypass, str):
            found.append(_posted(proxy, proxy.bypass))
        elif proxy.bypass is not None:
            found.append(await _executed(proxy, proxy.bypass))
    return found


def _posted(proxy: Proxy, url: str) -> Finding:
    return note(
        f"bypass {proxy.name}",
        f"POST {url} was not tried: it leads traffic around the proxy",
        do="try it by hand while nothing is under test, and see that it answers 2xx",
    )


async def _executed(proxy: Proxy, command: tuple[str, ...]) -> Finding:
    check, program = f"bypass {proxy.name}", Path(command[0])
    try:
        trouble, do = await awaited_within(LOOK_S, lambda: _trouble(program))
    except TimeoutError:
        trouble, do = f"gave no answer within {LOOK_S:g} s", "put it on a disk of this machine"
    if trouble:
        return fail(check, f"{program} {trouble}", _WANTED, do)
    return ok(check, f"`{shlex.join(command)}` can be executed; it was not tried")


def _trouble(program: Path) -> tuple[str, str]:
    """Why the system would not start it, and what to do; nothing where it would."""
    try:
        is_file = program.is_file()
        if not is_file and not program.exists():
            return "does not exist", "put it there, or correct the bypass in the scenario"
    except OSError as error:
        return f"cannot be looked at: {error.strerror or error}", "make its folder accessible"
    if not is_file:
        return "is not a file", "name the command itself as the bypass in the scenario"
    if not os.access(program, os.X_OK):
        do = f"make it executable for this user: `chmod +x {shlex.quote(str(program))}`"
        return "is not executable for this user", do
    return "", ""
