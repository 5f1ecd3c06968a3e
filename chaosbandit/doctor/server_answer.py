"""What a Toxiproxy server shows of itself when it is asked once: the one place that asks it.

What it means is said by `servers` and the checks of proxies, leftovers and sweepers, so that a
server is asked no more than needed. Nothing on it is changed.
"""

from __future__ import annotations

import asyncio
import http.client
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from chaosbandit.deadline_thread import awaited_within
from chaosbandit.errors import HarnessError, Trouble
from chaosbandit.faults.undo_steps import proxy_path
from chaosbandit.foreign_text import said
from chaosbandit.toxiproxy.calls import Calls, Reply, UnansweredError
from chaosbandit.toxiproxy.error_words import unanswered
from chaosbandit.toxiproxy.listing import Listing, StrangeError, listing_in
from chaosbandit.toxiproxy.round_trip import measured_s
from chaosbandit.toxiproxy.wire_format import ProxyRecord
from chaosbandit.traffic.reachability import reachable

DEADLINE_S = 2.0
_MOST_CALLS = 6  # of which a server may take its time: a slow one is the last of its round
_SAID = 60  # characters of what something else answered
_FROZEN = 503  # what a frozen server answers once it has waited for long enough

_NONE = Trouble("")


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """What a server showed of itself; `problem` is why it showed no proxies."""

    url: str
    version: Reply | None = None
    calls_s: tuple[float, ...] = ()
    listing: Listing | None = None
    problem: Trouble = _NONE
    hanging: tuple[str, ...] = ()  # proxies that gave no answer when asked by name
    embedded: bool = False  # a server of our own, started for a look at it
    is_silent: bool = False  # it takes connections and answers nothing
    is_frozen: bool = False  # it states its version and does not list its proxies
    is_foreign: bool = False  # something else than Toxiproxy answers

    @property
    def proxies(self) -> Mapping[str, ProxyRecord] | None:
        """Its proxies, where it listed them."""
        return None if self.listing is None else self.listing.proxies


async def look(
    url: str, names: Sequence[str], *, embedded: bool = False, deadline_s: float = DEADLINE_S
) -> ServerAnswer:
    """Ask for the version, the proxies, a few times and, where that hangs, for `names`."""
    try:
        calls = Calls(url)
    except ValueError as error:
        return ServerAnswer(url, problem=Trouble(str(error)))
    with closing(calls):
        try:
            version = await awaited_within(
                2 * deadline_s, lambda: calls.call("GET", "/version", within_s=deadline_s)
            )
        except UnansweredError as error:
            return await _unanswered(url, error, deadline_s)
        if version_in(version)[0] is None:
            found = f"its /version answered {version.status}: {said(version.text, _SAID)!r}"
            return ServerAnswer(url, version, problem=_strange(url, found), is_foreign=True)
        within_s = _MOST_CALLS * deadline_s
        shown = await awaited_within(within_s, lambda: _listed(url, version, calls, deadline_s))
    if shown.is_frozen:
        asked = await asyncio.gather(*(_hangs(url, name, deadline_s) for name in names))
        hanging = tuple(name for name, hangs in zip(names, asked, strict=True) if hangs)
        shown = replace(shown, hanging=hanging)
    return replace(shown, embedded=embedded)


def version_in(answer: Reply) -> tuple[str | None, bool]:
    """The version, and whether it is stated in the way of today's servers."""
    version = answer.record().get("version")
    if isinstance(version, str):
        return said(version, _SAID), True
    plain = re.fullmatch(r"(git|\d+\.\d+[\w.-]*)\s*", answer.text)
    return (plain[1], False) if plain and answer.status == 200 else (None, False)


def _listed(url: str, version: Reply, calls: Calls, deadline_s: float) -> ServerAnswer:
    """What it shows of its proxies, and how soon."""
    try:
        reply = calls.call("GET", "/proxies", within_s=deadline_s)
        if reply.status != 200:
            return _refused(url, version, reply)
        listing = listing_in(url, reply)
        calls_s = measured_s(calls, deadline_s)
    except UnansweredError as error:
        frozen = isinstance(error.__cause__, TimeoutError)
        return ServerAnswer(url, version, problem=unanswered(url, error), is_frozen=frozen)
    except StrangeError as error:
        return ServerAnswer(url, version, problem=_strange(url, str(error)), is_foreign=True)
    return ServerAnswer(url, version, calls_s, listing)


def _refused(url: str, version: Reply, reply: Reply) -> ServerAnswer:
    if reply.status == 404:
        return ServerAnswer(
            url, version, problem=_strange(url, "it has no /proxies"), is_foreign=True
        )
    problem = Trouble(f"Toxiproxy at {url} answered `GET /proxies` with {reply.said()}")
    return ServerAnswer(url, version, problem=problem, is_frozen=reply.status == _FROZEN)


async def _unanswered(url: str, error: UnansweredError, deadline_s: float) -> ServerAnswer:
    """Why there was no answer: nobody there, a silent server, or one of another protocol."""
    try:
        await reachable(url, deadline_s)
    except HarnessError as found:
        return ServerAnswer(url, problem=found.trouble)
    if isinstance(error.__cause__, TimeoutError):
        return ServerAnswer(url, is_silent=True)
    if isinstance(error.__cause__, http.client.HTTPException):
        why = said(error.why, _SAID)
        what = f"it answered `GET /version` with something else than HTTP: {why}"
        return ServerAnswer(url, problem=_strange(url, what), is_foreign=True)
    return ServerAnswer(url, problem=unanswered(url, error))


async def _hangs(url: str, name: str, deadline_s: float) -> bool:
    def ask() -> bool:
        with closing(Calls(url)) as calls:
            try:
                return calls.call("GET", proxy_path(name), within_s=deadline_s).status == _FROZEN
            except UnansweredError:
                return True

    return await awaited_within(2 * deadline_s, ask)


def _strange(url: str, what: str) -> Trouble:
    return Trouble(f"what runs at {url} does not speak Toxiproxy's API, {what}")
