"""The sample inventory service: how many pieces of a product lie in which warehouse.

It is the dependency of the demo. Left alone it answers in a few milliseconds, now and then a
little later, as a service with a cache and a database behind it does. It knows nothing of its
callers, of proxies or of faults; whatever makes it slow stands in front of it.

Run it with `python inventory.py --port 9001`. It needs Python 3.11 and aiohttp.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import signal
import sys
import threading
from contextlib import suppress

from aiohttp import web

WAREHOUSES = ("north", "east", "south", "west", "harbour", "returns")
USUAL_SERVICE_TIME_S = 0.003
SERVICE_TIME_SPREAD = 0.35  # sigma of the log-normal: the slowest one in a hundred takes twice
CACHE_MISS_SHARE = 0.001
CACHE_MISS_COST_S = 0.008


class Inventory:
    """Answers stock questions and counts them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rng = random.Random(seed)
        self._requests = 0

    def application(self) -> web.Application:
        """The routes of this service."""
        application = web.Application()
        application.router.add_get(r"/stock/{product:\d{1,9}}", self.stock)
        application.router.add_get("/stats", self.stats)
        application.router.add_get("/health", self.health)
        return application

    async def stock(self, request: web.Request) -> web.Response:
        """The pieces of one product, by warehouse."""
        self._requests += 1
        product = int(request.match_info["product"])
        await asyncio.sleep(self._service_time_s())
        shelves = random.Random(f"{self._seed}/{product}")
        pieces = [max(0, shelves.randint(-8, 40)) for _ in WAREHOUSES]
        return web.json_response(
            {
                "product": product,
                "stock": sum(pieces),
                "warehouses": [
                    {"name": name, "pieces": count, "shelf": f"{name[0].upper()}{product % 97:02}"}
                    for name, count in zip(WAREHOUSES, pieces, strict=True)
                ],
            }
        )

    async def stats(self, _: web.Request) -> web.Response:
        """How many stock questions have arrived, answered or not."""
        return web.json_response({"requests": self._requests})

    async def health(self, _: web.Request) -> web.Response:
        """Alive."""
        return web.json_response({"status": "ok"})

    def _service_time_s(self) -> float:
        usual_s = self._rng.lognormvariate(math.log(USUAL_SERVICE_TIME_S), SERVICE_TIME_SPREAD)
        missed = self._rng.random() < CACHE_MISS_SHARE
        return usual_s + (CACHE_MISS_COST_S if missed else 0.0)


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
        port = runner.addresses[0][1]
        print(f"inventory listening on http://{arguments.host}:{port}", flush=True)
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
    parser = argparse.ArgumentParser(description="The sample inventory service.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free one")
    parser.add_argument("--seed", type=int, default=0, help="for stock and service times")
    parser.add_argument("--exit-with-stdin", action="store_true", help="leave when stdin ends")
    arguments = parser.parse_args()
    try:
        asyncio.run(serve(Inventory(arguments.seed).application(), arguments))
    except OSError as error:
        sys.exit(f"inventory: cannot serve on {arguments.host}:{arguments.port}: {error}")


if __name__ == "__main__":
    main()
