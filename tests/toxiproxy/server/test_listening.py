"""Addresses as texts in, resolved addresses or Go's complaints out."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from chaosbandit.toxiproxy.server.listening import (
    EVERYWHERE,
    Address,
    AddressError,
    bound_address,
    listening_socket,
    resolve,
    split_address,
)
from tests.without_descriptors import starved


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("localhost:80", "127.0.0.1:80"),
        ("[::1]:80", "[::1]:80"),
        ("127.0.0.1:http", "127.0.0.1:80"),
        ("127.0.0.1:HTTP-Alt", "127.0.0.1:8080"),
        ("127.0.0.1:", "127.0.0.1:0"),
        ("127.0.0.1:-", "127.0.0.1:0"),
        ("127.0.0.1:-0", "127.0.0.1:0"),
        ("127.0.0.1:+00800", "127.0.0.1:800"),
        (":80", "127.0.0.1:80"),
        ("", "127.0.0.1:0"),
    ],
)
def test_resolves(text: str, resolved: str) -> None:
    assert resolved == str(asyncio.run(resolve(text)))


@pytest.mark.parametrize("text", [":80", "0.0.0.0:80", "[::]:80"])
def test_all_interfaces_are_one_address(text: str) -> None:
    assert str(asyncio.run(resolve(text, EVERYWHERE))) == "[::]:80"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "address nonsense: missing port in address"),
        ("[::1]", "address [::1]: missing port in address"),
        ("::1:80", "address ::1:80: too many colons in address"),
        ("127.0.0.1:65536", "address 65536: invalid port"),
        ("127.0.0.1:-1", "address -1: invalid port"),
        ("127.0.0.1:99999999999999999999", "address 99999999999999999999: invalid port"),
        ("127.0.0.1:2_2", "lookup tcp/2_2: unknown port"),
        ("127.0.0.1: 2", "lookup tcp/ 2: unknown port"),
        ("127.0.0.1:0x50", "lookup tcp/0x50: unknown port"),
        ("127.0.0.1:\u0661", "lookup tcp/\u0661: unknown port"),
        ("127.1:80", "lookup 127.1: no such host"),
        ("127.0.0.01:80", "lookup 127.0.0.01: no such host"),
        ("2130706433:80", "lookup 2130706433: no such host"),
        ("127.0.0.1:no-such-service", "lookup tcp/no-such-service: unknown port"),
        ("300.0.0.1.invalid:80", "lookup 300.0.0.1.invalid: no such host"),
        ("nul\0.invalid:80", "lookup nul\0.invalid: no such host"),
        (f"{'x' * 70}.invalid:80", f"lookup {'x' * 70}.invalid: no such host"),
    ],
)
def test_complains(text: str, message: str) -> None:
    with pytest.raises(AddressError) as raised:
        asyncio.run(resolve(text))
    assert message == str(raised.value)


def test_splits_hosts_in_brackets() -> None:
    assert split_address("[::1]:80") == ("::1", 80)


def test_binds_and_says_where() -> None:
    address = Address(socket.AF_INET, "127.0.0.1", 0)
    with contextlib.closing(listening_socket(address)) as sock:
        taken = bound_address(sock)
        assert taken.port > 0
        with pytest.raises(AddressError, match=f"^{taken}: bind: address already in use$"):
            listening_socket(taken)


WITHOUT_DESCRIPTORS = """
import socket
from chaosbandit.toxiproxy.server.listening import Address, AddressError, listening_socket, resolve

async def main():
    await asyncio.to_thread(int)  # what the loop needs itself
    use_up_descriptors()
    try:
        await resolve("localhost:80")
    except AddressError as error:
        print(error)
    try:
        listening_socket(Address(socket.AF_INET, "127.0.0.1", 0))
    except AddressError as error:
        print(error)

asyncio.run(main())
"""


def test_running_out_of_descriptors_is_said_to_be_that() -> None:
    ended = starved(WITHOUT_DESCRIPTORS)
    assert ended.stdout.splitlines() == [
        "lookup localhost: too many open files",
        "127.0.0.1:0: socket: too many open files",
    ], ended.stderr
