"""A shop whose pages need its stock service: stock, a control and a canary in one process.

`GET /item/1` asks the stock and answers 200, or 503 when the stock takes longer than `--limit`. The
canary asks through a proxy and can be given the habits that mislead: a breaker that stays open, a
page that is slow by itself and never asks, a stock that is slow whenever the proxy has a toxic.

    python benchmarks/shop.py --through 127.0.0.1:9101 --limit 0.12 --breaker 20

It prints the addresses of stock, control and canary, and serves until its stdin ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial

import aiohttp
from aiohttp import web

HOST = "127.0.0.1"
BREAKS_AFTER = 5  # failures in a row
_LOOK_S = 0.02  # at the proxy's toxics
_STOP_S = 5.0
_FAILURES = (TimeoutError, aiohttp.ClientError)


@dataclass(slots=True)
class Breaker:
    """After some failures in a row nothing is asked for a while; then the next request tries."""

    open_s: float
    failures: int = 0
    until_s: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether requests fail without being tried."""
        return time.monotonic() < self.until_s

    def saw(self, well: bool) -> None:
        """Count one request that was tried."""
        self.failures = 0 if well else self.failures + 1
        if self.open_s and self.failures >= BREAKS_AFTER and not self.is_open:
            self.failures, self.until_s = 0, time.monotonic() + self.open_s


class Page:
    """One instance of the shop; without a stock it never asks."""

    def __init__(
        self, session: aiohttp.ClientSession, stock: str | None, limit_s: float,
        open_s: float = 0.0, slower_s: float = 0.0,
    ) -> None:  # fmt: skip
        self._session, self._stock, self._limit_s = session, stock, limit_s
        self._breaker, self._slower_s = Breaker(open_s), slower_s

    async def answer(self, _: web.Request) -> web.Response:
        """200 with the stock, or 503."""
        await asyncio.sleep(self._slower_s)
        well = self._stock is None or await self._asked()
        return web.Response(
            text="well\n" if well else "stock unknown\n", status=200 if well else 503
        )

    async def _asked(self) -> bool:
        if self._breaker.is_open:
            return False
        try:
            async with asyncio.timeout(self._limit_s):
                async with self._session.get(f"http://{self._stock}/") as answer:
                    await answer.read()
                    well = answer.status == 200
        except _FAILURES:
            well = False
        self._breaker.saw(well)
        return well


class Stock:
    """Answers at once, or `slower_s` later while any proxy there has a toxic that bites."""

    def __init__(self, session: aiohttp.ClientSession, server: str, slower_s: float) -> None:
        self._session, self._server, self._slower_s = session, server, slower_s
        self._disturbed = False

    async def answer(self, _: web.Request) -> web.Response:
        """Always 200."""
        await asyncio.sleep(self._slower_s if self._disturbed else 0.0)
        return web.Response(text="7\n")

    async def watch(self) -> None:
        """See whether there are such toxics, until cancelled."""
        while self._slower_s:
            with contextlib.suppress(*_FAILURES):
                async with self._session.get(f"{self._server}/proxies") as answer:
                    proxies = (await answer.json()).values()
                toxics = (toxic for proxy in proxies for toxic in proxy["toxics"])
                self._disturbed = any(any(toxic["attributes"].values()) for toxic in toxics)
            await asyncio.sleep(_LOOK_S)


async def _serve(asked: argparse.Namespace) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        session._retry_connection = False  # one request is one request
        stock = Stock(session, asked.server, asked.stock_slower)
        address = await _site(stock.answer)
        direct = await _site(Stock(session, asked.server, 0.0).answer)
        control = await _site(Page(session, direct, asked.limit).answer)
        through = None if asked.asks_nothing else asked.through
        canary = Page(session, through, asked.limit, asked.breaker, asked.slower)
        print(address, control, await _site(canary.answer), flush=True)
        watching = asyncio.create_task(stock.watch())
        await asyncio.to_thread(sys.stdin.read)
        watching.cancel()


async def _site(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> str:
    """Serve everywhere on a free port; its address."""
    application = web.Application()
    application.router.add_get("/{anything:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    return f"{HOST}:{runner.addresses[0][1]}"


@dataclass(frozen=True, slots=True)
class Shop:
    """Where the parts of a running shop listen, as `host:port`."""

    stock: str
    control: str
    canary: str


@contextlib.contextmanager
def running_shop(through: str, server: str, *options: str) -> Iterator[Shop]:
    """Have a shop as a process."""
    command = [sys.executable, __file__, "--through", through, "--server", server, *options]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            if not said:
                raise RuntimeError("the shop did not start")
            yield Shop(*said.split())
        finally:
            process.stdin.close()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def main() -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--through", required=True, metavar="HOST:PORT", help="of the proxy")
    parser.add_argument("--server", default="", metavar="URL", help="of Toxiproxy")
    seconds = partial(parser.add_argument, type=float, default=0.0, metavar="SECONDS")
    seconds("--limit", default=0.12, help="for the stock's answer")
    seconds("--breaker", help="how long it stays open")
    seconds("--slower", help="of the canary, by itself")
    seconds("--stock-slower", help="while there are toxics")
    parser.add_argument("--asks-nothing", action="store_true", help="the canary needs no stock")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
