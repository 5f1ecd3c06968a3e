"""Which texts mean one address, and what accepts connections."""

from __future__ import annotations

import socket

import pytest

from chaosbandit.faults.addresses import (
    accepts,
    host_of,
    is_known,
    is_loopback,
    is_one_place,
    parts,
    place,
    same_address,
    same_server,
)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("127.0.0.1:1", "127.0.0.1:1", True),
        ("localhost:1", "127.0.0.1:1", True),
        ("LocalHost:1", "127.0.0.1:1", True),
        (":1", "[::]:1", True),
        ("0.0.0.0:1", ":1", True),
        ("[::1]:1", "[0:0:0:0:0:0:0:1]:1", True),
        ("db.invalid:1", "db.invalid:1", True),  # unknown, but written the same
        ("127.0.0.1:1", "127.0.0.1:2", False),
        ("127.0.0.1:1", "127.0.0.2:1", False),
        ("127.0.0.1:1", ":1", False),
        ("db.invalid:1", "other.invalid:1", False),
        ("[::1]:1", "127.0.0.1:1", False),
    ],
)
def test_same_address(one: str, other: str, same: bool) -> None:
    assert same_address(one, other) is same
    assert same_address(other, one) is same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://127.0.0.1:8474", "http://localhost:8474/", True),
        ("http://127.0.0.1", "http://127.0.0.1:80", True),
        ("http://[::1]:8474", "http://[0::1]:8474", True),
        ("http://127.0.0.1:8474/a", "http://127.0.0.1:8474/b", False),
        ("http://127.0.0.1:8474", "http://127.0.0.1:8475", False),
        ("http://h:port", "http://h:port", True),
        ("http://h:port", "http://h:1", False),
    ],
)
def test_same_server(one: str, other: str, same: bool) -> None:
    assert same_server(one, other) is same


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("localhost:1", "localhost:1"),
        ("127.0.0.1:1", "localhost:1"),
        ("[::1]:1", "localhost:1"),
        (":1", "*:1"),
        ("10.0.0.1:1", "10.0.0.1:1"),
    ],
)
def test_place(address: str, wanted: str) -> None:
    assert place(address) == wanted


def test_parts_hosts_and_ports() -> None:
    assert parts("[FE80::1]:5") == ("fe80::1", "5")
    assert (is_one_place("h:0"), is_one_place("h:1")) == (False, True)
    assert (host_of("http://[::1]:1/x"), host_of("nonsense")) == ("::1", "")
    assert [is_loopback(h) for h in ("localhost", "127.3.2.1", "::1", "10.0.0.1", "x")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert (is_known("127.0.0.1"), is_known("[::1]"), is_known("no-such-host.invalid")) == (
        True,
        True,
        False,
    )


def test_accepts() -> None:
    near = "http://127.0.0.1:8474"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert accepts(f"127.0.0.1:{port}", near) is True
        assert accepts(f"localhost:{port}", near) is True
        assert accepts(f":{port}", near) is True
        assert accepts(f"127.0.0.1:{port}", "http://10.0.0.1:8474") is None  # another's loopback
    assert accepts(f"127.0.0.1:{port}", near) is False


@pytest.mark.parametrize("listen", ["127.0.0.1:99999", "no-such-host.invalid:1"])
def test_what_cannot_accept_does_not(listen: str) -> None:
    assert accepts(listen, "http://127.0.0.1:8474") is False


def test_what_names_no_port_cannot_be_seen() -> None:
    assert accepts("nonsense", "http://127.0.0.1:8474") is None
