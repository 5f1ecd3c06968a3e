"""The `slicer` toxic as scripts."""

from __future__ import annotations

import random

import pytest

from tests.toxiproxy.server.toxics.player import ABC, END, Case, Line, Player

SCRIPTS: list[Case] = [
    (
        {"average_size": 2, "size_variation": 0, "delay": 10_000},
        [(0, b"abcd"), (0, b"ef"), (0, END)],
        [(0, b"ab"), (10, b"cd"), (20, b"ef"), (30, END)],
    ),
    ({"average_size": 0, "size_variation": 0, "delay": 0}, ABC, ABC),
    ({"average_size": -3, "size_variation": -9, "delay": -1}, ABC, ABC),
]


@pytest.mark.parametrize(("attributes", "script", "expected"), SCRIPTS)
def test_script(attributes: dict[str, int], script: list[Line], expected: list[Line]) -> None:
    assert expected == Player("slicer", **attributes).play(script)


def test_slicer_sends_the_remainder_when_interrupted() -> None:
    player = Player("slicer", average_size=2, size_variation=0, delay=10_000)
    player.play([(0, b"abcdefgh")], until_ms=5)
    player.do(5, player.stage.interrupt)
    assert player.seen == [(0, b"ab"), (5, b"cdefgh")]


@pytest.mark.parametrize(
    ("average", "variation"), [(10, 0), (30, 10), (1, 0), (7, 7), (3, 5000), (2**62, 2**62)]
)
def test_slicer_loses_nothing_whatever_it_is_told(average: int, variation: int) -> None:
    data = bytes(random.Random(1).randbytes(5000))
    player = Player("slicer", average_size=average, size_variation=variation, delay=0)
    pieces = [piece for _, piece in player.play([(0, data)])]
    assert data == b"".join(pieces)
    assert all(len(piece) <= average + variation for piece in pieces)


def test_slicer_pieces_as_the_real_server_cuts_them() -> None:
    seen = Player("slicer", average_size=10, size_variation=0, delay=0).play([(0, bytes(100))])
    assert [len(piece) for _, piece in seen] == [6, 6, 6, 7] * 4
