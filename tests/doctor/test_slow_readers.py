"""The one thing that nothing shows beforehand."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from chaosbandit.core.doses.latency import Latency
from chaosbandit.core.ladder import Ladder
from chaosbandit.doctor.server_answer import look
from chaosbandit.doctor.slow_readers import findings
from tests.doctor.looking import levels, shown
from tests.simulated import ladder, scenario


def upstream() -> Ladder:
    """A ladder whose requests are slowed down, not its answers."""
    return replace(ladder(), dose=Latency(stream="upstream"))


def test_answers_that_are_slowed_down_on_the_operators_proxies() -> None:
    down, up = ladder(), replace(upstream(), proxy="cart")
    both = replace(scenario(), ladders=(up, down))
    (found,) = findings(shown(), both)
    assert levels([found]) == ["note"]
    assert "freezes when a downstream toxic is added" in found.found
    assert "served through inventory reads" in found.do


def test_nobody_else_hears_of_it() -> None:
    assert findings(shown(), scenario(over=upstream())) == []
    assert findings(shown(), scenario(topology="edge")) == []
    assert findings(shown(), None) == []
    assert findings(shown(embedded=True), scenario()) == []
    assert findings(shown(listing=None), scenario()) == []


def test_at_a_server_of_each_kind(toxiproxy_url: str) -> None:
    """They cannot be told apart from outside, so it is said of both."""
    assert levels(findings(asyncio.run(look(toxiproxy_url, ())), scenario())) == ["note"]
