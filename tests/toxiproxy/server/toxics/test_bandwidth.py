"""The `bandwidth` toxic as scripts."""

from __future__ import annotations

import pytest

from chaosbandit.toxiproxy.server.stages import Chunk
from tests.toxiproxy.server.toxics.player import ABC, END, Case, Line, Player

SCRIPTS: list[Case] = [
    ({"rate": 0}, ABC, []),
    ({"rate": -1}, ABC, []),
    (
        {"rate": 1},
        [(0, b"x" * 250), (0, END)],
        [(100, b"x" * 100), (200, b"x" * 100), (250, b"x" * 50), (250, END)],
    ),
    (
        {"rate": 1},
        [(0, b"x" * 50), (0, b"y" * 50)],
        [(50, b"x" * 50), (100, b"y" * 50)],
    ),
]


@pytest.mark.parametrize(("attributes", "script", "expected"), SCRIPTS)
def test_script(attributes: dict[str, int], script: list[Line], expected: list[Line]) -> None:
    assert expected == Player("bandwidth", **attributes).play(script)


def test_updated_bandwidth_sends_the_rest_of_its_chunk() -> None:
    player = Player("bandwidth", rate=1)
    player.play([(0, b"x" * 250)], until_ms=150)
    player.do(150, player.stage.interrupt)
    player.do(150, lambda now_s: player.stage.start({"rate": 2}, True, now_s))
    assert player.play([(150, b"y" * 50)]) == [
        (100, b"x" * 100),
        (150, b"x" * 150),
        (175, b"y" * 50),
    ]


def test_a_late_timer_makes_the_next_wait_shorter() -> None:
    player = Player("bandwidth", rate=1)
    player.stage.push(Chunk(b"x" * 50, 0.0), 0.0)
    player.stage.push(Chunk(b"y" * 50, 0.0), 0.0)
    assert [chunk.data for chunk in player.stage.wake(0.07)] == [b"x" * 50]
    assert pytest.approx(player.stage.due_s) == 0.1
