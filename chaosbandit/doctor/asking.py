"""How checks ask: one HTTP request with its times, a child process, blocking work with a deadline.

Nothing here can outlast its deadline, so that an examination always ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import ssl
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import httpx

from chaosbandit.errors import HarnessError

T = TypeVar("T")

START_S = 8.0
STOP_S = 2.0
_BODY_LIMIT_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer and when it was asked for and begun, by this machine's clock."""

    status: int
    text: str
    date_epoch_s: float | None  # what the server's own clock said, in whole seconds
    asked_epoch_s: float
    answered_epoch_s: float


async def ask(url: str, within_s: float, headers: Mapping[str, str] | None = None) -> Answer:
    """One GET, with no proxies of the environment and no redirects followed.

    Raises:
        TimeoutError, httpx.HTTPError: no whole answer.
    """
    verify = ssl.create_default_context() if url.startswith("https:") else _no_tls()
    async with asyncio.timeout(within_s):
        async with httpx.AsyncClient(trust_env=False, timeout=within_s, verify=verify) as http:
            asked_s = time.time()
            async with http.stream("GET", url, headers=dict(headers or {})) as response:
                answered_s = time.time()
                body = b""
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) >= _BODY_LIMIT_BYTES:
                        break
    date_s = _epoch_s(response.headers.get("Date"))
    text = body.decode(errors="replace")
    return Answer(response.status_code, text, date_s, asked_s, answered_s)


async def in_thread(work: Callable[[], T], within_s: float) -> T:
    """Blocking work in a daemon thread of its own: what hangs there does not hold the process.

    Raises:
        TimeoutError: it did not end in time.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # None only where T allows it

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, daemon=True, name="doctor").start()
    async with asyncio.timeout(within_s):
        return await done


@asynccontextmanager
async def child_server(module: str, *arguments: str) -> AsyncIterator[str]:
    """A module of ours as a server process that says its URL; it ends with us or before.

    Raises:
        HarnessError: it did not say where it listens in time.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        try:
            async with asyncio.timeout(START_S):
                line = (await process.stdout.readline()).decode(errors="replace")
        except TimeoutError:
            line = ""
        if "http://" not in line:
            raise HarnessError(
                f"no answer of {module} as a child process",
                wanted=f"its address within {START_S:g} s",
                do=f"see whether `{sys.executable} -m {module}` starts by hand",
            )
        yield line.split()[-1]
    finally:
        await _ended(process)


async def _ended(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()


def _epoch_s(date: str | None) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, OverflowError, TypeError, IndexError, RecursionError):  # no date at all
        return None


def _no_tls() -> ssl.SSLContext:
    """For plain HTTP; loading certificates would cost 20 ms."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
