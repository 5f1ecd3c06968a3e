"""The `timeout` toxic as scripts."""

from __future__ import annotations

import pytest

from tests.toxiproxy.server.toxics.player import ABC, END, Case, Line, Player

SCRIPTS: list[Case] = [
    ({"timeout": 0}, ABC, [(30, END)]),
    ({"timeout": -5}, ABC, [(30, END)]),
    ({"timeout": 100}, [], [(100, END)]),
    ({"timeout": 100}, ABC, [(30, END)]),
    ({"timeout": 15}, ABC[:2], [(25, END)]),
]


@pytest.mark.parametrize(("attributes", "script", "expected"), SCRIPTS)
def test_script(attributes: dict[str, int], script: list[Line], expected: list[Line]) -> None:
    assert expected == Player("timeout", **attributes).play(script)
