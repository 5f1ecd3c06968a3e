"""Servers we start end with us, and say why when they do not start."""

from __future__ import annotations

from chaosbandit.cli.child_processes import embedded_toxiproxy
from tests.e2e.runs import listener, processes_with, proxies


def test_the_embedded_server_gets_the_seed_of_the_run() -> None:
    with embedded_toxiproxy(770077) as url:
        assert proxies(url) == {}
        (found,) = processes_with("--seed 770077")
        assert int(found.split()[0]) == listener(url.removeprefix("http://"))
    assert processes_with("--seed 770077") == []
