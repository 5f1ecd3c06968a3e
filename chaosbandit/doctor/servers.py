"""Toxiproxy servers: whether they answer, which version, how fast, and which proxy hangs.

`look` asks a server once; what it shows is then judged here and by the checks of proxies, leftovers
and sweepers, so that a server is asked no more than needed. Nothing on it is changed.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import httpx

from chaosbandit.core.names import owner
from chaosbandit.doctor.asking import Answer, ask
from chaosbandit.doctor.findings import Finding, fail, note, ok, told_by, warn
from chaosbandit.errors import TargetError, ToxiproxyError
from chaosbandit.report.phrases import duration
from chaosbandit.toxiproxy.answers import strange, unreached
from chaosbandit.toxiproxy.client import ToxiproxyClient
from chaosbandit.toxiproxy.wire import ProxyRecord
from chaosbandit.traffic.reach import reachable

DEADLINE_S = 2.0
CALLS = 5
SLOW_CALL_S = 0.100
OLDEST = (2, 7)  # servers before it state their version in a way that a run cannot read


@dataclass(frozen=True, slots=True)
class Shown:
    """What a server showed of itself; `problem` is why it showed no proxies."""

    url: str
    version: Answer | None = None
    calls_s: tuple[float, ...] = ()
    proxies: Mapping[str, ProxyRecord] | None = None
    problem: str = ""
    hanging: tuple[str, ...] = ()  # proxies that gave no answer when asked by name
    embedded: bool = False  # a server of our own, started for a look at it
    is_silent: bool = False  # it takes connections and answers nothing
    is_foreign: bool = False  # something else than Toxiproxy answers


async def look(
    url: str, names: Sequence[str], *, embedded: bool = False, deadline_s: float = DEADLINE_S
) -> Shown:
    """Ask for the version, a few times for the proxies and, where that hangs, for `names`."""
    try:
        version = await ask(f"{url}/version", deadline_s)
    except (TimeoutError, httpx.HTTPError) as error:
        return await _unanswered(url, error, deadline_s)
    if _version(version)[0] is None:
        said = f"its /version answered {version.status}: {version.text[:60]!r}"
        return Shown(url, version, problem=str(strange(url, said)), is_foreign=True)
    client = ToxiproxyClient(url, deadline_s)
    calls_s, proxies, problem, is_foreign = [], None, "", False
    try:
        for _ in range(CALLS):
            began_s = time.perf_counter()
            proxies = await client.proxies()
            calls_s.append(time.perf_counter() - began_s)
    except ToxiproxyError as error:
        proxies, problem = None, str(error)
        if error.status == 404:
            problem = str(strange(url, "it has no /proxies"))
        is_foreign = "does not speak" in problem
    hanging: tuple[str, ...] = ()
    if proxies is None and not is_foreign:
        asked = await asyncio.gather(*(_hangs(client, name) for name in names))
        hanging = tuple(name for name, hangs in zip(names, asked, strict=True) if hangs)
    listed = (tuple(calls_s), proxies, problem, hanging)
    return Shown(url, version, *listed, embedded=embedded, is_foreign=is_foreign)


def findings(shown: Shown) -> list[Finding]:
    """Whether a run could work with this server."""
    if shown.is_foreign:
        return [_foreign(shown)]
    if shown.is_silent:
        said = f"{shown.url} takes connections and does not answer `GET /version`"
        do = "it hangs or is frozen: restart it"
        return [fail("toxiproxy", said, f"an answer within {DEADLINE_S:g} s", do)]
    if shown.version is None:
        do = "start Toxiproxy there, or correct its address"
        return [replace(told_by("toxiproxy", shown.problem), do=do)]
    found = [versioned(shown.url, shown.version, embedded=shown.embedded)]
    if shown.proxies is None:
        found.append(_stuck(shown))
    else:
        found.append(_speed(shown))
    return found


def versioned(url: str, answer: Answer, *, embedded: bool = False) -> Finding:
    """Whether a run can work with that version."""
    wanted = f"{OLDEST[0]}.{OLDEST[1]} or newer"
    version, readable = _version(answer)
    if version == "git":
        what = f"{url} is a build of Toxiproxy that states no version"
        return note("toxiproxy", what, f"a release, {wanted}", "make sure it is built of one")
    numbers = re.match(r"(\d+)\.(\d+)", version or "")
    old = numbers is not None and (int(numbers[1]), int(numbers[2])) < OLDEST
    if old or not readable:
        what = f"{url} runs Toxiproxy {version}, whose version a run cannot read"
        return fail("toxiproxy", what, wanted, "upgrade it: its API lacks what a run relies on")
    if embedded:
        return ok("toxiproxy", f"the embedded server starts, compatible with {version}")
    return ok("toxiproxy", f"{url} runs Toxiproxy {version}")


def _version(answer: Answer) -> tuple[str | None, bool]:
    """The version, and whether it is stated in the way of today's servers."""
    try:
        said = json.loads(answer.text)
    except ValueError:
        plain = re.fullmatch(r"(git|\d+\.\d+[\w.-]*)\s*", answer.text)
        return (plain[1], False) if plain and answer.status == 200 else (None, False)
    version = said.get("version") if isinstance(said, dict) else None
    return (version, True) if isinstance(version, str) else (None, False)


def _foreign(shown: Shown) -> Finding:
    return fail("toxiproxy", shown.problem, "a Toxiproxy server", "correct its address")


def _speed(shown: Shown) -> Finding:
    median_s, worst_s = statistics.median(shown.calls_s), max(shown.calls_s)
    found = f"{shown.url} lists its proxies in {duration(median_s)}, at worst {duration(worst_s)}"
    if median_s > SLOW_CALL_S:
        do = "look at the load of its host and at the way there: removing a fault takes such calls"
        return warn("API latency", found, f"{duration(SLOW_CALL_S)} or less", do)
    return ok("API latency", found)


def _stuck(shown: Shown) -> Finding:
    if "did not answer" not in shown.problem and "503" not in shown.problem:
        return told_by("API latency", shown.problem, do="see the log of that server")
    found = f"{shown.url} is frozen: it states its version but does not list its proxies"
    wanted = f"an answer within {DEADLINE_S:g} s"
    if not shown.hanging:
        do = "restart that server; none of the proxies we know of hangs, so it is another one"
        return fail("API latency", found, wanted, do)
    name = shown.hanging[0]
    found += f"; {', '.join(shown.hanging)} hangs"
    url = f"{shown.url}/proxies/{name}"
    do = f"delete that proxy and make it anew: `curl -sS -m 40 -X DELETE {url}`"
    if owner(name) is not None:
        do = f"run `chaosbandit clean --toxiproxy {shown.url}`"
    return fail("API latency", found, wanted, f"{do}; restart the server if that does not help")


async def _unanswered(url: str, error: Exception, deadline_s: float) -> Shown:
    """Why there was no answer: nobody there, a silent server, or one of another protocol."""
    try:
        await reachable(url, deadline_s)
    except TargetError as found:
        return Shown(url, problem=str(found))
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return Shown(url, is_silent=True)
    if isinstance(error, httpx.RemoteProtocolError):
        said = f"it answered `GET /version` with something else than HTTP: {error}"
        return Shown(url, problem=str(strange(url, said)), is_foreign=True)
    return Shown(url, problem=str(unreached(url, "GET /version", error)))


async def _hangs(client: ToxiproxyClient, name: str) -> bool:
    try:
        await client.proxy(name)
    except ToxiproxyError as error:
        return error.status in (None, 503)
    return False
