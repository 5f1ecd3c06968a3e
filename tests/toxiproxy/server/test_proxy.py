"""Where the embedded server is better than the real one on purpose: it cannot freeze or crash,
and its draws can be repeated."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.proxied import PATIENCE_S, ProxiedPath, received
from tests.servers import running_server

PROMPT_S = 1.0


@contextlib.contextmanager
def embedded(*arguments: str) -> Iterator[ProxiedPath]:
    with (
        running_server("embedded", *arguments) as url,
        socket.create_server(("127.0.0.1", 0), backlog=256) as upstream,
    ):
        upstream.settimeout(PATIENCE_S)
        with contextlib.closing(ProxiedPath(url, upstream)) as path:
            yield path


@pytest.fixture
def own_path() -> Iterator[ProxiedPath]:
    with embedded("--seed", "7") as path:
        yield path


def _add(path: ProxiedPath, name: str, type_: str, attributes: dict[str, int]) -> None:
    body = {"name": name, "type": type_, "attributes": attributes}
    path.call("POST", "/proxies/p/toxics", body)


def _clog(server: socket.socket) -> int:
    """Send until nothing moves any more, to a client that does not read; return how much went."""
    server.setblocking(False)
    sent = stuck = 0
    while stuck < 5:
        try:
            sent += server.send(bytes(1_000_000))
            stuck = 0
        except BlockingIOError:
            stuck += 1
            time.sleep(0.02)
    return sent


@pytest.mark.parametrize(
    ("type_", "attributes"),
    [("latency", {"latency": 1}), ("bandwidth", {"rate": 1}), ("slicer", {"average_size": 10})],
)
def test_a_client_that_does_not_read_cannot_freeze_the_api(
    own_path: ProxiedPath, type_: str, attributes: dict[str, int]
) -> None:
    _add(own_path, "first", type_, attributes)
    client, server = own_path.connect()
    _clog(server)
    since_s = time.monotonic()
    own_path.add("latency", name="second", latency=1)
    own_path.update("first")
    own_path.remove("first")
    own_path.remove("second")
    assert own_path.call("GET", "/proxies")["p"]["toxics"] == []
    assert time.monotonic() - since_s < PROMPT_S
    assert client.recv(1) == b"\0"


@pytest.mark.parametrize("chain", [[], ["noop"], ["noop", "slow_close"]])
def test_a_client_that_does_not_read_holds_the_server_back(
    own_path: ProxiedPath, chain: list[str]
) -> None:
    for type_ in chain:
        own_path.add(type_, name=type_)
    client, server = own_path.connect()
    sent = _clog(server)
    assert sent < 50_000_000  # the buffers of two connections, not all there is
    server.close()
    assert received(client, sent + 1)[1] == bytes(sent)


def test_hanging_dials_hold_nobody_up(own_path: ProxiedPath) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        place = full.getsockname()
        with contextlib.ExitStack() as waiting:
            for _ in range(4):  # fill its backlog, so that further dials hang
                sock = waiting.enter_context(socket.socket())
                sock.setblocking(False)
                sock.connect_ex(place)
            proxy = own_path.call("GET", "/proxies/p")
            body = {"listen": proxy["listen"], "upstream": f"{place[0]}:{place[1]}"}
            own_path.call("PATCH", "/proxies/p", body)
            stuck = [own_path.knock() for _ in range(3)]
            since_s = time.monotonic()
            own_path.add("latency", latency=1)
            own_path.call("PATCH", "/proxies/p", {"upstream": proxy["upstream"]})
            assert all(client.recv(1) == b"" for client in stuck)
            assert time.monotonic() - since_s < PROMPT_S
    own_path.connect()


@pytest.mark.parametrize(
    ("type_", "attributes"),
    [
        ("slicer", {}),
        ("slicer", {"average_size": -1, "size_variation": -1, "delay": -1}),
        ("slicer", {"average_size": 1, "size_variation": 10}),
        ("bandwidth", {"rate": -1}),
        ("latency", {"jitter": 2**62}),
        ("latency", {"latency": 2**63 - 1, "jitter": 2**63 - 1}),
        ("timeout", {"timeout": 2**63 - 1}),
        ("slow_close", {"delay": 2**63 - 1}),
        ("limit_data", {"bytes": -(2**63)}),
    ],
)
def test_no_attribute_crashes_it(
    own_path: ProxiedPath, type_: str, attributes: dict[str, int]
) -> None:
    _add(own_path, "t", type_, attributes)
    client, server = own_path.connect()
    server.sendall(bytes(100))
    time.sleep(0.05)
    own_path.update()
    own_path.remove()
    client.close()
    assert own_path.call("GET", "/version") == {"version": "2.12.0"}


def _lucky(path: ProxiedPath) -> list[bool]:
    path.add("limit_data", toxicity=0.5)
    drawn = []
    for _ in range(30):
        client, server = path.connect()
        server.sendall(b"x")
        drawn.append(client.recv(1) == b"")
        client.close()
        server.close()
    return drawn


def test_the_seed_decides_whom_toxics_hit() -> None:
    found = []
    for seed in ("7", "7", "8"):
        with embedded("--seed", seed) as path:
            found.append(_lucky(path))
    assert found[0] == found[1] != found[2]
    assert {True, False} == set(found[0])


def test_reset_peer_spares_connections_it_was_not_drawn_for(own_path: ProxiedPath) -> None:
    own_path.add("reset_peer", toxicity=0)
    client, server = own_path.connect()
    server.sendall(b"x")
    server.close()
    assert received(client, 2)[1] == b"x"


def test_removing_a_waiting_reset_peer_does_not_wait(own_path: ProxiedPath) -> None:
    own_path.add("reset_peer", timeout=30_000)
    client, server = own_path.connect()
    server.sendall(b"x")
    time.sleep(0.05)
    since_s = time.monotonic()
    own_path.remove()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert time.monotonic() - since_s < PROMPT_S


def test_many_clients_at_once(own_path: ProxiedPath) -> None:
    own_path.add("latency", latency=20)
    pairs = [own_path.connect() for _ in range(100)]
    threads = [threading.Thread(target=server.sendall, args=(b"hello",)) for _, server in pairs]
    for thread in threads:
        thread.start()
    assert all(received(client, 5)[1] == b"hello" for client, _ in pairs)
    for thread in threads:
        thread.join()
