"""`toxiproxy serve`."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.e2e.runs import Command, chaosbandit, proxies, soon

READY = "toxiproxy listening on http://127.0.0.1:"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end(number: signal.Signals, tmp_path: Path) -> None:
    with Command(tmp_path, "toxiproxy", "serve", "--port", 0) as server:
        assert soon(lambda: server.out.startswith(READY), 20.0)
        assert proxies(server.out.split()[-1]) == {}
        server.send(number)
        ended = server.ended(10.0).told(0)
    assert (ended.out.count("\n"), ended.err) == (1, "")


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = chaosbandit(tmp_path, "toxiproxy", "serve", "--port", port).told(6)
    assert ended.out == ""
    assert f"cannot listen on 127.0.0.1:{port}" in ended.err
    assert "choose another port (0 takes any free one)" in ended.err


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    ended = chaosbandit(tmp_path, "toxiproxy", "serve", "--host", "192.0.2.1").told(6)
    assert "cannot listen on 192.0.2.1:8474" in ended.err
