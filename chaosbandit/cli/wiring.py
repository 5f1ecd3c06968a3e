"""Puts the real parts behind the engine's ports and runs one scenario from file to answer."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from chaosbandit._version import __version__
from chaosbandit.cli.children import embedded_toxiproxy
from chaosbandit.core import judge
from chaosbandit.core.campaign import Campaign, RunStarted
from chaosbandit.core.model import Bracket
from chaosbandit.core.policies import policy
from chaosbandit.core.scenario import EMBEDDED, Scenario
from chaosbandit.engine import Engine
from chaosbandit.errors import Exit, UsageError
from chaosbandit.ports import Sink
from chaosbandit.report.json import to_json
from chaosbandit.report.live import progress
from chaosbandit.report.result import Result, result_of
from chaosbandit.report.text import to_text
from chaosbandit.safety.guard import RunGuard
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.scenario import Loaded, refuse_embedded_canary
from chaosbandit.store.journal import Journal, default_folder, file_name
from chaosbandit.toxiproxy.injector import ToxiproxyInjector
from chaosbandit.traffic.clock import SystemClock
from chaosbandit.traffic.prober import OpenLoopProber
from chaosbandit.traffic.reach import reachable


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line says beside the scenario."""

    as_json: bool = False
    seed: int | None = None
    toxiproxy: str | None = None
    journal: Path | None = None
    yes: bool = False
    quiet: bool = False
    own_server: bool = False  # the server is our child: its faults end with us


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is over."""

    exit_code: int
    bracket: Bracket
    journal: Path


def run_scenario(loaded: Loaded, options: RunOptions) -> Finished:
    """Run it, print the result on stdout, and say how it ended."""
    import os

    with ExitStack() as stack:
        server = options.toxiproxy or loaded.scenario.toxiproxy
        if server == EMBEDDED:
            refuse_embedded_canary(loaded)
            server = stack.enter_context(embedded_toxiproxy())
            options = replace(options, own_server=True)
        _refuse_unmeant_targets(loaded.scenario, server, options.yes)
        run = new_run()
        folder = options.journal or default_folder(os.environ)
        path = folder / file_name(loaded.scenario.name, run, time.time())
        campaign = asyncio.run(_run(loaded, options, server, run, path))
    show(result_of(campaign, journal=path), options)
    assert campaign.stopped is not None, "the engine always says how a run ended"
    return Finished(campaign.stopped.exit_code, judge.bracket(campaign), path)


def show(result: Result, options: RunOptions) -> None:
    """The result on stdout."""
    sys.stdout.write(to_json(result) if options.as_json else to_text(result))
    sys.stdout.flush()


def new_run() -> str:
    """A fresh run id: eight of [a-z0-9]."""
    return "".join(secrets.choice("abcdefghjkmnpqrstuvwxyz23456789") for _ in range(8))


async def _run(loaded: Loaded, options: RunOptions, server: str, run: str, path: Path) -> Campaign:
    scenario, clock = loaded.scenario, SystemClock()
    async with AsyncExitStack() as stack:
        interrupts = stack.enter_context(Interrupts.watch())
        injector = ToxiproxyInjector(scenario, run, server)
        for url in dict.fromkeys((scenario.traffic.url, scenario.traffic.control_url)):
            await reachable(url.replace("{n}", "0"), scenario.traffic.timeout_s)
        version = await injector.preflight()
        guard = await stack.enter_async_context(
            RunGuard(run, FaultLedger(), own_servers=[server] if options.own_server else ())
        )
        prober = await stack.enter_async_context(
            OpenLoopProber(scenario.traffic, _check_url(scenario), clock)
        )
        sinks: list[Sink] = [stack.enter_context(Journal(path))]
        if not options.quiet:
            view: AbstractContextManager[Sink] = progress(sys.stderr)
            sinks.append(stack.enter_context(view))
        header = RunStarted(
            run=run,
            name=scenario.name,
            seed=_seed(options, scenario),
            version=__version__,
            epoch_s=clock.epoch_s(),
            now_s=clock.now_s(),
            source=loaded.source,
            server=server,
            server_version=version,
        )
        engine = Engine(
            scenario,
            policy(scenario.search.policy),
            header=header,
            clock=clock,
            injector=injector,
            prober=prober,
            safety=guard,
            sinks=sinks,
        )
        interrupts.engine = engine
        return await engine.run()


class Interrupts:
    """SIGINT, SIGTERM and SIGHUP cancel the run; the engine turns that into a clean ending."""

    def __init__(self) -> None:
        self.engine: Engine | None = None

    @classmethod
    @contextmanager
    def watch(cls) -> Iterator[Interrupts]:
        """Listen for signals on the running loop, for the current task."""
        interrupts, loop, task = cls(), asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def interrupt(number: int) -> None:
            if interrupts.engine is not None:
                code = Exit.SIGINT if number == signal.SIGINT else Exit.SIGTERM
                interrupts.engine.interrupt_exit = code
            task.cancel()

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, interrupt, number)
        try:
            yield interrupts
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


def _seed(options: RunOptions, scenario: Scenario) -> int:
    if options.seed is not None:
        return options.seed
    return scenario.seed if scenario.seed is not None else secrets.randbits(32)


def _check_url(scenario: Scenario) -> str | None:
    return scenario.proxy(scenario.ladder.proxy).check


def _refuse_unmeant_targets(scenario: Scenario, server: str, yes: bool) -> None:
    if yes:
        return
    urls = (scenario.traffic.url, scenario.traffic.control_url, server)
    far = [host for host in dict.fromkeys(map(_host, urls)) if not _is_loopback(host)]
    if far:
        raise UsageError(
            f"{', '.join(far)} is not on this machine; repeat with --yes if faults and requests "
            "are meant for it"
        )


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _is_loopback(host: str) -> bool:
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(address).is_loopback for address in found)
