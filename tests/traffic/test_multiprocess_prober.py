"""The prober in processes of its own: the same promises, and that it never outlives anybody."""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from chaosbandit.core.model import Outcome, Route, Sample
from chaosbandit.errors import HarnessError, TargetError
from chaosbandit.ports import Feed, Prober, Signal
from chaosbandit.traffic.clock import SystemClock
from chaosbandit.traffic.multiprocess_prober import MultiprocessProber
from chaosbandit.traffic.prober import OpenLoopProber
from chaosbandit.traffic.prober_choice import prober_of, processes
from tests.simulated import scenario
from tests.traffic.test_prober import (
    OK,
    RudeServer,
    collect,
    hangs,
    says,
    script,
    traffic,
    with_a_failing_feed,
)

CANARY, CONTROL = Route.CANARY, Route.CONTROL


@asynccontextmanager
async def opened(url: str, processes: int = 1, **changes: Any) -> AsyncIterator[MultiprocessProber]:
    async with MultiprocessProber(
        traffic(url, **changes), {}, SystemClock(), processes=processes
    ) as prober:
        yield prober


def senders(parent: int | None = None) -> list[int]:
    """The living prober processes of this process, or of another one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
            mine = int(status[1]) == (parent or os.getpid())
            if mine and status[0] != "Z" and b"sending_process" in command:
                found.append(int(folder.name))
    return sorted(found)


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def leave_no_descriptor(pid: int) -> None:
    """The next file it opens would need a number that is not allowed."""
    taken = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    free = next(number for number in itertools.count() if number not in taken)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, free))


def is_gone(pid: int, within_s: float = 3.0) -> bool:
    give_up_s = time.monotonic() + within_s
    while time.monotonic() < give_up_s:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def test_is_a_prober() -> None:
    prober: Prober = MultiprocessProber(traffic("http://localhost/"), {}, SystemClock())
    assert prober.health().overloads == 0


@pytest.mark.parametrize(
    ("rate_per_s", "wanted"), [(0.1, 0), (200, 0), (201, 1), (1000, 1), (1001, 2), (3000, 3)]
)
def test_the_rate_says_how_many_processes(rate_per_s: float, wanted: int) -> None:
    assert processes(rate_per_s) == wanted
    kind = MultiprocessProber if wanted else OpenLoopProber
    assert type(prober_of(scenario(rate_per_s=rate_per_s), SystemClock())) is kind


@pytest.mark.parametrize("count", [1, 3])
def test_slots_are_even_whoever_sends_them_and_each_has_one_outcome(count: int) -> None:
    turns: Iterator[Route] = iter([CANARY, CONTROL] * 60)

    def feed(seq: int) -> Route | Signal:
        return next(turns, Signal.END)

    async def main() -> tuple[list[Sample], list[Sample]]:
        async with RudeServer(says(OK)) as server, opened(server.url, count) as prober:
            assert len(senders()) == count
            samples = await collect(prober, feed, 400)
            assert len(server.heads) == len(samples)
            assert prober.health().lag_p99_s == pytest.approx(
                max(s.lag_s for s in samples[:-1]), abs=0.1
            )
            assert 0 < prober.health().cpu_share < 1
            return samples, await collect(prober, script(Signal.SKIP, CANARY), 400)

    samples, later = asyncio.run(main())
    numbers = [sample.seq for sample in samples]
    assert len(set(numbers)) == len(numbers) == 120
    assert {sample.outcome for sample in samples} == {Outcome.RESPONSE}
    first = samples[0]
    for sample in samples:  # an empty slot is left out, and moves no other
        due_s = first.intended_s + (sample.seq - first.seq) / 400
        assert sample.intended_s == pytest.approx(due_s, abs=1e-6)
        assert sample.started_s >= sample.intended_s
        assert 0 < sample.latency_s < 1
    assert later[0].seq > numbers[-1] + 1
    assert senders() == []


def test_no_command_line_shows_what_is_sent() -> None:
    async def main() -> None:
        async with RudeServer(says(OK)) as server:
            url = server.url + "?token=s3cret{n}"
            async with opened(url, headers={"Cookie": "id=s3cret"}) as prober:
                (sample,) = await collect(prober, script(CANARY))
                for pid in senders():
                    assert b"s3cret" not in command_of(pid)
            assert f"GET /?token=s3cret{sample.seq} " in server.heads[0]
            assert "Cookie: id=s3cret" in server.heads[0]

    asyncio.run(main())


def test_via_and_checks_reach_the_process() -> None:
    async def main() -> None:
        async with RudeServer(says(OK)) as service, RudeServer(says(OK)) as other:
            prober = MultiprocessProber(traffic(service.url), {"stock": other.url}, SystemClock())
            async with prober:
                prober.look_at("stock")
                await collect(prober, script(Route.CHECK, CANARY))
                assert (len(service.heads), len(other.heads)) == (1, 1)
                await collect(prober, script(CANARY), canary=other.address)
                assert (len(service.heads), len(other.heads)) == (1, 2)

    asyncio.run(main())


def test_a_busy_engine_leaves_slots_empty_and_makes_none_late() -> None:
    async def main() -> None:
        async with RudeServer(says(OK)) as server, opened(server.url) as prober:
            busy = iter([0.3])

            def feed(seq: int) -> Route | Signal:
                if seq >= 20:  # that very slot may be missed for other reasons
                    time.sleep(next(busy, 0.0))
                return CANARY if seq < 100 else Signal.END

            samples = await collect(prober, feed, 200)
            assert 20 <= 101 - len(samples) <= 80
            assert 0.2 < prober.health().missed_share < 0.8
            gap_s = max(b.intended_s - a.intended_s for a, b in itertools.pairwise(samples))
            assert gap_s > 0.2

    asyncio.run(main())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_is_harness_trouble(number: signal.Signals) -> None:
    async def main() -> None:
        async with RudeServer(says(OK)) as server, opened(server.url, 2) as prober:
            stream = prober.stream(lambda _: CANARY, 100, {})
            with pytest.raises(HarnessError, match=f"ended by {number.name}") as raised:
                async with aclosing(stream):
                    count = 0
                    async for sample in stream:
                        assert sample.outcome is Outcome.RESPONSE  # nothing is blamed on the target
                        count += 1
                        if count == 5:
                            os.kill(senders()[0], number)
            assert not isinstance(raised.value, TargetError)
            with pytest.raises(HarnessError, match=number.name):  # it stays so
                await collect(prober, script(CANARY))
        assert senders() == []

    asyncio.run(main())


def test_a_process_that_is_stuck_is_harness_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaosbandit.traffic.multiprocess_prober._PATIENCE_S", 0.3)
    monkeypatch.setattr("chaosbandit.traffic.sending_process_link.STOP_S", 0.2)
    monkeypatch.setattr("chaosbandit.traffic.sending_process_link.START_S", 5.0)

    async def main() -> None:
        async with RudeServer(says(OK)) as server, opened(server.url, timeout_s=0.2) as prober:
            (pid,) = senders()
            monkeypatch.setattr("chaosbandit.traffic.sending_process_link.START_S", 0.2)
            stream = prober.stream(lambda _: CANARY, 100, {})
            with pytest.raises(HarnessError, match=r"found no outcome of \d+ requests"):
                async with aclosing(stream):
                    async for _ in stream:
                        os.kill(pid, signal.SIGSTOP)
        assert is_gone(pid)

    asyncio.run(main())


def test_out_of_descriptors_is_overload_of_ours() -> None:
    async def main() -> Outcome:
        async with RudeServer(says(OK)) as server, opened(server.url) as prober:
            (pid,) = senders()
            leave_no_descriptor(pid)
            (sample,) = await collect(prober, script(CANARY))
            assert prober.health().overloads == 1
            return sample.outcome

    assert asyncio.run(main()) is Outcome.OVERLOAD


def test_a_url_we_cannot_request_is_refused_on_opening() -> None:
    async def main() -> None:
        with pytest.raises(TargetError, match="wanted http:// or https://"):
            async with opened("ftp://localhost/", 2):
                pass
        assert senders() == []

    asyncio.run(main())


def test_what_the_feed_raises_reaches_the_consumer() -> None:
    asyncio.run(with_a_failing_feed(opened))


def test_a_consumer_that_leaves_ends_the_sending_and_the_prober_can_still_be_used() -> None:
    async def main() -> None:
        async with RudeServer(says(OK)) as server, opened(server.url) as prober:
            endless: Feed = lambda _: CANARY  # noqa: E731
            async with aclosing(prober.stream(endless, 200, {})) as stream:
                async for _ in stream:
                    break
            await asyncio.sleep(0.05)
            received = len(server.heads)
            await asyncio.sleep(0.2)
            assert len(server.heads) == received
            (sample,) = await collect(prober, script(CANARY))
            assert sample.outcome is Outcome.RESPONSE

    asyncio.run(main())


def test_a_cancelled_consumer_gives_up_what_is_in_flight() -> None:
    async def main() -> None:
        async with RudeServer(hangs) as server, opened(server.url) as prober:
            consumer = asyncio.create_task(collect(prober, lambda _: CANARY, 100))
            await asyncio.sleep(0.3)
            assert len(server.heads) >= 3
            consumer.cancel()
            with pytest.raises(asyncio.CancelledError):
                await consumer
            began_s = time.monotonic()
            (sample,) = await collect(prober, script(CANARY), canary="127.0.0.1:9")
            assert sample.outcome is Outcome.CONNECT_ERROR
            assert time.monotonic() - began_s < 2

    asyncio.run(main())


ENGINE = """
import asyncio, sys, time
from chaosbandit.core.model import Route
from chaosbandit.core.scenario import Traffic
from chaosbandit.traffic.clock import SystemClock
from chaosbandit.traffic.multiprocess_prober import MultiprocessProber

async def main(url):
    slow = Traffic(url, url, 50, 2.0)
    async with MultiprocessProber(slow, {}, SystemClock(), processes=2) as prober:
        async for _ in prober.stream(lambda _: Route.CANARY, 100, {}):
            print("sending", flush=True)

asyncio.run(main(sys.argv[1]))
"""


def test_it_dies_with_the_run_and_not_with_the_terminal() -> None:
    """Ctrl-C reaches the foreground group; the run is killed so that it can undo nothing."""

    async def main() -> None:
        async with RudeServer(says(OK)) as server:
            engine = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", ENGINE, server.url),
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            assert engine.stdout is not None
            assert await engine.stdout.readline() == b"sending\n"
            pids = senders(engine.pid)
            assert len(pids) == 2
            assert engine.pid not in {os.getpgid(pid) for pid in pids}
            engine.kill()
            await engine.wait()
            assert all(is_gone(pid) for pid in pids)

    asyncio.run(main())
