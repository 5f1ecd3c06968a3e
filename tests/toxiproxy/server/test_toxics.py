"""How toxics are entered, and what holds for all of them."""

from __future__ import annotations

import random

import pytest

from chaosbandit.toxiproxy.server.stages import Stage
from chaosbandit.toxiproxy.server.toxics import STAGES, toxic
from chaosbandit.toxiproxy.server.toxics.latency import Latency
from chaosbandit.toxiproxy.server.toxics.limit_data import LimitData
from chaosbandit.toxiproxy.server.toxics.reset_peer import ResetPeer
from chaosbandit.toxiproxy.server.toxics.slicer import Slicer
from chaosbandit.toxiproxy.server.toxics.timeout import Timeout
from tests.toxiproxy.server.toxics.player import ABC, Player


class Hold(Stage):
    """A toxic entered only here."""


def test_a_toxic_enters_itself() -> None:
    assert STAGES["latency"] is Latency
    try:
        assert toxic("hold")(Hold) is STAGES["hold"]
    finally:
        del STAGES["hold"]


@pytest.mark.parametrize("type_", sorted(STAGES))
def test_not_drawn_passes_everything_on(type_: str) -> None:
    assert Player(type_).play(ABC) == ABC


def test_who_ends_the_stream_when_taken_away() -> None:
    rng = random.Random(0)
    assert Timeout(rng).removal_ends
    assert not any(type_(rng).removal_ends for type_ in (Latency, LimitData, Slicer, ResetPeer))
