"""Servers we start end with us, and say why when they do not start."""

from __future__ import annotations

import sys

import pytest

from chaosbandit.cli.children import child, embedded_toxiproxy
from chaosbandit.errors import HarnessError
from tests.e2e.runs import listener, processes_with, proxies


def test_the_embedded_server_gets_the_seed_of_the_run() -> None:
    with embedded_toxiproxy(770077) as url:
        assert proxies(url) == {}
        (found,) = processes_with("--seed 770077")
        assert int(found.split()[0]) == listener(url.removeprefix("http://"))
    assert processes_with("--seed 770077") == []


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise SystemExit('port 1 is taken')", "port 1 is taken"),
        ("print('hello')", "hello"),
        ("pass", "no output"),
    ],
)
def test_what_a_server_said_instead_of_starting(program: str, said: str) -> None:
    with (
        pytest.raises(HarnessError, match=f"the shop did not start: {said}"),
        child([sys.executable, "-c", program], "the shop"),
    ):
        pass
