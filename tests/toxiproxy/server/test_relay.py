"""What connections experience, on the embedded and on the real server alike.

The numbers are those observed on Toxiproxy 2.12. Lower bounds are tight, since nothing may come
early; upper bounds leave room for a busy machine.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time

import pytest

from tests.proxied import ProxiedPath, arrivals, received, silent

LATE_S = 0.25
"""How late a busy machine may be."""

EARLY_S = 0.001
"""Our clock starts after the proxy's, so a right time may look early by a little."""


def on_time(found_s: float, wanted_s: float) -> bool:
    return wanted_s - EARLY_S <= found_s <= wanted_s + LATE_S


# Connections.


def test_passes_bytes_both_ways(path: ProxiedPath) -> None:
    client, server = path.connect()
    data = bytes(range(256)) * 8000
    for source, sink in ((client, server), (server, client)):
        source.setblocking(False)
        sent, got = 0, b""
        while len(got) < len(data):
            if sent < len(data):
                with contextlib.suppress(BlockingIOError):
                    sent += source.send(data[sent : sent + 100_000])
            with contextlib.suppress(BlockingIOError):
                sink.setblocking(False)
                got += sink.recv(100_000)
        assert data == got


def test_dials_before_the_client_says_anything(path: ProxiedPath) -> None:
    client, server = path.connect()
    server.sendall(b"220 ready")
    assert received(client, 9)[1] == b"220 ready"


def test_a_refused_dial_closes_the_client(path: ProxiedPath) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = "{}:{}".format(*gone.getsockname())
    path.call("PATCH", "/proxies/p", {"upstream": address})
    path.address = path.call("GET", "/proxies/p")["listen"].split(":")
    assert path.knock().recv(1) == b""


@pytest.mark.parametrize("closer", ["client", "server"])
def test_the_end_of_one_direction_ends_both(path: ProxiedPath, closer: str) -> None:
    client, server = path.connect()
    near, far = (client, server) if closer == "client" else (server, client)
    near.sendall(b"last words")
    near.shutdown(socket.SHUT_WR)
    assert received(far, 11)[1] == b"last words"
    time.sleep(0.1)
    with contextlib.suppress(OSError):
        far.sendall(b"an answer nobody gets")
    assert near.recv(100) == b""


@pytest.mark.parametrize("closer", ["client", "server"])
def test_a_reset_becomes_an_ordinary_end(path: ProxiedPath, closer: str) -> None:
    client, server = path.connect()
    near, far = (client, server) if closer == "client" else (server, client)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    near.close()
    assert far.recv(1) == b""


def test_data_survives_the_sender_and_keeps_its_delay(path: ProxiedPath) -> None:
    path.add("latency", "upstream", latency=200)
    path.add("latency", "downstream", latency=1000, name="other")
    client, server = path.connect()
    since_s = time.monotonic()
    client.sendall(b"bye")
    client.close()
    (data_s, data), (end_s, end) = arrivals(server, since_s)
    assert (data, end) == (b"bye", b"")
    assert on_time(data_s, 0.2)
    assert on_time(end_s, 0.2)


def test_disabling_drops_connections_and_what_is_inside(path: ProxiedPath) -> None:
    path.add("latency", latency=60_000)
    client, server = path.connect()
    server.sendall(b"never seen")
    time.sleep(0.05)
    path.call("PATCH", "/proxies/p", {"enabled": False})
    assert client.recv(1) == b""
    assert server.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        path.knock()
    path.call("PATCH", "/proxies/p", {"enabled": True})
    assert silent(path.connect()[0], 0.05)


def test_a_new_upstream_drops_connections(path: ProxiedPath) -> None:
    client, _ = path.connect()
    path.call("PATCH", "/proxies/p", {"upstream": "127.0.0.1:1"})
    assert client.recv(1) == b""


# Toxicity and changes.


def test_toxicity_is_drawn_once_for_each_connection(path: ProxiedPath) -> None:
    path.add("limit_data", toxicity=0.5)
    lucky = 0
    for _ in range(60):
        client, server = path.connect()
        server.sendall(b"x")
        if client.recv(1) == b"x":
            lucky += 1
            for _ in range(5):
                server.sendall(b"y")
                assert client.recv(1) == b"y"
        client.close()
        server.close()
    assert 10 <= lucky <= 50  # 30 ± 5 standard deviations


def _held(connections: list[tuple[socket.socket, socket.socket]]) -> set[int]:
    """Send a byte down each connection and return the numbers of those that keep it."""
    for _, server in connections:
        server.sendall(b"x")
    time.sleep(0.2)
    return {number for number, (client, _) in enumerate(connections) if not _drained(client)}


def _drained(sock: socket.socket) -> bytes:
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        return sock.recv(100)
    return b""


def test_an_update_draws_anew_and_only_in_its_direction(path: ProxiedPath) -> None:
    path.add("latency", latency=60_000)
    path.add("noop", "upstream", name="other")
    connections = [path.connect() for _ in range(40)]
    assert len(_held(connections)) == 40
    path.update(toxicity=0.5)
    time.sleep(0.2)
    assert all(_drained(client) == b"x" for client, _ in connections)  # what was held is let go
    held = _held(connections)
    assert 4 <= len(held) <= 36  # 20 ± 5 standard deviations
    path.update("other", toxicity=0.5)
    path.add("noop", "upstream", name="another")
    assert held == _held(connections)
    path.update()
    time.sleep(0.2)
    for client, _ in connections:
        _drained(client)
    assert held != _held(connections)


def test_updated_latency_counts_from_when_bytes_were_read(path: ProxiedPath) -> None:
    path.add("latency", latency=400)
    client, server = path.connect()
    since_s = time.monotonic()
    for number in range(5):
        server.sendall(b"%d" % number)
        time.sleep(max(0.0, since_s + 0.04 * (number + 1) - time.monotonic()))
    path.update(latency=700)
    updated_s = time.monotonic() - since_s
    server.close()
    first, *rest, _ = arrivals(client, since_s)
    assert first[1] == b"0"  # the one being held leaves at the update
    assert updated_s - 0.05 <= first[0] < 0.4
    assert b"".join(data for _, data in rest) == b"1234"
    assert on_time(rest[0][0], 0.74)
    assert on_time(rest[-1][0], 0.86)


@pytest.mark.parametrize("change", ["remove", "add"])
def test_what_a_change_lets_go(path: ProxiedPath, change: str) -> None:
    path.add("latency", latency=500)
    client, server = path.connect()
    since_s = time.monotonic()
    for number in range(4):
        server.sendall(b"%d" % number)
        time.sleep(0.02)
    if change == "remove":
        path.remove()
    else:
        path.add("noop", name="after")
    server.close()
    found = arrivals(client, since_s)
    at_once = b"".join(data for at_s, data in found if at_s < 0.4)
    assert at_once == (b"0123" if change == "remove" else b"0")
    assert b"".join(data for _, data in found) == b"0123"


@pytest.mark.parametrize("toxicity", [1.0, 0.0])
def test_removing_a_timeout_closes_every_connection(path: ProxiedPath, toxicity: float) -> None:
    path.add("timeout", toxicity=toxicity)
    client, server = path.connect()
    path.remove()
    assert client.recv(1) == b""
    assert server.recv(1) == b""


# Toxics.


def test_latency_is_never_early(path: ProxiedPath) -> None:
    path.add("latency", latency=20)
    client, server = path.connect()
    for _ in range(20):
        server.sendall(b"x")
        assert on_time(received(client, 1)[0], 0.02)


def test_latency_with_jitter_stays_in_its_range(path: ProxiedPath) -> None:
    path.add("latency", latency=30, jitter=20)
    client, server = path.connect()
    found_s = []
    for _ in range(40):
        server.sendall(b"x")
        found_s.append(received(client, 1)[0])
    assert min(found_s) >= 0.010 - EARLY_S
    assert sorted(found_s)[10] < 0.05 + LATE_S
    assert max(found_s) - min(found_s) > 0.01


def test_latencies_add_up_and_chunks_overlap(path: ProxiedPath) -> None:
    path.add("latency", latency=100)
    path.add("latency", latency=100, name="second")
    client, server = path.connect()
    since_s = time.monotonic()
    for number in range(4):
        server.sendall(b"%d" % number)
        time.sleep(0.05)
    got = b""
    found_s = []
    while len(got) < 4:
        got += client.recv(100)
        found_s.append(time.monotonic() - since_s)
    assert got == b"0123"
    assert on_time(found_s[0], 0.2)
    assert on_time(found_s[-1], 0.3)  # what was spent queueing counts for the second latency


def test_latency_does_not_delay_the_end(path: ProxiedPath) -> None:
    path.add("latency", latency=1000)
    client, server = path.connect()
    since_s = time.monotonic()
    server.close()
    ((end_s, _),) = arrivals(client, since_s)
    assert end_s < 0.5


def test_bandwidth(path: ProxiedPath) -> None:
    path.add("bandwidth", rate=500)
    client, server = path.connect()
    server.sendall(bytes(200_000))
    found_s, data = received(client, 200_000)
    assert len(data) == 200_000
    assert on_time(found_s, 0.39)


def test_bandwidth_passes_in_steps_of_100_ms(path: ProxiedPath) -> None:
    path.add("bandwidth", rate=50)
    client, server = path.connect()
    since_s = time.monotonic()
    server.sendall(bytes(15_000))
    assert received(client, 5000)[1] == bytes(5000)
    assert on_time(time.monotonic() - since_s, 0.1)
    assert received(client, 10_000)[1] == bytes(10_000)
    assert on_time(time.monotonic() - since_s, 0.3)


def test_bandwidth_0_holds_until_it_is_more(path: ProxiedPath) -> None:
    path.add("bandwidth", rate=0)
    client, server = path.connect()
    server.sendall(b"x")
    assert silent(client, 0.2)
    path.update(rate=10)
    assert client.recv(1) == b"x"


def test_slow_close(path: ProxiedPath) -> None:
    path.add("slow_close", delay=200)
    client, server = path.connect()
    since_s = time.monotonic()
    server.sendall(b"x")
    server.close()
    (data_s, _), (end_s, _) = arrivals(client, since_s)
    assert data_s < 0.2
    assert on_time(end_s, 0.2)


def test_timeout_drops_data_and_counts_from_the_last_of_it(path: ProxiedPath) -> None:
    path.add("timeout", timeout=200)
    client, server = path.connect()
    since_s = time.monotonic()
    for _ in range(3):
        server.sendall(b"x")
        time.sleep(0.1)
    ((end_s, _),) = arrivals(client, since_s)
    assert on_time(end_s, 0.4)
    assert server.recv(1) == b""


def test_timeout_0_never_ends_but_passes_the_end(path: ProxiedPath) -> None:
    path.add("timeout", timeout=0)
    client, server = path.connect()
    server.sendall(b"x")
    assert silent(client, 0.2)
    server.close()
    assert client.recv(1) == b""


@pytest.mark.parametrize(("sent", "stays"), [(99, True), (100, False), (250, False)])
def test_limit_data(path: ProxiedPath, sent: int, stays: bool) -> None:
    path.add("limit_data", bytes=100)
    client, server = path.connect()
    assert silent(client, 0.05)
    server.sendall(bytes(sent))
    expected = min(sent, 100)
    assert len(received(client, expected)[1]) == expected
    assert silent(client, 0.1) == stays


def test_what_passed_the_limit_still_gets_its_latency(path: ProxiedPath) -> None:
    path.add("limit_data", bytes=50)
    path.add("latency", latency=200, name="later")
    client, server = path.connect()
    since_s = time.monotonic()
    server.sendall(bytes(60))
    (data_s, data), (end_s, _) = arrivals(client, since_s)
    assert len(data) == 50
    assert on_time(data_s, 0.2)
    assert on_time(end_s, 0.2)


def test_reset_peer_resets_both_ends(path: ProxiedPath) -> None:
    path.add("reset_peer", timeout=100)
    client, server = path.connect()
    assert silent(client, 0.2)
    since_s = time.monotonic()
    server.sendall(b"x")
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert on_time(time.monotonic() - since_s, 0.1)
    with pytest.raises(ConnectionResetError):
        server.recv(1)


def test_reset_peer_ends_older_connections_without_a_reset(path: ProxiedPath) -> None:
    client, server = path.connect()
    path.add("reset_peer", timeout=0)
    server.sendall(b"x")
    assert client.recv(1) == b""


def test_slicer_cuts_into_pieces(path: ProxiedPath) -> None:
    path.add("slicer", average_size=10, delay=20_000)
    client, server = path.connect()
    since_s = time.monotonic()
    server.sendall(bytes(range(100)))
    server.close()
    *found, (end_s, _) = arrivals(client, since_s)
    assert b"".join(data for _, data in found) == bytes(range(100))
    assert on_time(end_s, 0.32)
    assert {len(data) for _, data in found[:3]} <= {6, 7, 12, 13}
