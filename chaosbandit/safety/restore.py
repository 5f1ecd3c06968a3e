"""Undoing one fault: our proxy goes, the operator's comes back clean on the same address.

Shared by watchdog and clean, so standard library only. It never calls `/reset` and never deletes a
single toxic, since under traffic either can freeze a real server for a minute.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from chaosbandit.core.names import parse_lease
from chaosbandit.core.remedies import manual_commands as manual_commands  # for those who undo
from chaosbandit.safety.address import accepts, host_of, is_loopback, same_address
from chaosbandit.safety.control import CALL_S, Control, Reply, UnansweredError, status_of

if TYPE_CHECKING:
    from chaosbandit.core.model import Fault

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 2.0
_LOOK_S = 2.0
_CLOSING_S = 0.5
DEAD_S = 3.0  # a loopback server that refuses all this while is gone, and our faults with it
LEASE_DEAD_S = 10.0  # nobody suffers from a lease, so there is time to be sure
_SAID = 200  # characters of an answer worth repeating


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
        StoppedError: `control` was stopped meanwhile.
    """
    give_up_s = time.monotonic() + deadline_s
    own = Control(remedy.server) if control is None else control
    pause_s = _FIRST_PAUSE_S
    found = ""
    refused_from_s: float | None = None
    try:
        while True:
            try:
                _replace(remedy, own, give_up_s)
                confirm(remedy, own, give_up_s)
                return
            except (UnansweredError, NotUndoneError) as error:
                now_s = time.monotonic()
                refused = isinstance(error, UnansweredError) and error.refused
                refused_from_s = (refused_from_s or now_s) if refused else None
                if refused_from_s and _died_with_its_faults(remedy, now_s - refused_from_s):
                    return
                if not found or time.monotonic() < give_up_s:  # not merely cut off by the deadline
                    found = str(error)
            if time.monotonic() + pause_s >= give_up_s:
                raise NotUndoneError(f"{remedy.name}: {found}")
            own.wait(pause_s)
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
    if reply.status == 200:
        raise NotUndoneError("our proxy is still there (GET answered 200)")
    if reply.status != 404 or reply.record().get("error") != "proxy not found":
        # Toxiproxy's own words; a 404 of anything that stands in front of it proves nothing.
        raise NotUndoneError(f"no word on whether our proxy is gone: GET answered {_said(reply)}")
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


def path_serves(remedy: Remedy) -> str | None:
    """None where the restored path answers or cannot be seen from here, else what was found.

    A wedged Toxiproxy still accepts connections, so without a `check` this proves little.
    """
    if remedy.restores is None or remedy.server_dies_with_run:
        return None  # the path was ours, or ends with us
    if remedy.check is not None:
        try:
            status_of("GET", remedy.check, _LOOK_S)
        except UnansweredError as error:
            return f"the path does not answer: {error}"
    elif accepts(remedy.listen, remedy.server, _LOOK_S) is False:
        return f"nothing accepts connections at {remedy.listen}"
    return None


def revive(remedy: Remedy, control: Control) -> None:
    """Close and open the operator's proxy once, which drops connections that hang in it.

    Whatever hinders this is found out by the next `undo`, which enables it if it stays disabled.
    """
    path = _path(remedy.restores or "")
    for enabled in (False, True):
        try:
            _call(control, "POST", path, {"enabled": enabled}, None)
        except UnansweredError:
            continue  # a wedged proxy is disabled all the same, and only the answer is missing


def _replace(remedy: Remedy, control: Control, give_up_s: float) -> None:
    """Have the original stand ready, disabled, so that the address is closed for one call only.

    A frozen proxy closes its listener at once and only the answer hangs, but deleting it would
    freeze the whole API: so it is closed, and deleted only when it answers.
    """
    ready = remedy.restores is not None and _stands_ready(remedy, control, give_up_s)
    if parse_lease(remedy.name) is None:
        closing_s = min(give_up_s, time.monotonic() + _CLOSING_S)
        with suppress(UnansweredError):
            _call(control, "POST", _path(remedy.name), {"enabled": False}, closing_s)
    refusal = _enable_original(remedy, control, give_up_s) if ready else None
    shown = _call(control, "GET", _path(remedy.name), None, give_up_s)
    if shown.status != 404:
        gone = _call(control, "DELETE", _path(remedy.name), None, give_up_s)
        if gone.status not in (204, 404):
            raise NotUndoneError(f"our proxy was not deleted: {_said(gone)}")
    if refusal is not None:
        raise NotUndoneError(refusal)


def _enable_original(remedy: Remedy, control: Control, give_up_s: float) -> str | None:
    """What the server said instead of doing it: no reason to leave ours where it is."""
    original = remedy.restores or ""
    reply = _call(control, "POST", _path(original), {"enabled": True}, give_up_s)
    return None if reply.status == 200 else f"proxy {original} not enabled: {_said(reply)}"


def _stands_ready(remedy: Remedy, control: Control, give_up_s: float) -> bool:
    """Whether the original only needs enabling; created if missing, left alone if changed.

    Whatever hinders this must not keep our own proxy in place, so it has half of the time only, and
    `confirm` tells of it afterwards.
    """
    original = {**_original(remedy), "enabled": False}
    half_s = (time.monotonic() + give_up_s) / 2
    try:
        made = _call(control, "POST", "/proxies", original, half_s)
        if made.status == 409:
            return _restored(remedy, control, half_s).get("enabled") is False
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


def _died_with_its_faults(remedy: Remedy, refused_s: float) -> bool:
    """Proxies live in memory only: where API and path are closed for good, none of ours is left.

    A port that is forwarded may open again with the server behind it, so this takes a while. With
    an operator's proxy to restore it is not enough, unless the server was the run's own.
    """
    if not is_loopback(host_of(remedy.server)):
        return False
    if parse_lease(remedy.name) is not None:
        return remedy.server_dies_with_run or refused_s >= LEASE_DEAD_S
    closed = accepts(remedy.listen, remedy.server) is False
    if remedy.server_dies_with_run:
        return closed
    return remedy.restores is None and closed and refused_s >= DEAD_S


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
    return f"{reply.status} {text[:_SAID]}".strip()
