"""The `reset_peer` toxic as scripts."""

from __future__ import annotations

import pytest

from tests.toxiproxy.server.toxics.player import ABC, END, Case, Line, Player

SCRIPTS: list[Case] = [
    ({"timeout": 50}, ABC, [(50, END)]),
    ({"timeout": 50}, [(5, END)], [(55, END)]),
    ({"timeout": 50}, [], []),
]


@pytest.mark.parametrize(("attributes", "script", "expected"), SCRIPTS)
def test_script(attributes: dict[str, int], script: list[Line], expected: list[Line]) -> None:
    assert expected == Player("reset_peer", **attributes).play(script)


def test_reset_peer_obeys_while_it_waits() -> None:
    player = Player("reset_peer", timeout=1500)
    before = player.stage.removal_ends
    player.play([(0, b"lost")], until_ms=100)
    assert (before, player.stage.removal_ends) == (False, True)
    player.do(100, player.stage.interrupt)
    player.do(100, lambda now_s: player.stage.start({"timeout": 10}, False, now_s))
    assert player.play([]) == [(110, END)]
