"""The sample storefront: a product page that shows the stock it learns from inventory.

Its inventory client is what a careful team writes: a bounded pool of kept connections, a time-out
for each attempt, one retry after a time-out or a transport error, and a deadline for the page,
after which the visitor gets a 503 instead of a longer wait.

How much latency the page bears is written nowhere; it comes out of these parts together. An
attempt's time-out covers more than the wire: waiting for a place in the pool, connecting,
inventory's own service time with its tail, and whatever the event loop is busy with. So the first
attempts fail when the latency *plus the slow end of all that* no longer fits. The retry then
starts after a pause and has only what the deadline leaves, which is less than the first attempt
had: it rescues a page from one broken connection or one stray slow answer, but not from a
dependency that is slow every time. And each attempt given up costs a connection and asks inventory
twice, so the page gets worse faster than inventory does.

Run it with `python storefront.py --port 9100 --inventory 127.0.0.1:9001`. It needs Python 3.11 and
aiohttp, and knows nothing of proxies or of faults.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
from aiohttp import web

POOL_SIZE = 80
ATTEMPT_TIMEOUT_S = 0.4
RETRY_PAUSE_S = (0.010, 0.030)  # drawn anew each time, so that retries do not come in step
PAGE_DEADLINE_S = 0.55

WORTH_A_RETRY = (TimeoutError, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)
MATERIALS = ("oak", "wool", "steel", "linen", "copper", "glass", "cork")
THINGS = ("kettle", "lamp", "chair", "blanket", "clock", "shelf", "bowl", "basket", "stool")

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body>
<h1>{title}</h1>
<p class="price">{price:.2f}</p>
<p class="stock">{stock}</p>
<form method="post" action="/basket"><input type="hidden" name="product" value="{product}">
<button>Put into basket</button></form>
<footer>storefront ({instance})</footer>
</body>
</html>
"""


class StockUnknownError(Exception):
    """Inventory gave no usable answer within the page's deadline."""


class InventoryClient:
    """Asks inventory for the stock of a product and gives up in time."""

    def __init__(self, session: aiohttp.ClientSession, address: str, rng: random.Random) -> None:
        self._session = session
        self._url = f"http://{address}/stock/"
        self._rng = rng

    async def stock(self, product: int) -> int:
        """Pieces in stock, or `StockUnknownError` at the deadline at the latest."""
        try:
            async with asyncio.timeout(PAGE_DEADLINE_S):
                try:
                    return await self._attempt(product)
                except WORTH_A_RETRY:
                    await asyncio.sleep(self._rng.uniform(*RETRY_PAUSE_S))
                    return await self._attempt(product)
        except (TimeoutError, aiohttp.ClientError, ValueError, KeyError, TypeError) as error:
            raise StockUnknownError(f"no stock of product {product}: {error!r}") from error

    async def _attempt(self, product: int) -> int:
        async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
            async with self._session.get(f"{self._url}{product}") as answer:
                answer.raise_for_status()
                return int((await answer.json())["stock"])


class Storefront:
    """Renders product pages."""

    def __init__(self, instance: str, inventory_address: str, seed: int) -> None:
        self._instance = instance
        self._inventory_address = inventory_address
        self._rng = random.Random(seed)
        self._inventory: InventoryClient

    def application(self) -> web.Application:
        """The routes of this service."""
        application = web.Application()
        application.cleanup_ctx.append(self._connect)
        application.router.add_get(r"/product/{product:\d{1,9}}", self.product)
        application.router.add_post(r"/product/{product:\d{1,9}}", self.product)  # a review of it
        application.router.add_get("/health", self.health)
        return application

    async def product(self, request: web.Request) -> web.Response:
        """The page of one product: 200 with its stock, or 503 when that stays unknown."""
        product = int(request.match_info["product"])
        try:
            pieces = await self._inventory.stock(product)
        except StockUnknownError:
            return web.Response(
                status=503,
                text="The stock of this product is not known right now. Please try again.\n",
                headers={"Retry-After": "1"},
            )
        return web.Response(text=self._page(product, pieces), content_type="text/html")

    async def health(self, _: web.Request) -> web.Response:
        """Alive, whatever inventory does."""
        return web.json_response({"status": "ok", "instance": self._instance})

    async def _connect(self, _: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=POOL_SIZE),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),  # ours bounds the wait for the pool as well
        ) as session:
            # aiohttp sends a GET again by itself when a kept connection turns out dead: the one
            # retry would be two. There is no public switch.
            session._retry_connection = False
            self._inventory = InventoryClient(session, self._inventory_address, self._rng)
            yield

    def _page(self, product: int, pieces: int) -> str:
        material, thing = MATERIALS[product % len(MATERIALS)], THINGS[product % len(THINGS)]
        return PAGE.format(
            title=f"{material.capitalize()} {thing} no. {product}",
            price=9.9 + product * 37 % 240,
            stock=f"{pieces} in stock" if pieces else "sold out",
            product=product,
            instance=self._instance,
        )


async def serve(application: web.Application, arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM, SIGINT or, if asked for, the end of stdin."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if arguments.exit_with_stdin:
        threading.Thread(target=_await_end_of_stdin, args=(loop, stop), daemon=True).start()
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, arguments.host, arguments.port).start()
        address = f"http://{arguments.host}:{runner.addresses[0][1]}"
        print(f"storefront {arguments.name} listening on {address}", flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()


def _await_end_of_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    # A thread, because epoll refuses /dev/null and files; os.read, because a buffered
    # reader would hold a lock that the interpreter wants when it leaves.
    with suppress(OSError):
        while os.read(0, 4096):
            pass
    with suppress(RuntimeError):  # the loop is closed: we are leaving already
        loop.call_soon_threadsafe(stop.set)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="The sample storefront.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free one")
    parser.add_argument("--inventory", required=True, metavar="HOST:PORT")
    parser.add_argument("--seed", type=int, default=0, help="for the pauses before retries")
    parser.add_argument("--name", choices=("control", "canary"), default="control")
    parser.add_argument("--exit-with-stdin", action="store_true", help="leave when stdin ends")
    arguments = parser.parse_args()
    storefront = Storefront(arguments.name, arguments.inventory, arguments.seed)
    try:
        asyncio.run(serve(storefront.application(), arguments))
    except OSError as error:
        sys.exit(f"storefront: cannot serve on {arguments.host}:{arguments.port}: {error}")


if __name__ == "__main__":
    main()
