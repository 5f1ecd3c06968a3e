"""The demo's services as real processes: a page lives on fast stock and gives up on slow stock.

Between storefront and inventory stands a relay that delays what inventory says, so nothing here
depends on our own proxy. Delays are far from where the page breaks: that place is not asserted,
because nothing but a measurement knows it.
"""

from __future__ import annotations

import asyncio
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.e2e

DEMO = Path(__file__).parents[2] / "scenarios" / "demo"
NOWHERE = "127.0.0.1:1"  # refuses connections: nobody serves on the lowest privileged port
BEARABLE_S = 0.1
UNBEARABLE_S = 0.6
START_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Service:
    """A started process and where it serves."""

    process: subprocess.Popen[str]
    ready_line: str

    @property
    def url(self) -> str:
        return self.ready_line.split()[-1]

    @property
    def address(self) -> str:
        return self.url.removeprefix("http://")

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])


@contextmanager
def started(script: str, *arguments: str) -> Iterator[Service]:
    """The service, ready; killed at the end if it has not left by then."""
    with subprocess.Popen(
        [sys.executable, str(DEMO / script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            readable, _, _ = select.select([process.stdout], [], [], START_LIMIT_S)
            line = process.stdout.readline().strip() if readable else ""
            if not line:
                process.kill()
                pytest.fail(f"{script} did not start: {process.communicate()[1]}")
            yield Service(process, line)
        finally:
            if process.poll() is None:
                process.kill()


@dataclass(slots=True)
class Relay:
    """Passes bytes both ways; what the upstream says arrives `delay_s` later, if it may at all."""

    upstream_port: int
    delay_s: float = 0.0
    hangs_up: bool = False  # instead of passing an answer on
    address: str = ""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _pipes: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Relay]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for writer in self._writers.copy():
                writer.close()
            await asyncio.gather(*self._pipes)  # they see the end and return

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pipes = asyncio.current_task()
        assert pipes is not None
        self._pipes.add(pipes)
        answers, questions = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        self._writers |= {writer, questions}
        await asyncio.gather(
            self._pass_questions(reader, questions),
            self._pass_answers(answers, writer),
        )
        self._writers -= {writer, questions}

    async def _pass_questions(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                self.asked.set()
        writer.close()

    async def _pass_answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while (chunk := await reader.read(65536)) and not self.hangs_up:
                await asyncio.sleep(self.delay_s)
                writer.write(chunk)
        writer.close()


@dataclass(frozen=True, slots=True)
class Shop:
    """A storefront behind a relay, and the means to ask both services."""

    client: httpx.AsyncClient
    relay: Relay
    inventory: Service
    storefront: Service

    async def page(self, product: int = 7) -> httpx.Response:
        return await self.client.get(f"{self.storefront.url}/product/{product}")

    async def stock_requests(self) -> int:
        answer = await self.client.get(f"{self.inventory.url}/stats")
        return int(answer.json()["requests"])


def in_shop(test: Callable[[Shop], Awaitable[None]]) -> None:
    """Run `test` in a shop of real processes."""

    async def run(inventory: Service, processes: ExitStack) -> None:
        async with Relay(inventory.port).running() as relay, client() as http:
            storefront = processes.enter_context(
                started("storefront.py", "--inventory", relay.address, "--name", "canary")
            )
            await test(Shop(http, relay, inventory, storefront))

    with ExitStack() as processes:
        inventory = processes.enter_context(started("inventory.py", "--seed", "5"))
        asyncio.run(run(inventory, processes))


def client() -> httpx.AsyncClient:
    """A client without retries that gives up long after the page should have."""
    return httpx.AsyncClient(timeout=10.0, trust_env=False)


def test_a_page_shows_the_stock_that_inventory_reports() -> None:
    async def test(shop: Shop) -> None:
        for product in range(1, 12):
            stock = (await shop.client.get(f"{shop.inventory.url}/stock/{product}")).json()
            page = await shop.page(product)
            assert page.status_code == 200
            assert page.headers["content-type"].startswith("text/html")
            assert stock["product"] == product
            assert f"no. {product}</h1>" in page.text
            shown = f"{stock['stock']} in stock" if stock["stock"] else "sold out"
            assert f">{shown}<" in page.text

    in_shop(test)


def test_bearable_latency_delays_the_page_and_nothing_else() -> None:
    async def test(shop: Shop) -> None:
        await shop.page()
        shop.relay.delay_s = BEARABLE_S
        before = await shop.stock_requests()
        pages = [await timed(shop.page()) for _ in range(10)]
        # one page in ten may lose an attempt to a busy machine; none may be lost
        assert {page.status_code for page, _ in pages} == {200}
        assert min(took_s for _, took_s in pages) >= BEARABLE_S
        assert 10 <= await shop.stock_requests() - before <= 11

    in_shop(test)


def test_unbearable_latency_ends_in_503_after_one_retry() -> None:
    async def test(shop: Shop) -> None:
        await shop.page()
        shop.relay.delay_s = UNBEARABLE_S
        before = await shop.stock_requests()
        page, took_s = await timed(shop.page())
        assert page.status_code == 503
        assert took_s < UNBEARABLE_S  # the deadline, not inventory, ended the wait
        assert await shop.stock_requests() - before == 2

    in_shop(test)


def test_the_page_is_well_again_as_soon_as_inventory_is() -> None:
    async def test(shop: Shop) -> None:
        shop.relay.delay_s = UNBEARABLE_S
        pages = await asyncio.gather(*(shop.page(n) for n in range(1, 41)))  # more than the pool
        assert {page.status_code for page in pages} == {503}
        shop.relay.delay_s = 0.0
        page, took_s = await timed(shop.page())
        assert page.status_code == 200
        assert took_s < UNBEARABLE_S

    in_shop(test)


def test_a_connection_that_breaks_once_costs_a_retry_and_not_the_page() -> None:
    async def test(shop: Shop) -> None:
        await shop.page()
        shop.relay.delay_s = BEARABLE_S
        shop.relay.asked.clear()
        asking = asyncio.create_task(shop.page())
        await shop.relay.asked.wait()
        before = await shop.stock_requests()
        for writer in shop.relay._writers.copy():
            writer.close()
        assert (await asking).status_code == 200
        assert await shop.stock_requests() == before + 1

    in_shop(test)


def test_a_question_that_always_kills_its_connection_is_asked_twice_and_no_more() -> None:
    async def test(shop: Shop) -> None:
        await shop.page()  # leaves a kept connection, on which HTTP libraries resend silently
        shop.relay.hangs_up = True
        before = await shop.stock_requests()
        assert (await shop.page()).status_code == 503
        assert await shop.stock_requests() - before == 2

    in_shop(test)


def test_dead_inventory_gives_503_at_once_and_health_stays_good() -> None:
    with started("storefront.py", "--inventory", NOWHERE) as storefront:
        begun_s = time.monotonic()
        page = httpx.get(f"{storefront.url}/product/1", timeout=10.0, trust_env=False)
        assert page.status_code == 503
        assert time.monotonic() - begun_s < 1.0
        health = httpx.get(f"{storefront.url}/health", timeout=10.0, trust_env=False)
        assert health.json() == {"status": "ok", "instance": "control"}


def test_what_is_not_a_product_is_not_found() -> None:
    with (
        started("inventory.py") as inventory,
        started("storefront.py", "--inventory", inventory.address) as storefront,
    ):
        for url in (f"{inventory.url}/stock/x", f"{storefront.url}/product/x"):
            assert httpx.get(url, timeout=10.0, trust_env=False).status_code == 404


SERVICES = (("inventory.py",), ("storefront.py", "--inventory", NOWHERE))


@pytest.mark.parametrize("service", SERVICES)
def test_ready_line_names_the_address_that_answers(service: tuple[str, ...]) -> None:
    with started(*service) as running:
        name = "inventory" if service[0] == "inventory.py" else "storefront control"
        assert re.fullmatch(rf"{name} listening on http://127\.0\.0\.1:\d+", running.ready_line)
        health = httpx.get(f"{running.url}/health", timeout=10.0, trust_env=False)
        assert health.status_code == 200


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_quickly_and_quietly(
    service: tuple[str, ...], number: signal.Signals
) -> None:
    with started(*service) as running, httpx.Client(trust_env=False, timeout=10.0) as kept:
        kept.get(f"{running.url}/health")  # an idle kept connection must not hold it back
        running.process.send_signal(number)
        assert_left_quietly(running.process)


@pytest.mark.parametrize("service", SERVICES)
def test_end_of_stdin_ends_it_when_asked_for(service: tuple[str, ...]) -> None:
    with started(*service, "--exit-with-stdin") as running:
        assert running.process.poll() is None
        assert running.process.stdin is not None
        running.process.stdin.close()
        assert_left_quietly(running.process)


def test_end_of_stdin_means_nothing_unless_asked_for() -> None:
    with started("inventory.py") as running:
        assert running.process.stdin is not None
        running.process.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            running.process.wait(0.3)
        assert httpx.get(f"{running.url}/health", timeout=10.0, trust_env=False).is_success


def test_unfinished_pages_do_not_delay_the_end() -> None:
    async def test(shop: Shop) -> None:
        shop.relay.delay_s = UNBEARABLE_S
        asking = asyncio.gather(*(shop.page(n) for n in range(1, 6)), return_exceptions=True)
        await shop.relay.asked.wait()
        shop.storefront.process.terminate()
        await asyncio.to_thread(assert_left_quietly, shop.storefront.process)
        await asking

    in_shop(test)


def test_a_taken_port_is_said_in_one_line() -> None:
    with started("inventory.py") as first:
        second = subprocess.run(
            [sys.executable, str(DEMO / "inventory.py"), "--port", str(first.port)],
            capture_output=True,
            text=True,
            timeout=START_LIMIT_S,
            check=False,
        )
        assert second.returncode == 1
        assert second.stdout == ""
        assert re.fullmatch(r"inventory: cannot serve on 127\.0\.0\.1:\d+: .+\n", second.stderr)


async def timed(page: Awaitable[httpx.Response]) -> tuple[httpx.Response, float]:
    """The response and the seconds it took."""
    begun_s = time.monotonic()
    response = await page
    return response, time.monotonic() - begun_s


def assert_left_quietly(process: subprocess.Popen[str]) -> None:
    """Exit 0 soon (the aim is 0.5 s, the limit leaves room for a busy machine), saying nothing."""
    begun_s = time.monotonic()
    assert process.wait(10) == 0
    assert time.monotonic() - begun_s < 2.0
    assert process.stderr is not None
    assert process.stderr.read() == ""
