"""The `slow_close` toxic as scripts."""

from __future__ import annotations

import pytest

from tests.toxiproxy.server.toxics.player import ABC, END, Case, Line, Player

SCRIPTS: list[Case] = [
    ({"delay": 400}, ABC, [*ABC[:3], (430, END)]),
    ({"delay": 0}, ABC, ABC),
]


@pytest.mark.parametrize(("attributes", "script", "expected"), SCRIPTS)
def test_script(attributes: dict[str, int], script: list[Line], expected: list[Line]) -> None:
    assert expected == Player("slow_close", **attributes).play(script)


def test_slow_close_starts_again_when_updated() -> None:
    player = Player("slow_close", delay=100)
    player.play([(0, END)], until_ms=90)
    player.do(90, player.stage.interrupt)
    player.do(90, lambda now_s: player.stage.start({"delay": 100}, True, now_s))
    assert player.play([]) == [(190, END)]
