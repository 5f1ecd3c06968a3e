"""Targets that take a request a second or less: too few to tell is not the same as sick."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping

import pytest

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.certified_claims import bracket
from chaosbandit.core.events import Event, ExposureStarted, WashedOut
from chaosbandit.core.model import Route, Sample
from chaosbandit.core.scenario import Scenario, Search, Timing
from chaosbandit.errors import Exit
from chaosbandit.ports import Feed
from tests.simulated import Heard, Polite, cliff, engine, generator, only, run, scenario, world

AT = 0.2
RATES = [0.5, 1.0]


def asked(rate_per_s: float) -> Scenario:
    search = Search(max_duration_s=20_000.0, evidence_ttl_s=40_000.0)
    return scenario(rate_per_s=rate_per_s, search=search, timing=Timing())


@pytest.mark.parametrize("rate_per_s", RATES)
def test_a_healthy_run_certifies_a_bracket(rate_per_s: float) -> None:
    heard = Heard()
    campaign = run(asked(rate_per_s), world(cliff(AT, below=0.0)), sinks=[heard])
    stopped, found = campaign.stopped, bracket(only(campaign))
    assert stopped is not None
    assert stopped.exit_code == Exit.ANSWERED, stopped.reason
    assert stopped.clean, stopped.clean_why
    assert found.held is not None and found.broke is not None
    assert found.held < AT <= found.broke
    assert all(event.back for event in heard.of(WashedOut))


async def cancelled(simulated: Polite, rate_per_s: float, at: int) -> Campaign:
    """A run that is interrupted at its event number `at`."""
    task: asyncio.Task[Campaign]

    def act(n: int, event: Event) -> None:
        if n == at:
            task.cancel()

    running = engine(asked(rate_per_s), simulated, sinks=[Heard(act)])
    task = asyncio.create_task(running.run())
    await asyncio.wait({task})
    return running.campaign


def first_exposure(rate_per_s: float) -> int:
    """Number of the event that begins it."""
    heard = Heard()
    run(asked(rate_per_s), world(cliff(AT, below=0.0)), sinks=[heard])
    return next(n for n, e in enumerate(heard.events, 1) if isinstance(e, ExposureStarted))


@pytest.mark.parametrize("rate_per_s", RATES)
def test_an_interrupted_run_is_not_called_unclean_for_want_of_requests(rate_per_s: float) -> None:
    begins = first_exposure(rate_per_s)
    for at in range(begins, begins + 60, 3):
        simulated = Polite(cliff(AT, below=0.0), generator(1), felt=lambda s: min(s, 0.1))
        campaign = asyncio.run(cancelled(simulated, rate_per_s, at))
        stopped = campaign.stopped
        assert stopped is not None
        assert stopped.exit_code == Exit.SIGINT, (at, stopped.clean_why)
        assert stopped.clean, (at, stopped.clean_why)


class Rare(Polite):
    """A world that carries a single canary request through the path once a fault was taken off."""

    __slots__ = ()

    async def stream(
        self, feed: Feed, rate_per_s: float, via: Mapping[Route, str]
    ) -> AsyncGenerator[Sample]:
        slower = (
            rate_per_s / 20 if self.calls and self.calls[-1].startswith("remove") else rate_per_s
        )
        samples = super().stream(feed, slower, via)
        try:
            async for each in samples:
                yield each
        finally:
            await samples.aclose()


@pytest.mark.parametrize("rate_per_s", RATES)
def test_where_too_few_come_back_in_time_that_is_said_and_is_no_leftover(
    rate_per_s: float,
) -> None:
    begins, told = first_exposure(rate_per_s), 0
    for at in range(begins, begins + 30, 3):
        simulated = Rare(cliff(AT, below=0.0), generator(1), felt=lambda s: min(s, 0.1))
        stopped = asyncio.run(cancelled(simulated, rate_per_s, at)).stopped
        assert stopped is not None
        assert stopped.exit_code == Exit.SIGINT, (at, stopped.clean_why)
        told += "too few requests came back to tell" in stopped.clean_why
        assert not stopped.clean or "back in the control band" in stopped.clean_why
    assert told
