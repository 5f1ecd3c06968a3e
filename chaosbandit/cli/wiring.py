"""Puts the real parts behind the engine's ports and runs one scenario from file to answer."""

from __future__ import annotations

import os
import secrets
import sys
import time
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from chaosbandit._version import __version__
from chaosbandit.cli.child_processes import embedded_toxiproxy
from chaosbandit.cli.interrupts import Interrupts, interruptible
from chaosbandit.cli.output import show
from chaosbandit.cli.target_permission import refuse_unmeant, touched
from chaosbandit.core.campaign import Campaign
from chaosbandit.core.certified_claims import bracket
from chaosbandit.core.climb import climbs
from chaosbandit.core.events import RunStarted
from chaosbandit.core.model import Bracket
from chaosbandit.core.policies import policy
from chaosbandit.core.scenario import EMBEDDED, Scenario
from chaosbandit.core.url_template import example
from chaosbandit.doctor.sending_ceiling import refuse_above_half
from chaosbandit.engine import Engine, longest_s
from chaosbandit.hidden_values import masked, masked_record
from chaosbandit.ports import Prober, Sink
from chaosbandit.report.json import to_json
from chaosbandit.report.live import progress
from chaosbandit.report.result import result_of
from chaosbandit.report.text import to_text
from chaosbandit.safety.guard import RunGuard
from chaosbandit.safety.kill_switch import Freeze, default_places
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.scenario import Loaded, refuse_embedded_canary
from chaosbandit.scenario.project_rules import Rules
from chaosbandit.store.journal import Journal, default_folder, file_name
from chaosbandit.toxiproxy.injector import ToxiproxyInjector
from chaosbandit.toxiproxy.lease import Claim
from chaosbandit.traffic.clock import SystemClock
from chaosbandit.traffic.prober_choice import prober_of
from chaosbandit.traffic.reachability import reachable


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line says beside the scenario."""

    as_json: bool = False
    seed: int | None = None
    toxiproxy: str | None = None
    journal: Path | None = None
    yes: bool = False
    quiet: bool = False
    gate: bool = False  # the loaded scenario was told to stop at its gates
    own_server: bool = False  # the server is our child: its faults end with us
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is over."""

    exit_code: int
    brackets: tuple[Bracket, ...]  # one per ladder
    journal: Path


def run_scenario(loaded: Loaded, options: RunOptions) -> Finished:
    """Run it, print the result on stdout, and say how it ended."""
    scenario = loaded.scenario
    options = replace(options, seed=_seed(options, scenario))
    with ExitStack() as stack:
        server = options.toxiproxy or scenario.toxiproxy
        refuse_unmeant(touched(scenario, server), options.yes, options.rules)
        if server == EMBEDDED:
            refuse_embedded_canary(loaded)
            server = stack.enter_context(embedded_toxiproxy(options.seed))
            options = replace(options, own_server=True)
        run = new_run()
        folder = options.journal or default_folder(os.environ)
        path = folder / file_name(masked(scenario.name), run, time.time())
        campaign = interruptible(partial(_run, loaded, options, server, run, path))
    result = masked_record(result_of(campaign, journal=path))
    show(to_json(result) if options.as_json else to_text(result), as_json=options.as_json)
    assert campaign.stopped is not None, "the engine always says how a run ended"
    brackets = tuple(bracket(climb) for climb in climbs(campaign))
    return Finished(campaign.stopped.exit_code, brackets, path)


def new_run() -> str:
    """A fresh run id: eight of [a-z0-9]."""
    return "".join(secrets.choice("abcdefghjkmnpqrstuvwxyz23456789") for _ in range(8))


async def _run(
    loaded: Loaded, options: RunOptions, server: str, run: str, path: Path, interrupts: Interrupts
) -> Campaign:
    scenario, clock = loaded.scenario, SystemClock()
    assert options.seed is not None, "chosen by `run_scenario`, for the server as well"
    await refuse_above_half(scenario)
    async with AsyncExitStack() as stack:
        for url in dict.fromkeys((scenario.traffic.url, scenario.traffic.control_url)):
            await reachable(example(url), scenario.traffic.timeout_s)
        claim = replace(_claim(scenario, server, clock.epoch_s()), dies_with_run=options.own_server)
        guard = await stack.enter_async_context(RunGuard(run, FaultLedger(), claim=claim))
        injector = ToxiproxyInjector(scenario, run, server, guard, dies_with_run=options.own_server)
        version = await injector.preflight()  # what another run does there is no news by now
        freeze = await stack.enter_async_context(Freeze(_freeze_places(scenario, options.rules)))
        prober: Prober = await stack.enter_async_context(prober_of(scenario, clock))
        sinks: list[Sink] = [stack.enter_context(Journal(path))]
        if not options.quiet:
            view: AbstractContextManager[Sink] = progress(sys.stderr)
            sinks.append(stack.enter_context(view))
        header = RunStarted(
            run=run,
            name=scenario.name,
            seed=options.seed,
            version=__version__,
            epoch_s=clock.epoch_s(),
            now_s=clock.now_s(),
            source=loaded.source,
            server=server,
            server_version=version,
            gate=options.gate,
        )
        engine = Engine(
            scenario,
            policy(scenario.search.policy),
            header=header,
            clock=clock,
            injector=injector,
            prober=prober,
            sinks=sinks,
            kill_switch=freeze,
        )
        interrupts.engine = engine
        campaign = await engine.run()
        interrupts.over = True
        return campaign


def _seed(options: RunOptions, scenario: Scenario) -> int:
    if options.seed is not None:
        return options.seed
    return scenario.seed if scenario.seed is not None else secrets.randbits(32)


def _claim(scenario: Scenario, server: str, epoch_s: float) -> Claim:
    """What no other run may have meanwhile: where requests go, and what is replaced."""
    topology = scenario.topology
    names = dict.fromkeys(ladder.proxy for ladder in scenario.ladders)
    proxies, parts = [scenario.proxy(name) for name in names], urlsplit(scenario.traffic.url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    service = f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    listens = topology.listens(proxy.listen for proxy in proxies)
    return Claim(
        server=server,
        target=topology.target(service, proxies[0].upstream),
        listen=listens[0] if listens else None,
        also=listens[1:],
        until_epoch_s=int(epoch_s + longest_s(scenario)),
    )


def _freeze_places(scenario: Scenario, rules: Rules) -> tuple[str, ...]:
    by_rules = (place.text for place in rules.freeze)
    return (*default_places(os.environ), *by_rules, *scenario.guardrails.freeze)
