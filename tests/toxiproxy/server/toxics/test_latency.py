"""The `latency` toxic as scripts."""

from __future__ import annotations

import random

import pytest

from chaosbandit.toxiproxy.server.stages import Chunk
from chaosbandit.toxiproxy.server.toxics.latency import Latency
from tests.toxiproxy.server.toxics.player import ABC, END, Case, Line, Player

SCRIPTS: list[Case] = [
    (
        {"latency": 100, "jitter": 0},
        ABC,
        [(100, b"a"), (110, b"b"), (120, b"c"), (120, END)],
    ),
    ({"latency": 100, "jitter": 0}, [(5, END)], [(5, END)]),
    ({"latency": -100, "jitter": 0}, ABC, ABC),
]


@pytest.mark.parametrize(("attributes", "script", "expected"), SCRIPTS)
def test_script(attributes: dict[str, int], script: list[Line], expected: list[Line]) -> None:
    assert expected == Player("latency", **attributes).play(script)


def test_jitter_is_uniform_and_never_reorders() -> None:
    player = Player("latency", latency=50, jitter=20)
    seen = player.play([(1000.0 * number, b"%d" % number) for number in range(400)])
    delays = [at_ms - 1000 * number for number, (at_ms, _) in enumerate(seen)]
    assert [b"%d" % number for number in range(400)] == [data for _, data in seen]
    assert set(range(30, 70)) == {round(delay) for delay in delays}
    together = Player("latency", latency=50, jitter=49).play([(0.0, b"a"), (1.0, b"b")] * 1)
    assert [data for _, data in together] == [b"a", b"b"]


def test_extreme_jitter_does_not_crash() -> None:
    seen = Player("latency", latency=0, jitter=2**63 - 1).play([(0.0, b"a"), (0.0, b"b")])
    assert {b"a", b"b"} >= {data for _, data in seen}


def test_a_second_latency_counts_the_wait_wanted_and_not_the_lateness() -> None:
    first = Latency(random.Random(0))
    first.start({"latency": 100, "jitter": 0}, True, 0.0)
    first.push(Chunk(b"a", 0.0), 0.0)
    (late,) = first.wake(0.117)
    assert pytest.approx(late.stamp_s) == 0.1


def test_updated_latency_releases_the_held_chunk_only() -> None:
    player = Player("latency", latency=1000, jitter=0)
    player.play([(20.0 * number, b"%d" % number) for number in range(3)], until_ms=499)
    player.do(500, player.stage.interrupt)
    player.do(500, lambda now_s: player.stage.start({"latency": 1500, "jitter": 0}, True, now_s))
    assert player.play([]) == [(500, b"0"), (1520, b"1"), (1540, b"2")]


def test_latency_queues_1024_chunks() -> None:
    stage = Latency(random.Random(0))
    stage.start({"latency": 1000, "jitter": 0}, True, 0.0)
    for _ in range(1 + Latency.room):
        assert not stage.full
        stage.push(Chunk(b"x", 0.0), 0.0)
    assert stage.full
    assert 1 + Latency.room == len(stage.wake(1.0))
    assert not stage.full
