"""`clean` as a command; what it does to faults is tested in tests/safety."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import pytest

from chaosbandit.core.names import fault_name
from tests.e2e.runs import chaosbandit, proxies
from tests.servers import running_server


def test_nothing_to_do(tmp_path: Path) -> None:
    assert chaosbandit(tmp_path, "clean").told(0).out == "nothing of ours was found\n"


def test_a_leftover_is_undone_and_others_are_not_touched(tmp_path: Path) -> None:
    ours = fault_name("abcdefgh", int(time.time()) - 5, 1, "shop", stands_in=False)
    with running_server("embedded") as url:
        for name in (ours, "theirs"):
            _create(url, name)
        arguments = ["clean", "--toxiproxy", url]
        dry = chaosbandit(tmp_path, *arguments, "--dry-run").told(0)
        assert f"would be undone: {ours} at {url}" in dry.out
        assert set(proxies(url)) == {ours, "theirs"}
        assert f"undone: {ours} at {url}" in chaosbandit(tmp_path, *arguments).told(0).out
        assert set(proxies(url)) == {"theirs"}


def test_a_server_that_is_not_there_is_not_confirmed(tmp_path: Path) -> None:
    ended = chaosbandit(tmp_path, "clean", "--toxiproxy", "http://127.0.0.1:1").told(7)
    assert "NOT REACHED: http://127.0.0.1:1" in ended.out


@pytest.mark.parametrize("server", ["foo", "embedded", "http://[::1:8"])
def test_what_is_no_server_is_wrong_usage(server: str, tmp_path: Path) -> None:
    ended = chaosbandit(tmp_path, "clean", "--toxiproxy", server).told(2)
    assert (ended.out, "wanted http://host:port" in ended.err) == ("", True)


def _create(url: str, name: str) -> None:
    body = {"name": name, "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1"}
    request = urllib.request.Request(f"{url}/proxies", json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=5):
        pass
