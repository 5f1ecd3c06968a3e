"""Dialling numbers, names, ports at which nobody listens, and a backlog that is full."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from chaosbandit.toxiproxy.server.dialling import begun, dialled, established
from chaosbandit.toxiproxy.server.listening import AddressError
from tests.operator_path import free_port


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def test_a_number_stands_at_once(listener: socket.socket) -> None:
    found = begun(f"127.0.0.1:{port_of(listener)}")
    assert found is not None
    with found[0] as sock:
        assert found[1]
        assert not sock.getblocking()
        with listener.accept()[0] as accepted:
            assert accepted.getpeername() == sock.getsockname()


@pytest.mark.parametrize("upstream", ["localhost:1", "", "nonsense", "[fe80::1%lo]:1", "127.1:1"])
def test_what_is_no_number_is_for_a_look_up(upstream: str) -> None:
    assert begun(upstream) is None


def test_a_number_at_which_nobody_listens() -> None:
    port = free_port()
    with pytest.raises(ConnectionRefusedError):
        begun(f"127.0.0.1:{port}")
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(dialled(f"localhost:{port}"))


def test_a_name(listener: socket.socket) -> None:
    """Of which one address may be of IPv6, where nobody listens."""
    with asyncio.run(dialled(f"localhost:{port_of(listener)}")) as sock:
        assert sock.getpeername()[1] == port_of(listener)


@pytest.mark.parametrize("upstream", ["", "nonsense"])
def test_what_is_no_address(upstream: str) -> None:
    with pytest.raises(AddressError):
        asyncio.run(dialled(upstream))


def test_one_that_takes_its_time_is_waited_for() -> None:
    """Its backlog is full until somebody accepts."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as listener,
        contextlib.ExitStack() as closed,
    ):
        found = None
        while found is None or found[1]:
            found = begun(f"127.0.0.1:{port_of(listener)}")
            assert found is not None
            closed.callback(found[0].close)
        waiting = found[0]

        async def run() -> None:
            task = asyncio.create_task(established(waiting))
            await asyncio.sleep(0.05)
            assert not task.done()
            closed.enter_context(listener.accept()[0])
            assert await asyncio.wait_for(task, 20.0) is waiting

        asyncio.run(run())
