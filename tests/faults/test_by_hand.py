"""The commands that a person pastes; that they work is tested in tests/toxiproxy/test_undo.py."""

from __future__ import annotations

import json
import shlex

import pytest

from chaosbandit.faults import by_hand
from chaosbandit.faults.fault import Fault, Toxic

TOXIC = Toxic("latency", {"latency": 100, "jitter": 0}, name="cb.run001.5.1")
SERVER = "http://127.0.0.1:8474"


def fault(proxy: str = "db", *toxics: Toxic, owned: bool = False) -> Fault:
    place = ("127.0.0.1:1", "127.0.0.1:2")
    return Fault("run001", f"{SERVER}/", "cb.run001.5.1", proxy, *place, 5, toxics, owned)


def calls(line: str) -> list[tuple[str, str, object]]:
    """Method, path and body of each curl in a line joined by &&."""
    found = []
    words = shlex.split(line)
    while words:
        end = words.index("&&") if "&&" in words else len(words)
        command, words = words[:end], words[end + 1 :]
        assert command[:3] == ["curl", "-sS", "-m"]
        assert command[4].startswith(SERVER)
        body = json.loads(command[command.index("-d") + 1]) if "-d" in command else None
        method = "DELETE" if "DELETE" in command else "GET" if body is None else "POST"
        found.append((method, command[4].removeprefix(SERVER), body))
    return found


def test_an_operators_proxy_is_closed_served_emptied_and_opened() -> None:
    mark, close, serve, wait, rest = by_hand.commands(fault("db", TOXIC))
    ours = "/proxies/cb-standin.run001.5.db"
    place = {"listen": "127.0.0.1:1", "upstream": "127.0.0.1:2", "enabled": False}
    assert calls(mark) == [("POST", "/proxies", {"name": "cb-standin.run001.5.db", **place})]
    assert calls(close) == [("POST", "/proxies/db", {"enabled": False})]
    assert calls(serve) == [("POST", ours, {"enabled": True})]
    assert shlex.split(wait) == ["sleep", "0.3"]
    assert calls(rest) == [
        ("GET", "/proxies/db", None),  # whatever hangs must not be deleted
        ("DELETE", "/proxies/db/toxics/cb.run001.5.1", None),
        ("POST", "/proxies", {"name": "db", **place}),
        ("POST", ours, {"enabled": False}),
        ("POST", "/proxies/db", {"enabled": True}),
        ("DELETE", ours, None),
    ]


def test_a_stand_in_left_over_is_swapped_back() -> None:
    (rest,) = by_hand.commands(fault("db"))
    assert [method for method, _, _ in calls(rest)] == ["GET", "POST", "POST", "POST", "DELETE"]


def test_a_path_of_ours_is_closed_and_deleted_if_it_answers() -> None:
    close, delete = by_hand.commands(fault("cb-path.run001.5.1", TOXIC, owned=True))
    assert calls(close) == [("POST", "/proxies/cb-path.run001.5.1", {"enabled": False})]
    assert [method for method, _, _ in calls(delete)] == ["GET", "DELETE"]


@pytest.mark.parametrize("proxy", ["a b", "a'b", "$(reboot)", "`x`", "é", "a;b", "a\nb", "-x", "~"])
def test_no_name_breaks_out_of_its_quotes(proxy: str) -> None:
    hostile = fault(proxy, TOXIC)
    every = [*by_hand.commands(hostile), *by_hand.quiet_commands(hostile)]
    every += [by_hand.create(hostile), by_hand.enable(hostile), by_hand.look(SERVER, proxy)]
    for line in every:
        assert "\n" not in line
        if not line.startswith("sleep"):
            assert calls(line)
    assert calls(by_hand.create(hostile))[0][2] == {
        "name": proxy,
        "listen": "127.0.0.1:1",
        "upstream": "127.0.0.1:2",
        "enabled": True,
    }
