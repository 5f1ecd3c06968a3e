"""Chains of stages under a clock of our own: order, pressure and changes, without sockets."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from chaosbandit.toxiproxy.server.link import CHUNK_BYTES, Link, Timer
from chaosbandit.toxiproxy.server.random_draws import Draws
from chaosbandit.toxiproxy.wire_format import ToxicRecord


class Alarm:
    """A pending callback of `Clock`."""

    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self._when = when
        self.callback: Callable[[], object] | None = callback

    def when(self) -> float:
        return self._when

    def cancel(self) -> None:
        self.callback = None


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._count = itertools.count()

    def time(self) -> float:
        return self.now_s

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        alarm = Alarm(when, callback)
        heapq.heappush(self._alarms, (when, next(self._count), alarm))
        return alarm

    def run_until(self, until_s: float) -> None:
        """Let time pass, ringing every alarm a little late."""
        while self._alarms and self._alarms[0][0] <= until_s:
            when, _, alarm = heapq.heappop(self._alarms)
            self.now_s = max(self.now_s, when) + 0.0001
            if alarm.callback is not None:
                alarm.callback()
        self.now_s = max(self.now_s, until_s)


class Ends:
    """The source and the sink of a link."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.written: list[tuple[float, bytes]] = []
        self.finished = False
        self.paused = False

    @property
    def data(self) -> bytes:
        return b"".join(data for _, data in self.written)

    def write(self, data: bytes) -> None:
        assert not self.finished
        self.written.append((round(self._clock.now_s, 2), data))

    def finish(self) -> None:
        assert not self.finished
        self.finished = True

    def pause(self, paused: bool) -> None:
        assert paused != self.paused
        self.paused = paused


def toxic(type_: str, name: str = "", toxicity: float = 1, **attributes: int) -> ToxicRecord:
    return ToxicRecord(name or type_, type_, "downstream", toxicity, attributes)


def latency(latency: int, name: str = "latency") -> ToxicRecord:
    return toxic("latency", name, latency=latency, jitter=0)


def chain(*toxics: ToxicRecord) -> tuple[Clock, Ends, Link]:
    clock = Clock()
    ends = Ends(clock)
    return clock, ends, Link(clock, ends, Draws(1, "p", 1), toxics)


def test_an_empty_chain_is_direct() -> None:
    _, ends, link = chain()
    link.feed(b"a")
    link.source_ended()
    assert link.direct
    assert ends.finished
    assert ends.written == [(0.0, b"a")]


def test_large_reads_become_chunks() -> None:
    _, ends, link = chain(toxic("noop"))
    link.feed(bytes(2 * CHUNK_BYTES + 1))
    assert [len(data) for _, data in ends.written] == [CHUNK_BYTES, CHUNK_BYTES, 1]


def test_a_blocked_sink_pauses_the_source_once_bytes_wait() -> None:
    clock, ends, link = chain(toxic("noop"))
    link.sink_paused()
    for _ in range(3):
        link.feed(b"x")
        clock.run_until(clock.now_s + 1)
    before = (ends.paused, ends.data)
    link.sink_resumed()
    assert [before, (ends.paused, ends.data)] == [(True, b""), (False, b"xxx")]


def test_a_blocked_sink_pauses_the_source_of_an_empty_chain() -> None:
    _, ends, link = chain()
    seen = []
    for act in (link.sink_paused, link.sink_resumed):
        act()
        seen.append(ends.paused)
    assert seen == [True, False]


def test_latency_takes_1024_chunks_before_the_source_has_to_wait() -> None:
    clock, ends, link = chain(latency(1000))
    for _ in range(1025):
        link.feed(b"x")
    paused = ends.paused
    link.feed(b"x")
    assert (paused, ends.paused) == (False, True)
    clock.run_until(3)
    assert len(ends.data) == 1026


def test_bytes_are_stamped_when_the_chain_takes_them() -> None:
    clock, ends, link = chain(toxic("bandwidth", rate=1), latency(150))
    link.feed(bytes(50))
    link.feed(bytes(50))
    link.source_ended()
    clock.run_until(9)
    assert [at_s for at_s, _ in ends.written] == [0.15, 0.2]
    assert ends.finished


def test_a_changed_chain_lets_go_of_what_was_held() -> None:
    clock, ends, link = chain(latency(1000))
    link.feed(b"a")
    link.feed(b"b")
    clock.run_until(0.1)
    link.add(latency(5000, "later"))
    assert ends.written == [(0.1, b"a")]
    clock.run_until(0.2)
    link.remove("latency")
    clock.run_until(0.3)
    assert ends.written == [(0.1, b"a")]  # the later one has it now
    link.remove("later")
    assert ends.written == [(0.1, b"a"), (0.3, b"b")]
    assert link.direct


def test_order_survives_the_removal_of_a_blocked_toxic() -> None:
    clock, ends, link = chain(latency(100))
    for data in (b"a", b"b", b"c"):
        link.feed(data)
        clock.run_until(clock.now_s + 0.02)
    link.sink_paused()
    clock.run_until(0.5)  # one blocked on its way out, one held, one queued
    link.remove("latency")
    assert ends.data == b"abc"


def test_order_survives_the_removal_of_a_toxic_that_blocks_the_one_before() -> None:
    clock, ends, link = chain(latency(100), toxic("bandwidth", rate=1))
    data = [bytes([number]) * 1000 for number in range(4)]
    for chunk in data:
        link.feed(chunk)
        clock.run_until(clock.now_s + 0.02)
    clock.run_until(0.16)
    link.remove("bandwidth")
    clock.run_until(1)
    assert ends.data == b"".join(data)


def test_removing_a_timeout_ends_the_stream_after_what_later_toxics_hold() -> None:
    clock, ends, link = chain(latency(0), toxic("timeout", timeout=0), latency(500, "later"))
    link.feed(b"lost")
    link.remove("timeout")
    clock.run_until(1)
    assert ends.finished
    assert ends.data == b""


def test_an_end_behind_queued_bytes_survives_the_removal_of_their_toxic() -> None:
    _, ends, link = chain(latency(60_000))
    link.feed(b"a")
    link.source_ended()
    link.remove("latency")
    assert (ends.data, ends.finished) == (b"a", True)


def test_a_stopped_link_is_silent() -> None:
    clock, ends, link = chain(latency(100))
    link.feed(b"a")
    link.stop()
    clock.run_until(1)
    assert ends.data == b""


def test_only_drawn_toxics_reset() -> None:
    assert chain(toxic("reset_peer", timeout=0))[2].resets
    assert not chain(toxic("reset_peer", toxicity=0, timeout=0))[2].resets


LOSSLESS = st.one_of(
    st.builds(latency, st.integers(0, 300)),
    st.builds(
        lambda latency, jitter: toxic("latency", latency=latency, jitter=jitter),
        st.integers(0, 100),
        st.integers(0, 100),
    ),
    st.builds(lambda rate: toxic("bandwidth", rate=rate), st.integers(1, 50)),
    st.builds(
        lambda size, variation, delay: toxic(
            "slicer", average_size=size, size_variation=variation, delay=delay
        ),
        st.integers(0, 500),
        st.integers(0, 50),
        st.integers(0, 20_000),
    ),
    st.builds(lambda delay: toxic("slow_close", delay=delay), st.integers(0, 200)),
    st.just(toxic("noop")),
)

CHANGES = st.one_of(
    st.tuples(st.just("feed"), st.integers(1, 3000)),
    st.tuples(st.just("add"), LOSSLESS),
    st.tuples(st.just("update"), st.integers(0, 9)),
    st.tuples(st.just("remove"), st.integers(0, 9)),
    st.tuples(st.just("sink"), st.booleans()),
    st.tuples(st.just("wait"), st.integers(1, 400)),
)


@given(st.lists(CHANGES, max_size=40), st.sampled_from([0.0, 0.5, 1.0]))
def test_nothing_is_lost_or_reordered_whatever_changes(
    changes: list[tuple[str, object]], toxicity: float
) -> None:
    clock, ends, link = chain()
    sent = b""
    names: dict[str, ToxicRecord] = {}
    for number, (change, value) in enumerate(changes):
        match change, value:
            case "feed", int(size):
                data = bytes((len(sent) + offset) % 251 for offset in range(size))
                sent += data
                link.feed(data)
            case "add", ToxicRecord() as added:
                name = f"t{number}"
                names[name] = ToxicRecord(
                    name, added.type, added.stream, toxicity, added.attributes
                )
                link.add(names[name])
            case "update", int(which) if names:
                link.update(names[[*names][which % len(names)]])
            case "remove", int(which) if names:
                name = [*names][which % len(names)]
                del names[name]
                link.remove(name)
            case "sink", bool(blocked):
                link.sink_paused() if blocked else link.sink_resumed()
            case "wait", int(wait_ms):
                clock.run_until(clock.now_s + wait_ms / 1000)
    link.sink_resumed()
    link.source_ended()
    clock.run_until(clock.now_s + 1e6)
    assert (sent, True) == (ends.data, ends.finished)
