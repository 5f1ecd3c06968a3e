"""How many connections an address has, as the kernel tells."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from chaosbandit.toxiproxy import connection_count
from chaosbandit.toxiproxy.connection_count import connections_to

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's table is Linux'")
NEAR = "http://127.0.0.1:8474"


@pytest.fixture
def tables_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that answers no question for one port."""

    def refused(family: int, port: int) -> int:
        raise OSError("not here")

    monkeypatch.setattr(connection_count, "_asked", refused)


@pytest.mark.parametrize("way", ["asked", "listed"])
@pytest.mark.parametrize(
    ("family", "host", "listen"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1:{}"),
        (socket.AF_INET6, "::1", "[::1]:{}"),
        (socket.AF_INET6, "::1", ":{}"),
    ],
)
def test_connections_are_counted_once_and_until_they_end(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    family: socket.AddressFamily,
    host: str,
    listen: str,
    way: str,
) -> None:
    if way == "listed":
        request.getfixturevalue("tables_only")
    else:
        monkeypatch.setattr(connection_count, "_TABLES", ())  # so that nothing else can answer
    with ExitStack() as stack, socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        address = listen.format(port)
        assert connections_to(address, NEAR) == 0
        ends = []
        for _ in range(3):
            ends.append(stack.enter_context(socket.create_connection((host, port))))
            ends.append(stack.enter_context(server.accept()[0]))
        assert connections_to(address, NEAR) == 3
        for end in ends[:2]:
            end.close()
        assert connections_to(address, NEAR) == 2


@pytest.mark.parametrize(
    ("listen", "server"),
    [("127.0.0.1:1", "http://10.0.0.1:8474"), ("nonsense", NEAR), ("h:http", NEAR)],
)
def test_what_cannot_be_seen_from_here_is_not_counted(listen: str, server: str) -> None:
    assert connections_to(listen, server) is None


@pytest.mark.usefixtures("tables_only")
def test_a_table_of_another_shape_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "tcp"
    table.write_text("heading\nx a:0001\n")
    monkeypatch.setattr(connection_count, "_TABLES", (table,))
    assert connections_to("127.0.0.1:1", NEAR) is None


@pytest.mark.usefixtures("tables_only")
def test_no_table_at_all_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_count, "_TABLES", (tmp_path / "missing",))
    assert connections_to("127.0.0.1:1", NEAR) is None
