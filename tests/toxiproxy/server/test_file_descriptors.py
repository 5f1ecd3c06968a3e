"""A server that is short of descriptors: floods, what is answered meanwhile, and afterwards."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from chaosbandit.toxiproxy.server.file_descriptors import (
    OWN,
    Descriptors,
    limit_for,
    limit_now,
    raise_limit,
    reserve,
)
from tests.e2e.runs import soon

PATIENCE_S = 10.0
SOFT, HARD = 40, 120
CONNECTIONS = (HARD - reserve(HARD)) // 2 - 1  # the proxy's listener counts as one
WITH_LIMITS = f'ulimit -Sn {SOFT} && ulimit -Hn {HARD} && exec "$@"'


class ShortServer:
    """An embedded server of its own, with few descriptors, and a proxy to an echo server."""

    def __init__(self, process: subprocess.Popen[str], upstream: str) -> None:
        assert process.stdout is not None
        self.pid = process.pid
        place = urlsplit(process.stdout.readline().split()[-1])
        self.api = (str(place.hostname), place.port or 0)
        self.process = process
        status, answer = self.call("POST", "/proxies", {"name": "p", "upstream": upstream})
        assert status == 201
        host, port = answer["listen"].split(":")
        self.proxy = (host, int(port))

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and decoded body of one API call on a connection of its own."""
        caller = http.client.HTTPConnection(*self.api, timeout=PATIENCE_S)
        with contextlib.closing(caller):
            caller.request(method, path, json.dumps(body))
            response = caller.getresponse()
            text = response.read()
        return response.status, json.loads(text) if text else None

    def open_descriptors(self) -> int:
        return len([*Path(f"/proc/{self.pid}/fd").iterdir()])

    def processor_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """The address of a server that sends back what it gets, to as many as come."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    running = True

    def serve() -> None:
        clients: set[socket.socket] = set()
        while running:
            for sock in select.select([listener, *clients], [], [], 0.1)[0]:
                if sock is listener:
                    clients.add(listener.accept()[0])
                    continue
                data = b""
                with contextlib.suppress(OSError):
                    data = sock.recv(4096)
                    sock.sendall(data)
                if not data:
                    clients.discard(sock)
                    sock.close()
        for client in clients:
            client.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    running = False
    thread.join()
    listener.close()


@pytest.fixture
def short(upstream: str) -> Iterator[ShortServer]:
    command = [sys.executable, "-m", "chaosbandit.toxiproxy.server", "--port", "0"]
    with subprocess.Popen(
        ["sh", "-c", WITH_LIMITS, "sh", *command, "--exit-with-stdin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield ShortServer(process, upstream)
        assert process.communicate("", timeout=PATIENCE_S) == ("", "")


@contextlib.contextmanager
def flood(place: tuple[str, int], count: int) -> Iterator[list[socket.socket]]:
    """That many connections, all open."""
    with contextlib.ExitStack() as held:
        yield [
            held.enter_context(socket.create_connection(place, PATIENCE_S)) for _ in range(count)
        ]


def echoes(client: socket.socket, within_s: float = PATIENCE_S) -> bool:
    """Whether what is sent through a connection comes back."""
    client.settimeout(within_s)
    try:
        client.sendall(b"hello")
        return client.recv(5) == b"hello"
    except TimeoutError:
        return False


def test_it_takes_as_many_as_it_may(short: ShortServer) -> None:
    assert resource.prlimit(short.pid, resource.RLIMIT_NOFILE) == (HARD, HARD)


def test_a_flood_leaves_the_api_its_reserve(short: ShortServer) -> None:
    before = short.open_descriptors()
    assert short.call("GET", "/x/shortages") == (200, {"shortages": 0})
    with flood(short.proxy, 300) as clients:
        assert all(map(echoes, clients[:CONNECTIONS]))
        assert not echoes(clients[CONNECTIONS], 0.3)  # is waiting, not cut off
        assert short.call("GET", "/x/shortages")[1]["shortages"] > 0
        toxic = {"name": "t", "type": "latency", "attributes": {"latency": 1}}
        began_s = time.monotonic()
        for _ in range(20):
            assert short.call("GET", "/proxies")[0] == 200
            assert short.call("POST", "/proxies/p/toxics", toxic)[0] == 200
            assert short.call("DELETE", "/proxies/p/toxics/t")[0] == 204
        assert time.monotonic() - began_s < PATIENCE_S
        status, answer = short.call("POST", "/proxies", {"name": "q", "upstream": "127.0.0.1:1"})
        assert (status, answer["status"]) == (500, 500)
        assert answer["error"].endswith("socket: too many open files")
        assert short.open_descriptors() <= HARD - reserve(HARD) + OWN
        began_s, worked_s = time.monotonic(), short.processor_s()
        time.sleep(1.0)
        assert short.processor_s() - worked_s < 0.3 * (time.monotonic() - began_s)
        for client in clients[:CONNECTIONS]:
            client.close()
        assert echoes(clients[CONNECTIONS])  # has waited long enough
    assert soon(lambda: short.open_descriptors() <= before, PATIENCE_S)
    assert short.call("POST", "/proxies", {"name": "q", "upstream": "127.0.0.1:1"})[0] == 201
    with flood(short.proxy, CONNECTIONS - 1) as clients:
        assert all(map(echoes, clients))


def test_an_api_without_descriptors_says_so(short: ShortServer) -> None:
    served = Descriptors(HARD).api_connections
    before = short.open_descriptors()
    with flood(short.api, 3 * served), flood(short.proxy, 100) as clients:
        assert all(map(echoes, clients[:CONNECTIONS]))
        assert soon(lambda: short.open_descriptors() <= HARD - 2 * served, PATIENCE_S)
        told = {"error": "too many open files", "status": 500}
        assert short.call("GET", "/proxies") == (500, told)
        assert short.call("POST", "/proxies/p", {"enabled": False}) == (500, told)
    assert soon(lambda: short.open_descriptors() <= before, PATIENCE_S)
    assert short.call("GET", "/proxies")[0] == 200


def test_stopped_proxies_give_back_what_they_had(short: ShortServer) -> None:
    for _ in range(3):
        with flood(short.proxy, CONNECTIONS) as clients:
            assert echoes(clients[-1])
            assert short.call("POST", "/proxies/p", {"enabled": False})[0] == 200
            assert short.call("POST", "/proxies/p", {"enabled": True})[0] == 200
    with flood(short.proxy, CONNECTIONS) as clients:
        assert all(map(echoes, clients))


def test_what_is_given_back_twice_counts_once() -> None:
    descriptors = Descriptors(limit=8)
    assert [descriptors.take(name) for name in "abc"] == [True, True, False]
    descriptors.give("a")
    descriptors.give("a")
    assert [descriptors.take(name) for name in "cd"] == [True, False]


@pytest.mark.parametrize("holders", [1, 10, 80, 81, 500])
def test_the_limit_that_so_many_need(holders: int) -> None:
    enough, too_few = Descriptors(limit_for(holders)), Descriptors(limit_for(holders) - 1)
    assert [enough.take(number) for number in range(holders + 1)] == [True] * holders + [False]
    assert [too_few.take(number) for number in range(holders)] == [True] * (holders - 1) + [False]


def test_no_limit_is_none() -> None:
    descriptors = Descriptors()
    assert all(descriptors.take(number) for number in range(10_000))


def test_this_process_has_what_it_may_have() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        raise_limit()
        assert limit_now() == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_with_far_too_few_it_does_not_start() -> None:
    command = f"ulimit -n 63; exec {sys.executable} -m chaosbandit.toxiproxy.server --port 0"
    ended = subprocess.run(
        command, shell=True, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (6, "")
    assert "found a limit of 63, wanted at least 64; raise `ulimit -n`" in ended.stderr
