"""Undoing one fault: our proxy goes, the operator's comes back clean on the same address.

Shared by watchdog and clean, so standard library only. It never calls `/reset` and never deletes a
single toxic, since under traffic either can freeze a real server for a minute.
"""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from chaosbandit.safety.address import accepts, host_of, is_loopback, same_address
from chaosbandit.safety.control import CALL_S, Control, Reply, UnansweredError

if TYPE_CHECKING:
    from chaosbandit.core.model import Fault

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 2.0


class NotUndoneError(Exception):
    """A fault is not confirmed as undone; the text says what was found instead."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """What must be done to undo a fault, and how one knows that it is done."""

    server: str
    name: str
    listen: str
    upstream: str
    restores: str | None
    toxics: tuple[str, ...] = ()  # names of those we made
    server_dies_with_run: bool = False  # a server embedded in the run takes its faults with it
    check: str | None = None  # a URL answered through the path
    bypass: str | tuple[str, ...] | None = None  # the operator's way around it: URL or command


def remedy_of(fault: Fault, *, server_dies_with_run: bool = False) -> Remedy:
    """What undoes `fault`."""
    return Remedy(
        server=fault.server,
        name=fault.name,
        listen=fault.listen,
        upstream=fault.upstream,
        restores=fault.restores,
        toxics=tuple(toxic.name for toxic in fault.toxics),
        server_dies_with_run=server_dies_with_run,
        check=fault.check,
        bypass=fault.bypass,
    )


def undo(remedy: Remedy, deadline_s: float, control: Control | None = None) -> None:
    """Remove our proxy, put the operator's back and read both back, again and again if need be.

    Raises:
        NotUndoneError: not confirmed within `deadline_s`; no single call lasted longer than 2 s.
    """
    give_up_s = time.monotonic() + deadline_s
    own = Control(remedy.server) if control is None else control
    pause_s = _FIRST_PAUSE_S
    found = ""
    try:
        while True:
            try:
                _replace(remedy, own, give_up_s)
                confirm(remedy, own, give_up_s)
                return
            except (UnansweredError, NotUndoneError) as error:
                if _died_with_its_faults(remedy, error):
                    return
                if not found or time.monotonic() < give_up_s:  # not merely cut off by the deadline
                    found = str(error)
            if time.monotonic() + pause_s >= give_up_s:
                raise NotUndoneError(f"{remedy.name}: {found}")
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    finally:
        if control is None:
            own.close()


def confirm(remedy: Remedy, control: Control, give_up_s: float | None = None) -> None:
    """Read back that our proxy is gone and the operator's is there, enabled and as it was.

    Raises:
        NotUndoneError: it is not so.
        UnansweredError: the server did not say.
    """
    reply = _call(control, "GET", _path(remedy.name), None, give_up_s)
    if reply.status != 404:
        raise NotUndoneError(f"our proxy is still there (GET answered {reply.status})")
    if remedy.restores is not None:
        found = _restored(remedy, control, give_up_s)
        if found.get("enabled") is not True:
            raise NotUndoneError(f"proxy {remedy.restores} is disabled, wanted it enabled")


def settle(remedy: Remedy, deadline_s: float, control: Control) -> None:
    """Look again later, and undo again if a call that was still on its way came in between.

    Raises:
        NotUndoneError: as `undo`.
    """
    try:
        confirm(remedy, control)
    except (NotUndoneError, UnansweredError):
        undo(remedy, deadline_s, control)


def manual_commands(remedy: Remedy) -> list[str]:
    """The commands a person can paste to do the same, in order."""
    server = remedy.server.rstrip("/")
    curl = ["curl", "-sS", "-m", "40"]  # a frozen server answers after 25 s
    commands = [[*curl, "-X", "DELETE", server + _path(remedy.name)]]
    if remedy.restores is not None:
        original = server + _path(remedy.restores)
        commands += [
            [*curl, f"{server}/proxies", "-d", json.dumps(_original(remedy))],  # 409: it is there
            [*curl, original, "-d", json.dumps({"enabled": True})],
            [*curl, original],
        ]
    return [shlex.join(command) for command in commands]


def _replace(remedy: Remedy, control: Control, give_up_s: float) -> None:
    """Have the original stand ready, disabled, so that the address is closed for one call only."""
    ready = remedy.restores is not None and _stands_ready(remedy, control, give_up_s)
    gone = _call(control, "DELETE", _path(remedy.name), None, give_up_s)
    if gone.status not in (204, 404):
        raise NotUndoneError(f"our proxy was not deleted: {_said(gone)}")
    if ready:
        original = remedy.restores or ""
        reply = _call(control, "POST", _path(original), {"enabled": True}, give_up_s)
        if reply.status != 200:
            raise NotUndoneError(f"proxy {original} not enabled: {_said(reply)}")


def _stands_ready(remedy: Remedy, control: Control, give_up_s: float) -> bool:
    """Whether the original only needs enabling; created if missing, left alone if changed.

    Whatever hinders this must not keep our own proxy in place: `confirm` tells of it afterwards.
    """
    original = {**_original(remedy), "enabled": False}
    try:
        made = _call(control, "POST", "/proxies", original, give_up_s)
        if made.status == 409:
            return _restored(remedy, control, give_up_s).get("enabled") is False
    except (NotUndoneError, UnansweredError):
        return False
    return made.status == 201


def _restored(remedy: Remedy, control: Control, give_up_s: float | None) -> dict[str, Any]:
    """The operator's proxy as the server shows it, once it is on its address and free of ours."""
    original = remedy.restores or ""
    reply = _call(control, "GET", _path(original), None, give_up_s)
    if reply.status != 200:
        raise NotUndoneError(f"proxy {original} is not there: {_said(reply)}")
    found = reply.record()
    place = (str(found.get("listen")), str(found.get("upstream")))
    if not same_address(place[0], remedy.listen) or place[1] != remedy.upstream:
        raise NotUndoneError(
            f"proxy {original} is on {place[0]} -> {place[1]}, "
            f"wanted {remedy.listen} -> {remedy.upstream}"
        )
    listed = found.get("toxics")
    there = {str(toxic.get("name")) for toxic in listed or () if isinstance(toxic, dict)}
    ours = sorted(there.intersection(remedy.toxics))
    if ours:
        raise NotUndoneError(
            f"proxy {original} carries {', '.join(ours)}, wanted none of our toxics"
        )
    return found


def _died_with_its_faults(remedy: Remedy, error: Exception) -> bool:
    """Toxics live in memory only: where API and path are both closed, no fault of ours is left.

    With an operator's proxy to restore that is not enough, unless the server was the run's own.
    """
    refused = isinstance(error, UnansweredError) and error.refused
    if not refused or not is_loopback(host_of(remedy.server)):
        return False
    nothing_to_restore = remedy.restores is None or remedy.server_dies_with_run
    return nothing_to_restore and accepts(remedy.listen, remedy.server) is False


def _call(control: Control, method: str, path: str, body: object, give_up_s: float | None) -> Reply:
    within_s = CALL_S if give_up_s is None else min(CALL_S, give_up_s - time.monotonic())
    return control.call(method, path, body, max(within_s, 0.0))


def _path(name: str) -> str:
    return f"/proxies/{quote(name, safe='')}"


def _original(remedy: Remedy) -> dict[str, object]:
    return {
        "name": remedy.restores,
        "listen": remedy.listen,
        "upstream": remedy.upstream,
        "enabled": True,
    }


def _said(reply: Reply) -> str:
    text = str(reply.record().get("error") or reply.text).strip()
    return f"{reply.status} {text}".strip()
