"""Hosts as texts in, yes or no out; `test_http` asks a server."""

from __future__ import annotations

import pytest

from chaosbandit.toxiproxy.server.hosts import is_loopback, is_of_this_machine, refusal


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8474",
        "127.8.9.10:8474",
        "[::1]",
        "[::1]:8474",
        "localhost",
        "LOCALHOST:8474",
        "localhost.:8474",
        "api.localhost:8474",
        "Own-Name:8474",
    ],
)
def test_answers_to(host: str) -> None:
    assert is_of_this_machine(host, "own-name")


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":8474",
        "evil.example",
        "evil.example:8474",
        "localhost.evil.example",
        "evillocalhost",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "10.0.0.1:8474",
        "0.0.0.0:8474",
        "[::2]:8474",
        "2130706433",
        "127.1",
    ],
)
def test_does_not_answer_to(host: str) -> None:
    assert not is_of_this_machine(host, "127.0.0.1")


def test_addresses_of_this_machine_alone() -> None:
    addresses = ["127.0.0.1", "127.255.0.1", "::1", "0.0.0.0", "::", "192.0.2.1", "localhost"]
    assert [is_loopback(address) for address in addresses] == [True] * 3 + [False] * 4


def test_a_refusal_says_what_to_do() -> None:
    assert refusal("evil.example").startswith("Host 'evil.example' not allowed: ")
    assert "\n" not in refusal("a\nb")[:-1]
