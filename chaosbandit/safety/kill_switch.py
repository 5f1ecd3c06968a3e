"""The kill switch: files and URLs by which people outside of a run end it (`ports.KillSwitch`).

A file freezes while it exists; a URL while it answers 2xx. 404 and 410 say that there is no freeze.
Whatever cannot be asked counts as frozen: nobody should have to repair the switch to stop a run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from chaosbandit.deadline_thread import awaited_within
from chaosbandit.foreign_text import said
from chaosbandit.safety.ledger import state_directory

PERIOD_S = 1.0
LOOK_S = 1.0  # longest wait for a file system or a server to answer
_HEADERS = {"Cache-Control": "no-cache", "Accept-Encoding": "identity"}
TRIES = 2  # of a URL that gives no clear answer
_NO_FREEZE = (404, 410)


def default_places(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The switches every run looks at: one for this machine and one for this user."""
    return "/etc/chaosbandit/freeze", str(state_directory(environ) / "freeze")


class Freeze:
    """Looks at `places`, absolute paths and URLs; `async with` it to close its connections."""

    def __init__(
        self, places: Sequence[str], *, period_s: float = PERIOD_S, look_s: float = LOOK_S
    ) -> None:
        self.places = tuple(dict.fromkeys(places))
        self._period_s = period_s
        self._look_s = look_s
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._http is not None:
            await self._http.aclose()

    async def pulled(self) -> str | None:
        """Why nothing may be injected now, or None; all places are looked at side by side."""
        found = await asyncio.gather(*(self.look(place) for place in self.places))
        return next((why for why in found if why is not None), None)

    async def wait(self) -> str:
        """Look every second; returns why, as soon as it is pulled."""
        while True:
            await asyncio.sleep(self._period_s)
            why = await self.pulled()
            if why is not None:
                return why

    async def look(self, place: str) -> str | None:
        """Why this one place freezes, or None."""
        if place.startswith("/"):
            return await self._look_at_file(Path(place))
        why = "kill switch"
        for _ in range(TRIES):
            try:
                async with asyncio.timeout(self._look_s):
                    return await self._look_at_url(place)
            except TimeoutError:
                why = f"kill switch: {place} gave no answer within {self._look_s:g} s"
            except (httpx.HTTPError, httpx.InvalidURL, _UnclearError) as error:
                why = f"kill switch: {place} cannot be asked: {said(error) or type(error).__name__}"
        return why + "; as long as that is so nothing is injected"

    async def _look_at_file(self, path: Path) -> str | None:
        try:
            return await awaited_within(self._look_s, lambda: _found_at(path))
        except TimeoutError:
            return (
                f"kill switch: the file system of {path} gave no answer within {self._look_s:g} s"
            )

    async def _look_at_url(self, url: str) -> str | None:
        if self._http is None:
            self._http = httpx.AsyncClient(trust_env=False, timeout=self._look_s)
        async with self._http.stream("GET", url, headers=_HEADERS) as response:
            if response.status_code in _NO_FREEZE:
                return None
            if not response.is_success:
                raise _UnclearError(
                    f"it answered {response.status_code}, wanted 404 (go on) or 200 (freeze)"
                )
            async for chunk in response.aiter_raw(4096):  # unpacked, it could be any size
                return _frozen_by(url, chunk)
            return _frozen_by(url, b"")


class _UnclearError(Exception):
    """A URL answers, but neither yes nor no."""


def _found_at(path: Path) -> str | None:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"kill switch: {path} cannot be looked at ({error.strerror or error})"
    return _frozen_by(str(path), _content(path))


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(4096)
    except OSError:
        return b""  # it exists: that is all that counts


def _frozen_by(place: str, content: bytes) -> str:
    lines = content.decode(errors="replace").strip().splitlines()
    why = said(lines[0]) if lines else ""
    return f"kill switch: {place} says freeze" + (f": {why}" if why else "")
