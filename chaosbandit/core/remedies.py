"""What a person pastes into a shell to undo a fault when we could not.

Safety and injector both print it, and the watchdog loads this file without the package, so it needs
nothing but the standard library. Pure: it writes text and asks no server.
"""

from __future__ import annotations

import json
import shlex
from typing import Protocol
from urllib.parse import quote

_CURL = ("curl", "-sS", "-m", "40")  # a frozen server answers after 25 s
_CURL_SOON = ("curl", "-sS", "-m", "3")


class Undoable(Protocol):
    """What must be known of a fault, whatever record it is kept in."""

    @property
    def server(self) -> str:
        """URL of the Toxiproxy API."""
        ...

    @property
    def name(self) -> str:
        """Our proxy."""
        ...

    @property
    def listen(self) -> str:
        """Where it listens."""
        ...

    @property
    def upstream(self) -> str:
        """Where it leads to."""
        ...

    @property
    def restores(self) -> str | None:
        """The operator's proxy that must come back."""
        ...


def manual_commands(fault: Undoable) -> tuple[str, ...]:
    """Close ours; create the operator's proxy, or enable it if it is there; delete ours; look.

    In this order they are right however far an injection or its removal came: what is already so is
    answered with 404 or 409 and changes nothing. The first alone ends the toxics, even where only
    its answer hangs. To delete a proxy that hangs would freeze the whole API, so it must answer.
    """
    server = fault.server.rstrip("/")
    ours = f"{server}/proxies/{quote(fault.name, safe='')}"
    close = shlex.join([*_CURL_SOON, ours, "-d", json.dumps({"enabled": False})])
    answers, delete = [*_CURL_SOON, ours], [*_CURL, "-X", "DELETE", ours]
    delete_if_it_answers = f"{shlex.join(answers)} && {shlex.join(delete)}"
    if fault.restores is None:
        return close, delete_if_it_answers
    original = {
        "name": fault.restores,
        "listen": fault.listen,
        "upstream": fault.upstream,
        "enabled": True,
    }
    url = f"{server}/proxies/{quote(fault.restores, safe='')}"
    return (
        close,
        shlex.join([*_CURL, f"{server}/proxies", "-d", json.dumps(original)]),
        shlex.join([*_CURL, url, "-d", json.dumps({"enabled": True})]),
        delete_if_it_answers,
        shlex.join([*_CURL, url]),
    )
