"""The `limit_data` toxic as scripts."""

from __future__ import annotations

import pytest

from tests.toxiproxy.server.toxics.player import ABC, END, Case, Line, Player

SCRIPTS: list[Case] = [
    ({"bytes": 0}, ABC, [(0, END)]),
    ({"bytes": 2}, ABC, [(0, b"a"), (10, b"b"), (10, END)]),
    ({"bytes": 2}, [(0, b"abc")], [(0, b"ab"), (0, END)]),
    ({"bytes": 9}, ABC, ABC),
]


@pytest.mark.parametrize(("attributes", "script", "expected"), SCRIPTS)
def test_script(attributes: dict[str, int], script: list[Line], expected: list[Line]) -> None:
    assert expected == Player("limit_data", **attributes).play(script)


def test_limit_data_keeps_its_count_over_updates() -> None:
    player = Player("limit_data", bytes=10)
    player.play([(0, b"x" * 6)])
    player.do(1, player.stage.interrupt)
    player.do(1, lambda now_s: player.stage.start({"bytes": 8}, True, now_s))
    assert player.play([(2, b"y" * 6)]) == [(0, b"x" * 6), (2, b"yy"), (2, END)]
