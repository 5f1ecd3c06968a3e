from __future__ import annotations

import pytest

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.events import Event, Observed, RunStarted
from chaosbandit.core.model import Expose, Phase
from chaosbandit.core.policies import policy
from chaosbandit.engine.recorder import Recorder
from chaosbandit.errors import HarnessError
from tests.simulated import Heard, header, sample, scenario, world


def recorder(*sinks: Heard) -> Recorder:
    return Recorder(scenario(), policy("certify"), world(lambda severity: 0.0), sinks)


def failing(at: int) -> Heard:
    def act(n: int, event: Event) -> None:
        if n == at:
            raise HarnessError(f"sink {at} is full")

    return Heard(act)


def test_a_sink_sees_the_campaign_that_includes_the_event() -> None:
    seen: list[tuple[Event, bool]] = []

    class Looking(Heard):
        def accept(self, event: Event, campaign: Campaign) -> None:
            seen.append((event, campaign.header is event))

    keeping = recorder(Looking())
    keeping.record(header())
    assert seen == [(header(), True)]


def test_a_sink_that_failed_hears_no_more_and_the_others_do() -> None:
    full, well = failing(2), Heard()
    keeping = recorder(full, well)
    keeping.record(header())
    with pytest.raises(HarnessError, match="sink 2 is full"):
        keeping.observe(Phase.STEADY, sample(1))
    keeping.observe(Phase.STEADY, sample(2))
    assert (len(full.events), len(well.events)) == (2, 3)
    assert keeping.campaign.budget_left() == 1000
    assert keeping.campaign.steady_samples[sample(1).route] == [sample(1), sample(2)]


def test_telling_gives_the_first_failure_back_and_goes_on() -> None:
    first, second = failing(1), failing(1)
    failure = recorder(first, second).tell(header())
    assert str(failure) == "sink 1 is full"
    assert len(first.events) == len(second.events) == 1


def test_a_decision_is_recorded_only_by_who_carries_it_out() -> None:
    heard = Heard()
    keeping = recorder(heard)
    keeping.record(header())
    decided = keeping.decide(unresolved=3)
    assert isinstance(decided.decision, Expose)
    assert (decided.n, decided.unresolved) == (0, 3)
    assert keeping.campaign.decisions == {}
    assert [type(event) for event in heard.events] == [RunStarted]
    assert keeping.decide(unresolved=3) == decided  # asking leaves no trace


def test_what_is_observed_is_one_sample_of_a_decision() -> None:
    heard = Heard()
    recorder(heard).observe(Phase.STEADY, sample(7), 3, proxy="prices")
    assert heard.events == [Observed(Phase.STEADY, 3, (sample(7),), "prices")]
