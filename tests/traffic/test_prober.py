"""Every rule of the prober, against raw servers that break it and count requests themselves."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import re
import resource
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from chaosbandit import __version__
from chaosbandit.core.model import Outcome, Route, Sample
from chaosbandit.core.scenario import Traffic
from chaosbandit.errors import TargetError
from chaosbandit.ports import Feed, Prober, Signal
from chaosbandit.traffic.clock import SystemClock
from chaosbandit.traffic.prober import OpenLoopProber

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CANARY = Route.CANARY


class RudeServer:
    """Hands each request to `answer`, which says whether the connection is kept."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self._answer = answer
        self._tls = tls
        self._tasks: set[asyncio.Task[Any]] = set()
        self.heads: list[str] = []
        self.connections = 0
        self.open = 0
        self.waiting = 0  # requests without a complete answer
        self.nth = 0  # number of the last request on its connection, from 1
        self.idle_limit_s: float | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, ssl=self._tls, backlog=512
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        await asyncio.sleep(0.01)  # sockets close in the next turns of the loop

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        try:
            await self._converse(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()
            self.open -= 1
            self._tasks.discard(task)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        keep, nth = True, 0
        while keep:
            async with asyncio.timeout(self.idle_limit_s):
                head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.decode("latin-1"))
            nth += 1
            self.nth = nth
            self.waiting += 1
            try:
                keep = await self._answer(self, writer)
                await writer.drain()
            finally:
                self.waiting -= 1


Answer = Callable[[RudeServer, asyncio.StreamWriter], Awaitable[bool]]


def says(reply: bytes, keep: bool = True, after_s: float = 0.0) -> Answer:
    async def answer(_: RudeServer, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(after_s)
        writer.write(reply)
        return keep

    return answer


async def hangs(_: RudeServer, writer: asyncio.StreamWriter) -> bool:
    await asyncio.sleep(30)
    return False


async def drips_headers(_: RudeServer, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-Drop: 1\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def drips_body(_: RudeServer, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.02)


async def resets(_: RudeServer, writer: asyncio.StreamWriter) -> bool:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
    return False


def traffic(url: str, **changes: Any) -> Traffic:
    return replace(Traffic(url, url, rate_per_s=50, timeout_s=5.0), **changes)


@asynccontextmanager
async def opened(
    url: str, check: str | None = None, in_flight: int = 1000, **changes: Any
) -> AsyncIterator[OpenLoopProber]:
    async with OpenLoopProber(
        traffic(url, **changes),
        {} if check is None else {"service": check},
        SystemClock(),
        max_in_flight=in_flight,
    ) as prober:
        yield prober


def script(*asked: Route | Signal) -> Feed:
    """Says these in turn, then END."""
    turns = iter(asked)
    return lambda _: next(turns, Signal.END)


async def collect(prober: Prober, feed: Feed, rate_per_s: float = 100, **via: str) -> list[Sample]:
    addresses = {Route(route): address for route, address in via.items()}
    samples = [sample async for sample in prober.stream(feed, rate_per_s, addresses)]
    return sorted(samples, key=lambda sample: sample.seq)


async def outcomes(url: str, count: int = 1, **changes: Any) -> list[Outcome]:
    async with opened(url, **changes) as prober:
        return [s.outcome for s in await collect(prober, script(*[CANARY] * count), 20)]


def others() -> set[asyncio.Task[Any]]:
    """Tasks beside the current one."""
    return {t for t in asyncio.all_tasks() if t is not asyncio.current_task()}


# 1, 2: pacing


def test_is_a_prober() -> None:
    prober: Prober = OpenLoopProber(traffic("http://localhost/"), {}, SystemClock())
    assert prober.health().overloads == 0


def test_slots_do_not_wait_for_answers_and_no_pool_queues() -> None:
    async def main() -> tuple[list[Sample], int]:
        most = 0

        async def answers_when_all_have_come(
            server: RudeServer, writer: asyncio.StreamWriter
        ) -> bool:
            nonlocal most
            while len(server.heads) < 150:
                most = max(most, server.waiting)
                await asyncio.sleep(0.01)
            writer.write(OK)
            return True

        async with RudeServer(answers_when_all_have_come) as server, opened(server.url) as prober:
            return await collect(prober, script(*[CANARY] * 150), 200), most

    samples, most = asyncio.run(main())
    assert [s.outcome for s in samples] == [Outcome.RESPONSE] * 150
    assert most >= 149
    steps_s = [b.intended_s - a.intended_s for a, b in itertools.pairwise(samples)]
    assert steps_s == pytest.approx([1 / 200] * 149, abs=1e-6)


def test_a_stall_is_caught_up_and_counts_as_latency() -> None:
    asked_s: list[float] = []

    def feed(_: int) -> Route | Signal:
        asked_s.append(time.monotonic())
        if len(asked_s) == 3:
            time.sleep(0.3)
        return CANARY if len(asked_s) <= 20 else Signal.END

    async def main() -> tuple[list[Sample], int, float]:
        async with RudeServer(says(OK)) as server, opened(server.url) as prober:
            samples = await collect(prober, feed, 100)
            return samples, len(server.heads), prober.health().lag_p99_s

    samples, received, lag_p99_s = asyncio.run(main())
    assert received == len(samples) == 20
    assert samples[19].intended_s - samples[0].intended_s == pytest.approx(0.19, abs=1e-6)
    assert all(at >= s.intended_s for at, s in zip(asked_s, samples, strict=False))
    assert 0.25 <= samples[3].lag_s == pytest.approx(0.29, abs=0.25)
    assert all(s.latency_s > s.lag_s >= 0 for s in samples)
    assert samples[19].lag_s < samples[3].lag_s  # 160 ms of the stall are caught up by then
    assert lag_p99_s == max(s.lag_s for s in samples) >= 0.25


def test_skip_leaves_a_slot_empty_and_seq_grows_over_streams() -> None:
    async def main() -> list[list[Sample]]:
        async with RudeServer(says(OK)) as server, opened(server.url + "{n}") as prober:
            first = await collect(prober, script(CANARY, Signal.SKIP, Route.CONTROL))
            second = await collect(prober, script(CANARY))
            assert [head.split()[1] for head in server.heads] == ["/0", "/2", "/4"]
            return [first, second]

    first, second = asyncio.run(main())
    assert [(s.seq, s.route) for s in first] == [(0, CANARY), (2, Route.CONTROL)]
    assert first[1].intended_s - first[0].intended_s == pytest.approx(0.02, abs=1e-6)
    assert [s.seq for s in second] == [4]  # 3 was asked and answered with END


def test_pages_of_a_range_and_what_was_never_sent() -> None:
    async def main() -> list[str]:
        path = "é/{n:3..5}?id={uuid}&n={n}"
        async with RudeServer(says(OK)) as server, opened(server.url + path) as prober:
            await collect(prober, script(*[CANARY] * 30))
            return [head.split()[1] for head in server.heads]

    asked = asyncio.run(main())
    parts = [re.fullmatch(r"/%C3%A9/([345])\?id=([-0-9a-f]{36})&n=([0-9]+)", one) for one in asked]
    assert {part and part[1] for part in parts} == {"3", "4", "5"}
    assert len({part and part[2] for part in parts}) == 30
    assert [part and part[3] for part in parts] == [str(n) for n in range(30)]


@pytest.mark.parametrize(
    ("body", "headers", "kind"),
    [
        ('{"page": {n:1..2}, "id": "{uuid}", "é": {n}}', {}, "application/json"),
        ("page={n:1..2}&id={uuid}&é={n}", {}, "application/x-www-form-urlencoded"),
        ("<p>{n:1..2} {uuid} {n} é</p>", {"content-type": "text/html"}, "text/html"),
    ],
)
def test_a_body_goes_along(body: str, headers: dict[str, str], kind: str) -> None:
    got: list[tuple[str, str, str]] = []

    async def take(request: web.Request) -> web.Response:
        got.append((request.method, request.content_type, await request.text()))
        return web.Response(text="ok")

    async def main() -> list[Sample]:
        server = TestServer(web.Application())
        server.app.router.add_post("/order", take)
        async with server:
            url = str(server.make_url("/order"))
            async with opened(url, method="POST", body=body, headers=headers) as prober:
                return await collect(prober, script(*[CANARY] * 12))

    samples = asyncio.run(main())
    assert [sample.status for sample in samples] == [200] * 12
    assert {(method, told) for method, told, _ in got} == {("POST", kind)}
    wanted = re.escape(body).replace(re.escape("{n:1..2}"), "[12]")
    wanted = wanted.replace(re.escape("{uuid}"), "[-0-9a-f]{36}").replace(
        re.escape("{n}"), "[0-9]+"
    )
    assert all(re.fullmatch(wanted, text) for _, _, text in got)
    assert len({text for _, _, text in got}) == 12


# 3: what we could not send is ours


def test_cap_in_flight_is_overload_and_leaves_other_routes_alone() -> None:
    async def main() -> None:
        async with RudeServer(hangs) as sick, RudeServer(says(OK)) as well:
            async with opened(sick.url, in_flight=3, timeout_s=0.5, control_url=well.url) as prober:
                feed = script(*[CANARY, CANARY, Route.CONTROL] * 4)
                samples = await collect(prober, feed, 100)
                canaries = [s.outcome for s in samples if s.route is CANARY]
                assert canaries == [Outcome.TIMEOUT] * 3 + [Outcome.OVERLOAD] * 5
                controls = [s for s in samples if s.route is Route.CONTROL]
                assert [s.outcome for s in controls] == [Outcome.RESPONSE] * 4
                assert prober.health().overloads == 5
                assert (len(sick.heads), len(well.heads)) == (3, 4)

    asyncio.run(main())


@pytest.fixture
def hoard() -> Iterator[list[int]]:
    """File descriptors held by a test; given back with the old limit at the end."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    yield held
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    for descriptor in held:
        os.close(descriptor)


def take_all_descriptors(held: list[int]) -> None:
    highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 5, hard))
    take_free_descriptors(held)


def take_free_descriptors(held: list[int]) -> None:
    with pytest.raises(OSError, match="Too many open files"):
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))


async def keep_taking_descriptors(held: list[int]) -> None:
    """What other tests' garbage gives back meanwhile must not be had by a request."""
    while True:
        take_free_descriptors(held)
        await asyncio.sleep(0)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_running_out_of_descriptors_is_overload(hoard: list[int], host: str) -> None:
    async def main() -> None:
        async with RudeServer(says(OK)) as server:
            async with opened(f"http://{host}:{server.port}/") as prober:
                gc.collect()
                take_all_descriptors(hoard)
                taking = asyncio.create_task(keep_taking_descriptors(hoard))
                samples = await collect(prober, script(CANARY, CANARY))
                taking.cancel()
                while hoard:
                    os.close(hoard.pop())
                assert [s.outcome for s in samples] == [Outcome.OVERLOAD] * 2
                assert prober.health().overloads == 2
                after = await collect(prober, script(CANARY))
                assert [s.outcome for s in after] == [Outcome.RESPONSE]
                assert prober.health().overloads == 0

    asyncio.run(main())


WITHOUT_PORTS = """
import asyncio, fcntl, socket, struct, sys
from pathlib import Path
from tests.traffic.test_prober import CANARY, RudeServer, collect, hangs, opened, script

def addresses(host, *arguments, found=socket.getaddrinfo, **named):
    hosts = ["::1", "127.0.0.1"] if host == "both" else [host]
    return [one for each in hosts for one in found(each, *arguments, **named)]

async def main(host):
    async with RudeServer(hangs) as server:
        Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("50000 50005")
        async with opened(f"http://{host}:{server.port}/", timeout_s=0.5) as prober:
            samples = await collect(prober, script(*[CANARY] * 10), 100)
            print(*[sample.outcome for sample in samples])

with socket.socket() as sock:
    fcntl.ioctl(sock, 0x8914, struct.pack("16sh", b"lo", 0x49))  # SIOCSIFFLAGS: up, running
socket.getaddrinfo = addresses
asyncio.run(main(sys.argv[1]))
"""
ALONE = ["unshare", "-rn"]  # with a network of its own, whose settings are nobody else's


@pytest.mark.parametrize("host", ["127.0.0.1", "both"])
def test_running_out_of_local_ports_is_overload(host: str) -> None:
    """Also where the host has a second address, at which nobody listens."""
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no network namespaces for this user")
    ended = subprocess.run(
        [*ALONE, sys.executable, "-c", WITHOUT_PORTS, host],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stdout.split() == ["timeout"] * 6 + ["overload"] * 4, ended.stderr


# 4: time-outs


@pytest.mark.parametrize(
    "answer",
    [hangs, drips_headers, drips_body, says(b"HTTP/1.1 200 OK\r\nContent-Le", after_s=0)],
    ids=["hangs", "drips headers", "drips body", "half a header"],
)
def test_one_time_out_bounds_the_request(answer: Answer) -> None:
    async def main() -> None:
        async with RudeServer(answer) as server, opened(server.url, timeout_s=0.3) as prober:
            (sample,) = await collect(prober, script(CANARY))
            assert (sample.outcome, sample.latency_s) == (Outcome.TIMEOUT, 0.3)
            assert sample.status is None
            assert 0.3 <= time.monotonic() - sample.intended_s < 1.5
            assert len(server.heads) == 1

    asyncio.run(main())


def test_time_out_covers_connecting() -> None:
    async def main(port: int) -> None:
        async with opened(f"http://127.0.0.1:{port}/", timeout_s=0.3) as prober:
            (sample,) = await collect(prober, script(CANARY))
            assert (sample.outcome, sample.latency_s) == (Outcome.TIMEOUT, 0.3)

    with socket.socket() as listener:  # its queue is full: connecting hangs
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        asyncio.run(main(listener.getsockname()[1]))
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize(
    ("stall_s", "expected", "received"),
    [(0.7, Outcome.TIMEOUT, 1), (1.2, Outcome.OVERLOAD, 0)],
)
def test_time_out_counts_from_the_intended_time(
    stall_s: float, expected: Outcome, received: int
) -> None:
    def stalls(seq: int) -> Route | Signal:
        time.sleep(stall_s if seq == 0 else 0)
        return CANARY if seq == 0 else Signal.END

    async def main() -> None:
        async with RudeServer(hangs) as server, opened(server.url, timeout_s=1.0) as prober:
            (sample,) = await collect(prober, stalls)
            assert 1.0 <= time.monotonic() - sample.intended_s < 1.6
            assert sample.outcome is expected
            assert sample.latency_s == pytest.approx(max(1.0, stall_s), abs=0.4)
            assert len(server.heads) == received

    asyncio.run(main())


# 5, 6: memory and health


def test_garbage_is_frozen_while_open() -> None:
    async def main() -> None:
        async with opened("http://localhost/"):
            assert gc.get_freeze_count() > 1000
        assert gc.get_freeze_count() == 0

    asyncio.run(main())


def test_health_shows_our_own_processor_share() -> None:
    def burns(seq: int) -> Route | Signal:
        until_s = time.process_time() + 0.15
        while time.process_time() < until_s:
            pass
        return next(turns)

    turns: Iterator[Route | Signal] = iter([CANARY, Signal.SKIP, Signal.END])

    async def main() -> tuple[float, float]:
        async with RudeServer(says(OK, after_s=0.3)) as server, opened(server.url) as prober:
            await collect(prober, burns, 200)
            busy = prober.health().cpu_share
            await collect(prober, script(CANARY))
            return busy, prober.health().cpu_share

    busy, idle = asyncio.run(main())
    assert busy > 0.15
    assert 0 < idle < busy


# 7: one send per sample


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST"])
@pytest.mark.parametrize("broken", [resets, says(b"", keep=False)], ids=["reset", "close"])
def test_a_kept_connection_that_dies_is_not_resent(method: str, broken: Answer) -> None:
    async def second_dies(server: RudeServer, writer: asyncio.StreamWriter) -> bool:
        if server.nth == 2:
            return await broken(server, writer)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        return True

    async def main() -> tuple[list[Outcome], int, int]:
        async with RudeServer(second_dies) as server:
            found = await outcomes(server.url, 2, method=method)
            return found, len(server.heads), server.connections

    expected = [Outcome.RESPONSE, Outcome.KEPT_CLOSED]
    assert asyncio.run(main()) == (expected, 2, 1)


def test_a_kept_connection_that_dies_in_its_answer_is_the_targets_failure() -> None:
    async def second_breaks_off(server: RudeServer, writer: asyncio.StreamWriter) -> bool:
        cut = server.nth == 2
        writer.write(OK.replace(b": 2", b": 9") if cut else OK)
        return not cut

    async def main() -> tuple[list[Outcome], int]:
        async with RudeServer(second_breaks_off) as server:
            return await outcomes(server.url, 2), server.connections

    assert asyncio.run(main()) == ([Outcome.RESPONSE, Outcome.TRANSPORT_ERROR], 1)


def test_an_idle_connection_that_expired_is_replaced_before_sending() -> None:
    async def main() -> tuple[list[Outcome], int, int]:
        async with RudeServer(says(OK)) as server, opened(server.url) as prober:
            server.idle_limit_s = 0.05
            found = [s.outcome for s in await collect(prober, script(*[CANARY] * 3), 4)]
            return found, len(server.heads), server.connections

    assert asyncio.run(main()) == ([Outcome.RESPONSE] * 3, 3, 3)


def test_we_give_up_an_idle_connection_before_the_server_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chaosbandit.traffic.http.IDLE_S", 0.1)

    async def main() -> None:
        async with RudeServer(says(OK)) as server:
            await outcomes(server.url, 3)  # 50 ms apart
            assert server.connections == 1
            async with opened(server.url) as prober:
                await collect(prober, script(*[CANARY] * 3), 4)
            assert server.connections == 4

    asyncio.run(main())


# 8, 10: what goes over the wire


@pytest.mark.parametrize("location", ["/elsewhere", "http://[", "ftp://x/"])
def test_redirects_are_responses(location: str) -> None:
    reply = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()

    async def main() -> None:
        async with RudeServer(says(reply)) as server, opened(server.url) as prober:
            (sample,) = await collect(prober, script(CANARY))
            assert (sample.outcome, sample.status) == (Outcome.RESPONSE, 302)
            assert len(server.heads) == 1

    asyncio.run(main())


def test_environment_proxies_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def main() -> list[Outcome]:
        async with RudeServer(says(OK)) as server:
            return await outcomes(server.url)

    assert asyncio.run(main()) == [Outcome.RESPONSE]


def test_headers_go_as_given_and_cookies_are_forgotten() -> None:
    reply = b"HTTP/1.1 200 OK\r\nSet-Cookie: seen=1; Path=/\r\nContent-Length: 0\r\n\r\n"

    async def main() -> list[str]:
        async with RudeServer(says(reply)) as server:
            given = {"authorization": "Bearer s3cret", "X-Odd": "a b"}
            url = f"http://localhost:{server.port}/"  # jars ignore cookies of bare addresses
            async with opened(url, url + "stock", method="POST", headers=given) as prober:
                await collect(prober, script(CANARY, CANARY, Route.CHECK), 20)
            await outcomes(server.url, headers={"User-Agent": "mine", "Host": "shop.test"})
            return server.heads

    first, second, check, own = asyncio.run(main())
    assert first.startswith("POST / HTTP/1.1\r\n")
    assert "authorization: bearer s3cret\r\n" in first.lower()
    assert "x-odd: a b\r\n" in first.lower()
    assert f"user-agent: chaosbandit/{__version__}\r\n" in first.lower()
    assert "content-length: 0\r\n" in first.lower()
    assert "content-type" not in first.lower()
    assert "cookie" not in second.lower()
    assert check.startswith("GET /stock HTTP/1.1\r\n")
    assert "s3cret" not in check  # the dependency is not told the service's secrets
    assert "user-agent: mine\r\n" in own.lower()
    assert "host: shop.test\r\n" in own.lower()
    assert own.lower().count("host:") == own.lower().count("user-agent:") == 1


def test_fresh_connections_are_used_once() -> None:
    async def main() -> None:
        async with RudeServer(says(OK)) as server:
            await outcomes(server.url, 3)
            assert server.connections == 1
            await outcomes(server.url, 3, fresh_connections=True)
            assert server.connections == 4
            assert all("connection: close\r\n" in head.lower() for head in server.heads[3:])
            assert all("connection:" not in head.lower() for head in server.heads[:3])

    asyncio.run(main())


# 9: routes and addresses


def test_each_route_has_its_own_url() -> None:
    async def main() -> list[str]:
        async with RudeServer(says(OK)) as server:
            urls = [f"{server.url}{name}/{{n}}?n={{n}}" for name in ("sick", "well", "stock")]
            async with opened(urls[0], urls[2], control_url=urls[1]) as prober:
                await collect(prober, script(CANARY, Route.CONTROL, Route.CHECK), 20)
            assert server.connections == 3
            return [head.split()[1] for head in server.heads]

    assert asyncio.run(main()) == ["/sick/0?n=0", "/well/1?n=1", "/stock/2?n=2"]


def test_the_check_asks_the_dependency_it_is_told_to_look_at() -> None:
    async def main() -> list[str]:
        async with RudeServer(says(OK)) as server:
            checks = {"stock": f"{server.url}stock", "prices": f"{server.url}prices"}
            async with OpenLoopProber(traffic(server.url), checks, SystemClock()) as prober:
                for proxy in ("stock", "prices", "unknown", "stock"):
                    prober.look_at(proxy)
                    await collect(prober, script(Route.CHECK, Route.CHECK), 50)
            return [head.split()[1] for head in server.heads]

    asked = asyncio.run(main())
    assert asked == ["/stock"] * 2 + ["/prices"] * 4 + ["/stock"] * 2


def test_via_changes_the_address_and_nothing_else() -> None:
    async def main() -> None:
        async with RudeServer(says(OK)) as one, RudeServer(says(OK)) as other:
            async with opened("http://shop.test:8080/a") as prober:
                for _ in range(2):
                    (sample,) = await collect(prober, script(CANARY), canary=one.address)
                    assert sample.outcome is Outcome.RESPONSE
                assert (one.connections, one.open) == (1, 1)
                await collect(prober, script(CANARY, CANARY), 20, canary=other.address)
                await asyncio.sleep(0.05)
                assert (one.open, len(one.heads)) == (0, 2)  # nothing more to the old address
                assert (other.connections, len(other.heads)) == (1, 2)
            heads = one.heads + other.heads
            assert all("\r\nhost: shop.test:8080\r\n" in head.lower() for head in heads)
            assert all(head.startswith("GET /a HTTP/1.1\r\n") for head in heads)

    asyncio.run(main())


def test_via_keeps_server_name_and_certificate_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path, "shop.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    names: list[str | None] = []
    tls.sni_callback = lambda _socket, name, _context: names.append(name)

    async def main() -> tuple[list[Outcome], str]:
        async with RudeServer(says(OK), tls) as server:
            found = []
            for url in ("https://shop.test/", "https://other.test/"):
                async with opened(url) as prober:
                    (sample,) = await collect(prober, script(CANARY), canary=server.address)
                    found.append(sample.outcome)
            return found, server.heads[0]

    found, head = asyncio.run(main())
    assert found == [Outcome.RESPONSE, Outcome.CONNECT_ERROR]
    assert names == ["shop.test", "other.test"]
    assert "host: shop.test\r\n" in head.lower()


def self_signed(folder: Path, name: str) -> Path:
    """Key and certificate in one file."""
    file = folder / "both.pem"
    keys = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    command = ["openssl", "req", "-x509", *keys, *names, "-keyout", "-", "-out", "-"]
    file.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    return file


# 11: nothing is left in flight


def test_the_stream_ends_when_everything_sent_has_an_outcome() -> None:
    async def main() -> None:
        async with RudeServer(says(OK, after_s=0.3)) as server, opened(server.url) as prober:
            samples = await collect(prober, script(*[CANARY] * 5), 200)
            assert [s.outcome for s in samples] == [Outcome.RESPONSE] * 5
            assert min(s.latency_s for s in samples) >= 0.3
            assert server.waiting == 0

    asyncio.run(main())


async def breaks_off(stream: AsyncIterator[Sample]) -> None:
    async for _ in stream:
        raise RuntimeError("the consumer's own")


@pytest.mark.parametrize("kept", [False, True], ids=["closed", "left to the prober"])
def test_an_exception_in_the_consumer_cancels_what_is_in_flight(kept: bool) -> None:
    async def first_only(server: RudeServer, writer: asyncio.StreamWriter) -> bool:
        return await (says(OK) if len(server.heads) == 1 else hangs)(server, writer)

    async def main() -> None:
        async with RudeServer(first_only) as server:
            before = others()
            with pytest.raises(RuntimeError, match="the consumer's own"):
                async with opened(server.url) as prober:
                    endless = prober.stream(lambda _: CANARY, 100, {})
                    if kept:
                        await breaks_off(endless)
                    async with aclosing(endless) as stream:
                        await breaks_off(stream)
            assert {t for t in others() - before if "Rude" not in repr(t)} == set()
            await asyncio.sleep(0.02)
            received = len(server.heads)
            await asyncio.sleep(0.1)
            assert len(server.heads) == received
            await endless.aclose()

    asyncio.run(main())


def test_cancelling_the_consumer_cancels_what_is_in_flight() -> None:
    async def main() -> None:
        async with RudeServer(hangs) as server, opened(server.url) as prober:
            before = others()
            consumer = asyncio.create_task(collect(prober, lambda _: CANARY, 100))
            await asyncio.sleep(0.2)
            assert len(server.heads) >= 5
            consumer.cancel()
            with pytest.raises(asyncio.CancelledError):
                await consumer
            assert {t for t in others() - before if "Rude" not in repr(t)} == set()
            (sample,) = await collect(
                prober, script(Signal.SKIP, CANARY), 100, canary="127.0.0.1:9"
            )
            assert sample.outcome is Outcome.CONNECT_ERROR  # the prober can still be used

    asyncio.run(main())


async def with_a_failing_feed(opened: Callable[[str], AbstractAsyncContextManager[Prober]]) -> None:
    """What it raises reaches the consumer."""

    def feed(seq: int) -> Route | Signal:
        if seq == 2:
            raise ZeroDivisionError
        return CANARY

    async with RudeServer(hangs) as server, opened(server.url) as prober:
        with pytest.raises(ZeroDivisionError):
            await collect(prober, feed)


def test_what_the_feed_raises_reaches_the_consumer() -> None:
    asyncio.run(with_a_failing_feed(opened))


# 12: outcomes


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (says(OK), Outcome.RESPONSE),
        (says(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"), Outcome.RESPONSE),
        (says(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", keep=False), Outcome.RESPONSE),
        (says(b"", keep=False), Outcome.TRANSPORT_ERROR),
        (resets, Outcome.TRANSPORT_ERROR),
        (says(b"SSH-2.0-nothing to do with HTTP\r\n\r\n", keep=False), Outcome.NO_HTTP),
        (says(OK.replace(b": 2", b": 9"), keep=False), Outcome.TRANSPORT_ERROR),
        (says(OK.replace(b": 2", b": two")), Outcome.NO_HTTP),
        (
            says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nbad"),
            Outcome.NO_HTTP,
        ),
    ],
    ids=["ok", "500", "eof", "empty", "reset", "ssh", "truncated", "bad length", "bad chunk"],
)
def test_outcomes(answer: Answer, expected: Outcome) -> None:
    async def main() -> tuple[list[Outcome], int]:
        async with RudeServer(answer) as server:
            return await outcomes(server.url), len(server.heads)

    assert asyncio.run(main()) == ([expected], 1)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (OK.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n"), "Duplicate Content-Length"),
        (OK.replace(b"Content", b"a/b.php: no\r\nContent"), "Invalid header token"),
        (OK.replace(b"Content", b"X: %s\r\nContent" % (b"\x1b[31m" * 20_000)), "Got more than"),
        (OK.replace(b": 2", b": 9"), "received 2 of 9 bytes"),
    ],
    ids=["two lengths", "no field name", "too long, with escapes", "cut"],
)
def test_what_was_wrong_with_an_answer_is_kept(reply: bytes, why: str) -> None:
    async def main() -> list[Sample]:
        async with RudeServer(says(reply, keep=False)) as server, opened(server.url) as prober:
            return await collect(prober, script(CANARY), 20)

    (sample,) = asyncio.run(main())
    assert why in sample.why
    assert sample.why.isprintable() and len(sample.why) <= 120


def test_refused_and_unresolvable_are_connect_errors() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # bound, not listening
        port = sock.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            assert asyncio.run(outcomes(f"http://{host}:{port}/")) == [Outcome.CONNECT_ERROR]
    assert asyncio.run(outcomes("http://nowhere.invalid/")) == [Outcome.CONNECT_ERROR]


def test_an_endless_body_is_read_to_a_limit() -> None:
    async def pours(_: RudeServer, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while True:
            writer.write(b"." * 65536)
            await writer.drain()

    async def main() -> tuple[list[Outcome], int]:
        async with RudeServer(pours) as server:
            found = await outcomes(server.url, timeout_s=8.0)
            await asyncio.sleep(0.05)
            return found, server.open

    assert asyncio.run(main()) == ([Outcome.RESPONSE], 0)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://", "http://x:port/"])
def test_a_url_we_cannot_request_is_refused_on_opening(url: str) -> None:
    async def main() -> None:
        with pytest.raises(TargetError, match="wanted http://"):
            async with opened("http://localhost/", control_url=url):
                pytest.fail("opened")

    asyncio.run(main())
