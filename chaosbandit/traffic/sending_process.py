"""The prober's own process: sends what it is handed at the times it is told, and says what came.

    run --slots, up to `LEAD_S` ahead--> pacer --due--> flight --sample--> batch --each 10 ms--> run

One JSON object a line over one socket, both ways: even the target, with its secrets, comes that
way, so that no command line shows it. The end of that socket is the end of this process, at once,
so it cannot outlive the run. It leads a session of its own: Ctrl-C at the terminal reaches the run,
which still needs it to look at the path. Times are `time.monotonic()`, which on Linux and macOS is
one clock for all processes of a machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from chaosbandit.core.model import Route, Sample
from chaosbandit.core.scenario import Traffic
from chaosbandit.errors import ChaosbanditError, TargetError
from chaosbandit.traffic.clock import SystemClock
from chaosbandit.traffic.request_sender import Sender

FLUSH_S = 0.01  # longest that a sample waits here for others to travel with
LINE_LIMIT_BYTES = 2**24


class SendingProcess:
    """One stream at a time; `tell` takes what is to be said to the run."""

    def __init__(self, sender: Sender, writer: asyncio.StreamWriter) -> None:
        self._sender = sender
        self._writer = writer
        self._number = 0  # of the stream
        self._due: deque[tuple[int, str, float]] = deque()
        self._more = asyncio.Event()
        self._flights: set[asyncio.Task[None]] = set()
        self._done: list[Sample] = []
        self._began = (0.0, 0.0)

    async def hear(self, message: Mapping[str, Any]) -> None:
        """Carry out one message of the run."""
        match message["do"]:
            case "slots":
                self._due.extend(message["slots"])
                self._more.set()
            case "aim":
                await self._abandon()
                self._number = message["stream"]
                self._began = time.monotonic(), time.process_time()
                self._sender.look_at(message["proxy"])
                await self._sender.aim({Route(key): to for key, to in message["via"].items()})
                self._tell({"said": "aimed"})
            case "abandon":
                await self._abandon()
                self._tell({"said": "abandoned"})

    async def pace(self) -> None:
        """Release each request when it is due, for ever."""
        while True:
            await self._more.wait()
            while self._due:
                early_s = self._due[0][2] - time.monotonic()
                if early_s > 0:
                    await asyncio.sleep(early_s)
                    continue
                flight = asyncio.create_task(self._fly(*self._due.popleft()))
                self._flights.add(flight)
                flight.add_done_callback(self._flights.discard)
            self._more.clear()

    async def _fly(self, seq: int, route: str, intended_s: float) -> None:
        sample = await self._sender.send(seq, Route(route), intended_s)
        self._done.append(sample)
        if len(self._done) == 1:
            asyncio.get_running_loop().call_later(FLUSH_S, self._flush)

    def _flush(self) -> None:
        if not self._done:
            return
        wall_s, used_s = time.monotonic() - self._began[0], time.process_time() - self._began[1]
        samples = [sample_to_json(sample) for sample in self._done]
        self._done.clear()
        self._tell(
            {"said": "done", "stream": self._number, "samples": samples, "cpu": used_s / wall_s}
        )

    async def _abandon(self) -> None:
        """Send nothing more of a stream, and forget what is in flight."""
        self._due.clear()
        flights = list(self._flights)
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        self._done.clear()

    def _tell(self, message: Mapping[str, Any]) -> None:
        tell(self._writer, message)


def tell(writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
    """Say one thing to the other end; never waits."""
    writer.write(json.dumps(message).encode() + b"\n")


def sample_to_json(sample: Sample) -> list[Any]:
    """All of a sample that this process knows; floats survive to the last bit."""
    return [
        sample.seq, sample.route, sample.intended_s, sample.started_s, sample.latency_s,
        sample.outcome, sample.status, sample.why,
    ]  # fmt: skip


async def serve(descriptor: int) -> None:
    """Open what the first line says, then send until the run's end of the socket is closed."""
    ours = socket.socket(fileno=descriptor)
    reader, writer = await asyncio.open_unix_connection(sock=ours, limit=LINE_LIMIT_BYTES)
    try:
        asked = json.loads(await reader.readline())
        async with Sender(
            Traffic(**asked["traffic"]), asked["checks"], SystemClock(), asked["check_timeout_s"]
        ) as sender:
            process = SendingProcess(sender, writer)
            tell(writer, {"said": "ready"})
            async with asyncio.TaskGroup() as group:
                group.create_task(process.pace())
                while line := await reader.readline():
                    await process.hear(json.loads(line))
                os._exit(0)
    except ChaosbanditError as error:
        target = isinstance(error, TargetError)
        tell(writer, {"said": "failed", "target": target, "why": str(error)})
    except Exception as error:
        tell(writer, {"said": "failed", "target": False, "why": repr(error)})
    await writer.drain()
    writer.close()
    await writer.wait_closed()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
