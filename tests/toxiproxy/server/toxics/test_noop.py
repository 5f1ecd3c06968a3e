"""The `noop` toxic as a script."""

from __future__ import annotations

from tests.toxiproxy.server.toxics.player import ABC, Player


def test_passes_everything_on() -> None:
    assert Player("noop").play(ABC) == ABC
