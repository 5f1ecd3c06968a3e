"""Locked files that say which run of this host has a target, or a listen address at a server.

The kernel ends such a claim with the process that made it, however it dies. Runs of other hosts do
not see it: they are kept off by leases. It knows nothing of faults.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chaosbandit.errors import TargetError, Trouble
from chaosbandit.faults.addresses import is_one_place, place
from chaosbandit.hidden_values import masked
from chaosbandit.safety.lock_files import locked, unlock
from chaosbandit.safety.owned_files import open_ours
from chaosbandit.toxiproxy.lease import Claim, moment

_CLAIM_S = 0.3
_LIMIT = 4096


class RunClaims:
    """What `run` has for itself on this host, as locked files in `directory`."""

    def __init__(self, directory: Path, run: str) -> None:
        self._directory = directory
        self._run = run
        self._held: list[tuple[FileIO, Path]] = []

    def take(self, claim: Claim) -> None:
        """Take the target, and the listen address at the server where there is one, or nothing.

        Raises:
            TargetError: another run of this host has one of them.
            OSError: the directory cannot be written to.
        """
        wanted = {self._path(key): claimed for key, claimed in _wanted(claim).items()}
        try:
            for path in sorted(wanted):  # all in one order, so that of several runs one succeeds
                self._take(path, wanted[path], claim.until_epoch_s)
        except BaseException:
            self.release()
            raise

    def paths(self) -> list[Path]:
        """The files of what is held."""
        return [path for _, path in self._held]

    def release(self) -> None:
        """Give back all that was taken."""
        while self._held:
            unlock(*self._held.pop())

    def _path(self, key: str) -> Path:
        return self._directory / f"claim-{hashlib.sha256(key.encode()).hexdigest()[:16]}.lock"

    def _take(self, path: Path, claimed: dict[str, str], until_epoch_s: int) -> None:
        try:
            file = locked(path, _CLAIM_S)
        except BlockingIOError as error:
            holder = _read(path)
            if holder.get("run") == self._run:
                return
            raise TargetError(_refusal({**claimed, **holder})) from error
        self._held.append((file, path))
        shown = {name: masked(value) for name, value in claimed.items()}
        content = {"run": self._run, "pid": os.getpid(), "until_epoch_s": until_epoch_s, **shown}
        file.truncate(0)
        file.write(json.dumps(content).encode() + b"\n")


def claim_text(holder: Mapping[str, object]) -> str:
    """What the holder of a lock has, by what it wrote into the file."""
    if "listen" in holder:
        return f"proxy address {holder['listen']} at {holder.get('server')}"
    return f"target {holder.get('target')}"


def _wanted(claim: Claim) -> dict[str, dict[str, str]]:
    """What must be ours alone, by a spelling that is the same for all."""
    wanted = {f"target {place(claim.target)}": {"target": claim.target}}
    for listen in (claim.listen, *claim.also):
        if listen is not None and is_one_place(listen):
            key = f"listen {_server(claim.server)} {place(listen)}"
            wanted[key] = {"listen": listen, "server": claim.server}
    return wanted


def _server(url: str) -> str:
    parts = urlsplit(url)
    return place(f"{parts.hostname}:{parts.port or 80}") + parts.path.rstrip("/")


def _read(path: Path) -> dict[str, Any]:
    """What the holder wrote, or nothing if it is about to write it or has just left."""
    try:
        with os.fdopen(open_ours(path, os.O_RDONLY), "rb") as file:
            content = json.loads(file.read(_LIMIT))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _refusal(holder: dict[str, Any]) -> Trouble:
    until = holder.get("until_epoch_s")
    who = f"run {holder['run']} (process {holder.get('pid')})" if "run" in holder else "another run"
    when = f" until {moment(until)} at the latest" if isinstance(until, int) else ""
    return Trouble(
        f"{who} has {claim_text(holder)}{when}",
        do="wait for it or stop it; a dead run's claim ends by itself",
    )
