"""Processor time of the embedded server beside the real Toxiproxy, through a proxy without toxics.

Both servers run the whole time and take turns, so that what else the machine does hurts both.
Figures are medians of the rounds; the ratio is that of each round. Exit code 1 when the embedded
server costs more than the real one in any of them.

    python benchmarks/server_cost.py --rounds 30
"""

from __future__ import annotations

import argparse
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

_ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_ROOT))
from chaosbandit.toxiproxy.calls import Calls
from tests.e2e.runs import listener
from tests.operator_path import echo_service
from tests.servers import Kind, running_server

KINDS: tuple[Kind, ...] = ("embedded", "real")
MESSAGE = b"x" * 100
CONNECTIONS, REQUESTS, BULK_MB = 800, 3000, 32
_MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Server:
    """A server with one proxy to the echo service, and one to a sink that only reads."""

    pid: int
    echo: tuple[str, int]
    sink: tuple[str, int]

    def cpu_s(self) -> float:
        """User and system time of the whole process so far: its clock, as Linux numbers it."""
        return time.clock_gettime((~self.pid << 3) | 2)


def new_connections(server: Server) -> int:
    """Each with one request and its answer, then closed; their number."""
    for _ in range(CONNECTIONS):
        with socket.create_connection(server.echo) as client:
            _ask(client)
    return CONNECTIONS


def kept_requests(server: Server) -> int:
    """One connection, one request after the other; their number."""
    with socket.create_connection(server.echo) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(REQUESTS):
            _ask(client)
    return REQUESTS


def bulk(server: Server) -> int:
    """Megabytes in one direction, until the last has arrived; their number."""
    with socket.create_connection(server.sink) as client:
        for _ in range(BULK_MB):
            client.sendall(bytes(_MB))
        assert client.recv(1) == b"."
    return BULK_MB


LOADS: tuple[tuple[str, str, Callable[[Server], int]], ...] = (
    ("new connections", "us a connection", new_connections),
    ("kept connection", "us a request", kept_requests),
    ("bulk", "us a MB", bulk),
)


def main() -> int:
    """Print the table; 1 when the embedded server costs more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    with ExitStack() as stack:
        echo, sink = stack.enter_context(echo_service()), stack.enter_context(_sink())
        servers = {kind: stack.enter_context(_proxying(kind, echo, sink)) for kind in KINDS}
        print(f"{'':16}  {'embedded':>9} {'real':>9}   ratio (least to most)")
        ratios = [
            _row(name, unit, load, servers, asked.rounds) for name, unit, load in LOADS
        ]  # fmt: skip
    return int(max(ratios) > 1.0)


def _row(
    name: str,
    unit: str,
    load: Callable[[Server], int],
    servers: dict[Kind, Server],
    rounds: int,
) -> float:
    """Print the costs under one load; the median ratio."""
    costs: dict[Kind, list[float]] = {kind: [] for kind in KINDS}
    for number in range(rounds + 1):
        for kind in KINDS if number % 2 else KINDS[::-1]:
            began_s = servers[kind].cpu_s()
            done = load(servers[kind])
            if number:  # the first one warms up
                costs[kind].append(1e6 * (servers[kind].cpu_s() - began_s) / done)
    embedded, real = costs["embedded"], costs["real"]
    ratios = [ours / theirs for ours, theirs in zip(embedded, real, strict=True)]
    print(
        f"{name:16}  {median(embedded):9.1f} {median(real):9.1f}   {median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f})  {unit}",
        flush=True,
    )
    return median(ratios)


def _ask(client: socket.socket) -> None:
    client.sendall(MESSAGE)
    left = len(MESSAGE)
    while left:
        more = len(client.recv(left))
        assert more, "the proxy closed the connection"
        left -= more


@contextmanager
def _proxying(kind: Kind, echo: str, sink: str) -> Iterator[Server]:
    with running_server(kind) as url, closing(Calls(url)) as calls:
        places = []
        for name, upstream in (("echo", echo), ("sink", sink)):
            wanted = {"name": name, "listen": "127.0.0.1:0", "upstream": upstream}
            host, port = calls.call("POST", "/proxies", wanted).record()["listen"].split(":")
            places.append((host, int(port)))
        yield Server(listener(url.removeprefix("http://")), *places)


@contextmanager
def _sink() -> Iterator[str]:
    """Reads the megabytes of a connection, then says so in one byte."""
    with socket.create_server(("127.0.0.1", 0)) as accepting:

        def drain() -> None:
            while True:
                try:
                    client, _ = accepting.accept()
                except OSError:
                    return
                with client:
                    left, buffer = BULK_MB * _MB, bytearray(_MB)
                    while left and (count := client.recv_into(buffer)):
                        left -= count
                    client.sendall(b".")

        thread = threading.Thread(target=drain, daemon=True)
        thread.start()
        host, port = accepting.getsockname()
        yield f"{host}:{port}"
        accepting.shutdown(socket.SHUT_RDWR)
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
