"""The whole examination: all checks at once, each with a deadline, then the ceiling alone.

machine | scenario | target | servers -> proxies, leftovers, clocks, sweeper | kill switches
then, with nothing else going on: the ceiling
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import httpx

from chaosbandit.child_server import module_as_server
from chaosbandit.core.scenario import EMBEDDED, SAFE_METHODS
from chaosbandit.core.url_template import example
from chaosbandit.deadline_thread import awaited_within
from chaosbandit.doctor import (
    bypasses,
    clock_skew,
    kill_switches,
    leftovers,
    machine,
    proxies,
    scenario,
    sending_ceiling,
    servers,
    slow_readers,
    sweeper,
    target,
)
from chaosbandit.doctor.finding_order import in_order
from chaosbandit.doctor.findings import Finding, fail, note, told_by
from chaosbandit.doctor.http_request import ask
from chaosbandit.doctor.lease_holders import at_server
from chaosbandit.doctor.machine_load import eased, is_busy
from chaosbandit.doctor.server_answer import DEADLINE_S, ServerAnswer, look
from chaosbandit.doctor.what_to_examine import Subject, names_at, servers_of
from chaosbandit.errors import ChaosbanditError
from chaosbandit.safety.ledger import Entries

CHECK_S = 8.0  # each of those that run side by side
SERVERS_S = 16.0  # slow ones are to be told as slow
CEILING_S = 9.5
_OF_THIS_MACHINE = ("machine", "prober ceiling")  # slowness there may be others' doing
_SERVER = ("chaosbandit.toxiproxy.server", "--port", "0", "--exit-with-stdin")

Check = tuple[str, Awaitable[Sequence[Finding]], float]


async def examine(subject: Subject, tell: Callable[[str], None]) -> list[Finding]:
    """Every finding, in a fixed order; `tell` hears what is being looked at."""
    tell("looking at this machine" + _whereabouts(subject))
    side_by_side: list[Check] = [
        ("machine", machine.findings(subject), CHECK_S),
        ("target", target.findings(subject), CHECK_S),
        ("target's clock", _target_clock(subject), CHECK_S),
        ("toxiproxy", _servers(subject), SERVERS_S),
        ("kill switch", kill_switches.findings(subject.freeze_places), CHECK_S),
        ("bypass", bypasses.findings(subject.scenario), CHECK_S),
    ]
    on_machine, on_target, on_clock, on_servers, on_switches, on_bypasses = await asyncio.gather(
        *(_in_time(name, check, within_s) for name, check, within_s in side_by_side)
    )
    tell("measuring how fast this machine can send")
    alone = await _in_time("prober ceiling", sending_ceiling.findings(subject.scenario), CEILING_S)
    said = [*scenario.findings(subject), *on_bypasses, *on_switches]
    found = [*on_machine, *alone, *said, *on_target, *on_clock, *on_servers]
    return in_order(found, target.MAY_BE_THE_PATH)


async def _in_time(
    name: str, check: Awaitable[Sequence[Finding]], within_s: float
) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(within_s):
            return await check
    except TimeoutError:
        do = "repeat it; if it stays so, look at what this check needs"
        found = fail(name, f"no answer within {within_s:g} s", "an answer", do)
    except ChaosbanditError as error:
        found = told_by(name, error.trouble)
    if name in _OF_THIS_MACHINE and await awaited_within(CHECK_S, is_busy):
        return [eased(found)]
    return [found]


async def _servers(subject: Subject) -> list[Finding]:
    """What the servers show, and all that follows from it."""
    entries = subject.ledger.entries()
    named, written = await awaited_within(CHECK_S, lambda: servers_of(subject, entries))
    urls = [url for url in dict.fromkeys([*named, *written]) if subject.may_touch(url)]
    shown = await asyncio.gather(*(_shown(url, subject, entries) for url in urls))
    on_clocks = await asyncio.gather(*(_server_clock(each) for each in shown))
    found: list[Finding] = []
    if not subject.servers:
        do = "name a scenario file, or the server: `chaosbandit doctor --toxiproxy URL`"
        found.append(note("toxiproxy", "no server was named", do=do))
    now_epoch_s = time.time()
    for each, on_clock in zip(shown, on_clocks, strict=True):
        if each.url in named or each.embedded:
            found += await awaited_within(
                CHECK_S, partial(_judged, each, subject, entries, now_epoch_s)
            )
        found += on_clock
    left = partial(leftovers.findings, subject.ledger, shown, subject.scenario, now_epoch_s)
    return found + await awaited_within(CHECK_S, left)


def _judged(
    each: ServerAnswer, subject: Subject, entries: Entries, now_epoch_s: float
) -> list[Finding]:
    """What is to say of a server that was named; blocks while names are resolved."""
    holders = at_server(each.url, subject.ledger, entries)
    return [
        *servers.findings(each, holders),
        *proxies.findings(each, subject.scenario, now_epoch_s),
        *slow_readers.findings(each, subject.scenario),
        *sweeper.findings(each, now_epoch_s),
    ]


async def _shown(url: str, subject: Subject, entries: Entries) -> ServerAnswer:
    if url != EMBEDDED:
        names = await awaited_within(CHECK_S, lambda: names_at(url, subject.scenario, entries))
        return await look(url, names)
    async with module_as_server(*_SERVER) as started:
        return await look(started, (), embedded=True)


async def _server_clock(shown: ServerAnswer) -> list[Finding]:
    """Expiries in names are compared with it by whoever cleans up there."""
    if shown.version is None or shown.embedded or shown.is_foreign:
        return []
    try:
        answer = await ask(f"{shown.url}/version", DEADLINE_S)
    except (TimeoutError, httpx.HTTPError, OSError):
        return []  # it answered just before: told by the server's own check next time
    return [clock_skew.finding(shown.url, answer, expiries=True)]


async def _target_clock(subject: Subject) -> list[Finding]:
    """Told only where it differs: for reading the target's logs beside ours."""
    traffic = subject.scenario.traffic if subject.scenario is not None else None
    if traffic is None or traffic.method not in SAFE_METHODS:
        return []
    if not subject.may_touch(traffic.url):
        return []
    try:
        answer = await ask(example(traffic.url), target.CONNECT_S, traffic.headers)
    except (TimeoutError, httpx.HTTPError, OSError):
        return []  # told by the target's own check
    skew = clock_skew.skew_of(answer)
    if skew is None or skew.least_s <= clock_skew.NOTEWORTHY_S:
        return []
    return [clock_skew.finding(traffic.url, answer, expiries=False)]


def _whereabouts(subject: Subject) -> str:
    places = ["the target"] if subject.scenario is not None else []
    places += ["Toxiproxy"] if subject.servers else []
    return "".join(f", {place}" for place in places)
