"""The traffic that freezes a real Toxiproxy: 20 kB in pieces, and users who give up on it.

Twenty requests a second, whatever became of the earlier ones; each gives up after a second, half of
them abruptly. What these users see is the truth; nothing here asks the server.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.e2e import large_answers
from tests.servers import running_server
from tests.toxiproxy.doors import PROXY, Door, Echo, free_port

USERS_PER_S = 20.0
_LOOK_S = 0.3  # far below the dose


@dataclass(slots=True)
class Users:
    """They come through `listen` until told to stop."""

    listen: str
    failed_s: list[float] = field(default_factory=list)  # when requests began that failed
    _ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        asyncio.run(self._come())

    def stop(self) -> None:
        self._ended.set()

    async def _come(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            number, began_s = 0, time.monotonic()
            while not self._ended.is_set():
                tasks.create_task(self._one(number))
                number += 1
                await asyncio.sleep(began_s + number / USERS_PER_S - time.monotonic())

    async def _one(self, number: int) -> None:
        started_s = time.monotonic()
        host, _, port = self.listen.rpartition(":")
        if not await large_answers.fetch(host, int(port), abruptly=number % 2 == 0):
            self.failed_s.append(started_s)


def first_good_s(listen: str, within_s: float) -> float | None:
    """How long it takes from now until a request begins that is answered fast."""

    async def look() -> float | None:
        host, _, port = listen.rpartition(":")
        began_s = time.monotonic()
        while (now_s := time.monotonic()) < began_s + within_s:
            try:
                async with asyncio.timeout(_LOOK_S):
                    if await large_answers.fetch(host, int(port), abruptly=False):
                        return now_s - began_s
            except TimeoutError:
                continue
            await asyncio.sleep(0.005)
        return None

    return asyncio.run(look())


@contextmanager
def crowded() -> Iterator[Door]:
    """A real server, the operator's proxy to a service with large answers, and users on it."""
    command = [sys.executable, large_answers.__file__, "dependency"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as service:
        assert service.stdout is not None
        upstream = service.stdout.readline().split("http://")[-1].strip()
        with running_server("real") as url:
            path = Door(url, f"127.0.0.1:{free_port()}", _Elsewhere(upstream))
            place = {"name": PROXY, "listen": path.listen, "upstream": upstream}
            path.call("POST", "/proxies", place)
            users = Users(path.listen)
            thread = threading.Thread(target=users.run)
            thread.start()
            try:
                yield path
            finally:
                users.stop()
                thread.join()
        service.kill()


class _Elsewhere(Echo):
    """A service in another process."""

    def __init__(self, address: str) -> None:
        self._address = address

    @property
    def address(self) -> str:
        return self._address
