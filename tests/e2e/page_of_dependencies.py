"""A page that needs every one of its dependencies, each within a time-out of its own.

Run as `python page_of_dependencies.py --needs 127.0.0.1:9001=150 --needs 127.0.0.1:9002=60`, in
milliseconds: 200 when all answered in time, else 503. What one dependency bears has nothing to do
with the others.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Mapping

import aiohttp
from aiohttp import web


class Page:
    """Asks all dependencies at once."""

    def __init__(self, needs: Mapping[str, float]) -> None:
        self._needs = needs  # address -> longest wait in seconds
        self._session: aiohttp.ClientSession

    def application(self) -> web.Application:
        """The one route."""
        application = web.Application()
        application.cleanup_ctx.append(self._connect)
        application.router.add_get(r"/product/{product:\d{1,9}}", self.product)
        return application

    async def product(self, request: web.Request) -> web.Response:
        """200 when every dependency answered in time."""
        number = request.match_info["product"]
        asked = (self._asked(address, wait_s, number) for address, wait_s in self._needs.items())
        answered = all(await asyncio.gather(*asked))
        return web.Response(status=200 if answered else 503, text=f"product {number}\n")

    async def _asked(self, address: str, wait_s: float, number: str) -> bool:
        try:
            async with asyncio.timeout(wait_s):
                async with self._session.get(f"http://{address}/stock/{number}") as answer:
                    await answer.read()
                    return answer.status == 200
        except (TimeoutError, aiohttp.ClientError):
            return False

    async def _connect(self, _: web.Application) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=200)
        async with aiohttp.ClientSession(connector=connector) as self._session:
            yield


async def serve(needs: Mapping[str, float], port: int) -> None:
    """Serve until stdin ends."""
    runner = web.AppRunner(Page(needs).application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        sys.stdout.write(f"page listening on http://127.0.0.1:{runner.addresses[0][1]}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await runner.cleanup()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="A page that needs all of its dependencies.")
    parser.add_argument("--needs", action="append", required=True, metavar="HOST:PORT=MS")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--exit-with-stdin", action="store_true", help="as it always does")
    arguments = parser.parse_args()
    needs = {}
    for need in arguments.needs:
        address, _, wait_ms = need.partition("=")
        needs[address] = int(wait_ms) / 1000
    asyncio.run(serve(needs, arguments.port))


if __name__ == "__main__":
    main()
