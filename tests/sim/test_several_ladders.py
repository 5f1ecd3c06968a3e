"""Several ladders in one run of the real engine: each is bracketed, all out of one budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.certified_claims import bracket
from chaosbandit.core.climb import Climb, climbs
from chaosbandit.core.doses.latency import Latency
from chaosbandit.core.events import Decided, Observed, SteadyStateMeasured
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Bracket, Decision, Expose, Phase, Route, Sample, Variant
from chaosbandit.core.policies import policy
from chaosbandit.core.replay import replay
from chaosbandit.core.scenario import Proxy, Scenario, Search
from chaosbandit.errors import Exit
from chaosbandit.faults.fault import Fault
from chaosbandit.sim import Response, World
from tests.simulated import SLOPPY, Heard, cliff, generator, run, scenario

INVENTORY = Ladder("slow-inventory", "inventory", "latency", 0.001, 1.0, 0.10)
PRICES = Ladder("slow-prices", "prices", "latency", 0.005, 2.0, 0.10)
SEARCH = Ladder("slow-search", "search", "latency", 0.010, 0.5, 0.10)
URL = "http://127.0.0.1:1/"


class Shop(World):
    """A world whose dependencies break in their own ways; only the one looked at shows a dose."""

    __slots__ = ("_dosed", "felt_of", "responses")

    def __init__(
        self,
        responses: Mapping[str, Response],
        seed: int = 0,
        felt: Mapping[str, Callable[[float], float]] | None = None,
        **changes: Any,
    ) -> None:
        super().__init__(lambda severity: 0.001, generator(seed), **changes)
        self.responses, self.felt_of, self._dosed = responses, felt or {}, ""

    def plan(self, variant: Variant) -> Fault:
        """From now on the service answers as it does when this dependency is slow."""
        self.response = self.responses[variant.ladder]
        self.felt = self.felt_of.get(variant.ladder, lambda severity: min(severity, 0.1))
        self._dosed = variant.proxy
        return super().plan(variant)

    def _sample(self, seq: int, route: Route) -> Sample:
        drawn = super()._sample(seq, route)
        if route is Route.CHECK and self.looked_at != self._dosed:
            return replace(drawn, latency_s=0.005)
        return drawn


def shop_scenario(*ladders: Ladder, check: bool = True, **changes: Any) -> Scenario:
    """A canary with a proxy before each of its dependencies."""
    proxies = tuple(
        Proxy(name, "127.0.0.1:1", f"127.0.0.1:{port}", URL if check else None)
        for port, name in enumerate(dict.fromkeys(one.proxy for one in ladders), start=2)
    )
    return replace(scenario(SLOPPY, **changes), ladders=ladders, proxies=proxies)


def brackets(campaign: Campaign) -> dict[str, Bracket]:
    """What is certified of each ladder."""
    return {climb.ladder.name: bracket(climb) for climb in climbs(campaign)}


def stopped(campaign: Campaign) -> tuple[bool, int]:
    """(answered, exit code)."""
    assert campaign.stopped is not None
    return campaign.stopped.answered, campaign.stopped.exit_code


THREE = {INVENTORY: 0.210, PRICES: 0.030, SEARCH: 0.095}


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_every_ladder_gets_its_bracket_out_of_one_budget(count: int, seed: int) -> None:
    truth = {ladder: THREE[ladder] for ladder in list(THREE)[:count]}
    shop = Shop({ladder.name: cliff(at) for ladder, at in truth.items()}, seed)
    heard = Heard()
    campaign = run(shop_scenario(*truth), shop, seed=seed, sinks=[heard])
    assert stopped(campaign) == (True, Exit.ANSWERED), campaign.stopped
    for ladder, at in truth.items():
        found = brackets(campaign)[ladder.name]
        assert found.held is not None
        assert found.broke is not None
        assert (found.closed, found.held < at <= found.broke) == (True, True), (ladder.name, found)
    assert campaign.budget_left() >= 0
    assert campaign.spent_bad(0) == bad_sent(heard)  # one ledger, whichever ladder is charged
    assert sum(climb.samples for climb in climbs(campaign)) == campaign.spent_samples
    assert all(climb.samples > 0 for climb in climbs(campaign))


def bad_sent(heard: Heard) -> int:
    """Bad canary samples of the record, counted by hand."""
    return sum(
        sample.status != 200
        for event in heard.of(Observed)
        for sample in event.samples
        if sample.route is Route.CANARY
    )


@pytest.mark.parametrize("count", [2, 3])
def test_a_journal_of_several_ladders_replays(count: int) -> None:
    truth = {ladder: THREE[ladder] for ladder in list(THREE)[:count]}
    shop, heard = Shop({ladder.name: cliff(at) for ladder, at in truth.items()}, 7), Heard()
    asked = shop_scenario(*truth)
    campaign = run(asked, shop, seed=7, sinks=[heard])
    again = replay(heard.events, asked, policy(asked.search.policy))
    assert again.difference is None
    assert again.decisions == len(heard.of(Decided)) > 10
    assert brackets(again.campaign) == brackets(campaign)
    exposed = [one.decision.variant.ladder for one in heard.of(Decided) if _exposes(one)]
    assert set(exposed) == {ladder.name for ladder in truth}


def _exposes(decided: Decided) -> bool:
    return isinstance(decided.decision, Expose)


def test_the_dependency_of_the_ladder_is_asked_for_the_dose() -> None:
    """The world shows a dose only to who looks at the dependency that is slow."""
    shop, heard = Shop({"slow-inventory": cliff(0.2), "slow-prices": cliff(0.03)}), Heard()
    campaign = run(shop_scenario(INVENTORY, PRICES), shop, sinks=[heard])
    doses = [each.dose for each in campaign.exposures if each.dose and each.dose.delivered]
    assert len(doses) > 5
    assert all(dose.delivered == pytest.approx(dose.asked) for dose in doses)
    (steady,) = heard.of(SteadyStateMeasured)
    assert steady.check_medians_s == {"inventory": 0.005, "prices": 0.005}
    assert {e.proxy for e in heard.of(Observed) if e.phase is Phase.STEADY} >= {"prices"}


def test_a_budget_too_small_for_both_is_never_exceeded() -> None:
    for seed in range(4):
        shop = Shop({"slow-inventory": cliff(0.2, above=0.3), "slow-prices": cliff(0.03)}, seed)
        asked = shop_scenario(INVENTORY, PRICES, spend=0.0004)  # 40 bad requests
        campaign = run(asked, shop, seed=seed)
        assert stopped(campaign) == (False, Exit.GUARDRAIL)
        assert 0 <= campaign.budget_left() < 40


def test_max_samples_are_shared() -> None:
    shop = Shop({"slow-inventory": cliff(0.2), "slow-prices": cliff(0.03)})
    asked = shop_scenario(INVENTORY, PRICES, search=Search(max_samples=60))
    campaign = run(asked, shop)
    assert stopped(campaign) == (False, Exit.GUARDRAIL)
    assert campaign.spent_samples <= 60


class Favouring:
    """The default policy, but one ladder's samples are worth more than any other's."""

    name = "favouring"

    def __init__(self, ladder: str) -> None:
        self._ladder, self._inner = ladder, policy("certify")

    def decide(self, climb: Climb, rng: np.random.Generator) -> Decision:
        decision = self._inner.decide(climb, rng)
        if not isinstance(decision, Expose):
            return decision
        return replace(decision, worth=float(climb.ladder.name == self._ladder))


def test_samples_go_where_they_are_worth_most() -> None:
    asked = shop_scenario(INVENTORY, PRICES)
    for favourite in ("slow-inventory", "slow-prices"):
        shop, heard = Shop({"slow-inventory": cliff(0.2), "slow-prices": cliff(0.03)}), Heard()
        campaign = run(asked, shop, sinks=[heard], by=Favouring(favourite))
        assert stopped(campaign) == (True, Exit.ANSWERED)
        decided = [each.decision for each in heard.of(Decided)]
        exposed = [each for each in decided if isinstance(each, Expose)]
        other = next(n for n, each in enumerate(exposed) if each.variant.ladder != favourite)
        assert other > 5
        # The other's turn comes when it is bracketed; what confirms that is worth nothing more.
        assert not any(each.worth for each in exposed[other:])


# --- one that cannot be answered ------------------------------------------------------------------


def test_a_ladder_that_nobody_feels_does_not_stop_the_other() -> None:
    shop = Shop(
        {"slow-inventory": lambda severity: 0.0, "slow-prices": cliff(0.03)},
        felt={"slow-inventory": lambda severity: 0.0},
    )
    campaign = run(shop_scenario(INVENTORY, PRICES), shop)
    assert stopped(campaign) == (False, Exit.INCONCLUSIVE)
    assert campaign.stopped is not None
    assert "slow-inventory: path not exercised" in campaign.stopped.reason
    found = brackets(campaign)
    assert found["slow-inventory"] == Bracket(confidence=0.95)
    assert found["slow-prices"].closed


def test_a_ladder_that_contradicts_itself_does_not_stop_the_other() -> None:
    """Bad at the mildest end and well above: no breaking point fits, and none is claimed."""
    shop = Shop(
        {
            "slow-inventory": lambda severity: 0.0 if severity > 0.010 or not severity else 0.5,
            "slow-prices": cliff(0.03),
        }
    )
    for first, second in ((INVENTORY, PRICES), (PRICES, INVENTORY)):
        campaign = run(shop_scenario(first, second), shop)
        assert brackets(campaign)["slow-prices"].closed, campaign.stopped
        broken = brackets(campaign)["slow-inventory"]
        assert broken.broke is None or broken.broke <= 0.010


def test_a_ladder_that_never_breaks_is_answered_beside_one_that_does() -> None:
    shop = Shop({"slow-inventory": lambda severity: 0.0, "slow-prices": cliff(0.03)})
    campaign = run(shop_scenario(INVENTORY, PRICES), shop)
    assert stopped(campaign) == (True, Exit.ANSWERED)
    found = brackets(campaign)
    assert (found["slow-inventory"].held, found["slow-inventory"].broke) == (1.0, None)
    assert found["slow-prices"].closed


# --- gates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("require", "code"),
    [
        ({"slow-inventory": 0.15, "slow-prices": 0.01}, Exit.ANSWERED),
        ({"slow-inventory": 0.15, "slow-prices": 0.1}, Exit.GATE_FAILED),
        ({"slow-inventory": 0.5, "slow-prices": 0.01}, Exit.GATE_FAILED),
        ({"slow-prices": 0.1}, Exit.GATE_FAILED),
        ({"slow-prices": 0.01}, Exit.ANSWERED),
    ],
)
def test_any_failed_gate_fails_the_run(require: dict[str, float], code: Exit) -> None:
    shop = Shop({"slow-inventory": cliff(0.2), "slow-prices": cliff(0.03)})
    campaign = run(shop_scenario(INVENTORY, PRICES, require=require), shop)
    assert stopped(campaign) == (True, code)


# --- two ladders on one proxy ---------------------------------------------------------------------


def test_two_ladders_of_one_proxy_are_told_apart() -> None:
    """The same severities on the answers and on the requests; only the latter break early."""
    answers = replace(INVENTORY, name="slow-answers")
    requests = replace(INVENTORY, name="slow-requests", dose=Latency(stream="upstream"))
    shop = Shop({"slow-answers": cliff(0.3), "slow-requests": cliff(0.02)}, 3)
    campaign = run(shop_scenario(answers, requests), shop, seed=3)
    assert stopped(campaign) == (True, Exit.ANSWERED)
    found = brackets(campaign)
    for name, at in (("slow-answers", 0.3), ("slow-requests", 0.02)):
        held, broke = found[name].held, found[name].broke
        assert (held or math.inf) < at <= (broke or 0.0)
