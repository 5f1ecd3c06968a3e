"""The run's end of one sending process: starting it, talking to it, and knowing that it lives.

It knows nothing of feeds and rates.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from chaosbandit.core.model import Route
from chaosbandit.core.scenario import Traffic
from chaosbandit.errors import HarnessError, TargetError
from chaosbandit.traffic.sending_process import LINE_LIMIT_BYTES, tell

START_S = 15.0
STOP_S = 2.0
_MODULE = "chaosbandit.traffic.sending_process"

Slot = tuple[int, str, float]  # seq, route, intended_s
Hear = Callable[[Mapping[str, Any] | HarnessError], None]
"""Told what was sent (`samples` of a `stream`), or why nothing more will be."""


class SendingProcessLink:
    """A started process; `hear` is called from the event loop."""

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._answer: asyncio.Future[str] | None = None
        self._lost: HarnessError | None = None
        self._reading: asyncio.Task[None] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    async def start(
        self, traffic: Traffic, checks: Mapping[str, str], check_timeout_s: float | None
    ) -> None:
        """Return when it is ready to send.

        Raises:
            TargetError: a URL that cannot be requested.
            HarnessError: it did not start.
        """
        self._process, ours = _started()
        reader, self._writer = await asyncio.open_unix_connection(sock=ours, limit=LINE_LIMIT_BYTES)
        self._reading = asyncio.create_task(self._read(reader))
        asked = {
            "traffic": {**asdict(traffic), "headers": dict(traffic.headers)},
            "checks": dict(checks),
            "check_timeout_s": check_timeout_s,
        }
        await self._ask(asked, START_S)

    async def aim(self, stream: int, proxy: str | None, via: Mapping[Route, str]) -> None:
        """A stream begins: connections go where it says.

        Raises:
            HarnessError: the process does not answer.
        """
        await self._ask({"do": "aim", "stream": stream, "proxy": proxy, "via": dict(via)}, START_S)

    def send(self, slots: Sequence[Slot]) -> None:
        """Hand over what is due soon; never waits."""
        tell(self._writer, {"do": "slots", "slots": slots})

    async def abandon(self) -> None:
        """Nothing more of a stream goes out, and what is in flight is given up; never raises."""
        with contextlib.suppress(HarnessError):
            await self._ask({"do": "abandon"}, START_S)

    async def close(self) -> None:
        """End the process; waits until it is gone."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
            self._writer.close()
        if self._process is not None:
            await asyncio.shield(asyncio.to_thread(_ended, self._process))

    async def _ask(self, message: Mapping[str, Any], within_s: float) -> None:
        if self._lost is not None:
            raise self._lost
        answer = self._answer = asyncio.get_running_loop().create_future()
        tell(self._writer, message)
        try:
            async with asyncio.timeout(within_s):
                await answer
        except TimeoutError:
            raise self._broken(f"silent for {within_s:g} s") from None
        finally:
            self._answer = None

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Pass on what it says, until it says nothing more."""
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                message = json.loads(line)
                match message["said"]:
                    case "done":
                        self._hear(message)
                    case "failed":
                        kind = TargetError if message["target"] else HarnessError
                        self._lose(kind(message["why"]))
                        return
                    case _ if self._answer is not None and not self._answer.done():
                        self._answer.set_result(message["said"])
        assert self._process is not None
        self._lose(self._broken(_how(await asyncio.to_thread(_ended, self._process))))

    def _lose(self, error: HarnessError) -> None:
        self._lost = error
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self._hear(error)

    def _broken(self, how: str) -> HarnessError:
        pid = self._process.pid if self._process is not None else 0
        return HarnessError(
            f"found the prober's own process {pid} {how}, wanted it to send requests until the run "
            "is over; see who ends or starves processes here (a limit of memory, an operator), "
            "then run again"
        )


def _started() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The process, and our end of its socket."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            return subprocess.Popen(
                [sys.executable, "-m", _MODULE, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            ), ours
        except OSError as error:
            ours.close()
            raise HarnessError(
                f"found no prober process: {sys.executable!r} did not start ({error}), wanted it "
                "to send requests; run `chaosbandit doctor`, or lower traffic.rate"
            ) from error


def _ended(process: subprocess.Popen[bytes]) -> int:
    """How it ended; one that does not is killed."""
    try:
        return process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _how(code: int) -> str:
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
