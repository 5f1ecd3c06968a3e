"""Toxics as scripts: bytes and times in, bytes and times out, no sockets and no clock.

A line of a script is what happens at a time in milliseconds: bytes are pushed, `END` ends the
input. What comes out is listed the same way; between the lines the stage is woken whenever it asks.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from chaosbandit.toxiproxy.stages import STAGES, Chunk, Stage
from chaosbandit.toxiproxy.toxics import Latency, LimitData, ResetPeer, Slicer, Timeout

END = b"<end>"
Line = tuple[float, bytes]
FOREVER_MS = 10_000_000.0


class Player:
    """Plays a script to a stage and notes what comes out, times in milliseconds.

    Without attributes the stage is not drawn.
    """

    def __init__(self, type_: str, **attributes: int) -> None:
        self.stage: Stage = STAGES[type_](random.Random(0))
        self.seen: list[Line] = []
        self._ended = False
        self._note(0, self.stage.start(attributes, bool(attributes), 0.0))

    def play(self, script: Sequence[Line], until_ms: float = FOREVER_MS) -> list[Line]:
        """Return everything seen so far, once the script is over and nothing more is due."""
        for at_ms, data in script:
            self.do(at_ms, lambda now_s, data=data: self._hand_over(data, now_s))  # type: ignore[misc]
        self._wake_until(until_ms)
        return self.seen

    def do(self, at_ms: float, act: Callable[[float], list[Chunk]]) -> None:
        """Do something else at a time."""
        self._wake_until(at_ms)
        self._note(at_ms, act(at_ms / 1000))

    def _hand_over(self, data: bytes, now_s: float) -> list[Chunk]:
        return self.stage.eof(now_s) if data == END else self.stage.push(Chunk(data, now_s), now_s)

    def _wake_until(self, at_ms: float) -> None:
        while self.stage.due_s is not None and self.stage.due_s * 1000 <= at_ms:
            due_s = self.stage.due_s
            assert self.stage.wake(due_s - 0.0001) == []  # too early is harmless
            self._note(due_s * 1000, self.stage.wake(due_s))

    def _note(self, at_ms: float, chunks: list[Chunk]) -> None:
        self.seen += [(round(at_ms, 3), chunk.data) for chunk in chunks]
        if self.stage.ended and not self._ended:
            self._ended = True
            self.seen.append((round(at_ms, 3), END))


ABC = [(0.0, b"a"), (10.0, b"b"), (20.0, b"c"), (30.0, END)]

SCRIPTS: list[tuple[str, dict[str, int], list[Line], list[Line]]] = [
    ("noop", {}, ABC, ABC),
    (
        "latency",
        {"latency": 100, "jitter": 0},
        ABC,
        [(100, b"a"), (110, b"b"), (120, b"c"), (120, END)],
    ),
    ("latency", {"latency": 100, "jitter": 0}, [(5, END)], [(5, END)]),
    ("latency", {"latency": -100, "jitter": 0}, ABC, ABC),
    ("timeout", {"timeout": 0}, ABC, [(30, END)]),
    ("timeout", {"timeout": -5}, ABC, [(30, END)]),
    ("timeout", {"timeout": 100}, [], [(100, END)]),
    ("timeout", {"timeout": 100}, ABC, [(30, END)]),
    ("timeout", {"timeout": 15}, ABC[:2], [(25, END)]),
    ("limit_data", {"bytes": 0}, ABC, [(0, END)]),
    ("limit_data", {"bytes": 2}, ABC, [(0, b"a"), (10, b"b"), (10, END)]),
    ("limit_data", {"bytes": 2}, [(0, b"abc")], [(0, b"ab"), (0, END)]),
    ("limit_data", {"bytes": 9}, ABC, ABC),
    ("slow_close", {"delay": 400}, ABC, [*ABC[:3], (430, END)]),
    ("slow_close", {"delay": 0}, ABC, ABC),
    ("reset_peer", {"timeout": 50}, ABC, [(50, END)]),
    ("reset_peer", {"timeout": 50}, [(5, END)], [(55, END)]),
    ("reset_peer", {"timeout": 50}, [], []),
    ("bandwidth", {"rate": 0}, ABC, []),
    ("bandwidth", {"rate": -1}, ABC, []),
    (
        "bandwidth",
        {"rate": 1},
        [(0, b"x" * 250), (0, END)],
        [(100, b"x" * 100), (200, b"x" * 100), (250, b"x" * 50), (250, END)],
    ),
    (
        "bandwidth",
        {"rate": 1},
        [(0, b"x" * 50), (0, b"y" * 50)],
        [(50, b"x" * 50), (100, b"y" * 50)],
    ),
    (
        "slicer",
        {"average_size": 2, "size_variation": 0, "delay": 10_000},
        [(0, b"abcd"), (0, b"ef"), (0, END)],
        [(0, b"ab"), (10, b"cd"), (20, b"ef"), (30, END)],
    ),
    ("slicer", {"average_size": 0, "size_variation": 0, "delay": 0}, ABC, ABC),
    ("slicer", {"average_size": -3, "size_variation": -9, "delay": -1}, ABC, ABC),
]


@pytest.mark.parametrize(("type_", "attributes", "script", "expected"), SCRIPTS)
def test_script(
    type_: str, attributes: dict[str, int], script: list[Line], expected: list[Line]
) -> None:
    assert expected == Player(type_, **attributes).play(script)


@pytest.mark.parametrize("type_", sorted(STAGES))
def test_not_drawn_passes_everything_on(type_: str) -> None:
    assert Player(type_).play(ABC) == ABC


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


def test_limit_data_keeps_its_count_over_updates() -> None:
    player = Player("limit_data", bytes=10)
    player.play([(0, b"x" * 6)])
    player.do(1, player.stage.interrupt)
    player.do(1, lambda now_s: player.stage.start({"bytes": 8}, True, now_s))
    assert player.play([(2, b"y" * 6)]) == [(0, b"x" * 6), (2, b"yy"), (2, END)]


def test_slow_close_starts_again_when_updated() -> None:
    player = Player("slow_close", delay=100)
    player.play([(0, END)], until_ms=90)
    player.do(90, player.stage.interrupt)
    player.do(90, lambda now_s: player.stage.start({"delay": 100}, True, now_s))
    assert player.play([]) == [(190, END)]


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


def test_reset_peer_obeys_while_it_waits() -> None:
    player = Player("reset_peer", timeout=1500)
    before = player.stage.removal_ends
    player.play([(0, b"lost")], until_ms=100)
    assert (before, player.stage.removal_ends) == (False, True)
    player.do(100, player.stage.interrupt)
    player.do(100, lambda now_s: player.stage.start({"timeout": 10}, False, now_s))
    assert player.play([]) == [(110, END)]


def test_who_ends_the_stream_when_taken_away() -> None:
    rng = random.Random(0)
    assert Timeout(rng).removal_ends
    assert not any(type_(rng).removal_ends for type_ in (Latency, LimitData, Slicer, ResetPeer))
