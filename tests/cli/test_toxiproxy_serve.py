"""`toxiproxy serve`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.runs import Command, chaosbandit, proxies, soon
from tests.operator_path import free_port
from tests.servers import Kind, real_server_path

READY = "toxiproxy listening on http://127.0.0.1:"
SERVE = [sys.executable, "-m", "chaosbandit", "toxiproxy", "serve"]


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


# What the real server takes, asked of both.


class Served:
    """A server started with the same arguments whichever it is, and what it said once it ended."""

    def __init__(self, kind: Kind, *arguments: str, **environment: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.out = self.err = ""
        self.process = subprocess.Popen(
            [*command(kind), "-port", str(port), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def answers(self) -> bool:
        with suppress(OSError):
            return isinstance(proxies(self.url), dict)
        return False


def command(kind: Kind) -> list[str]:
    return SERVE if kind == "embedded" else [str(real_server_path())]


@contextmanager
def served(kind: Kind, *arguments: str, **environment: str) -> Iterator[Served]:
    server = Served(kind, *arguments, **environment)
    try:
        assert soon(server.answers, 20.0)
        yield server
    finally:
        server.process.terminate()
        server.out, server.err = server.process.communicate(timeout=10.0)
    assert server.process.returncode == 0


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "proxies.json"
    off = {"name": "off", "listen": "127.0.0.1:0", "upstream": "db:5432", "enabled": False}
    on = {"name": "on", "listen": "127.0.0.1:0", "upstream": "cache:6379"}
    path.write_text(json.dumps([off, on]))
    return path


@pytest.mark.parametrize(
    "form",
    [
        ["-config", "FILE", "-host", "127.0.0.1", "-seed", "7"],
        ["-config=FILE", "-host=127.0.0.1", "-seed=-7"],
        ["--config", "FILE", "--host", "127.0.0.1", "--seed", "-7"],
        ["--config=FILE", "--host=localhost", "--seed=7"],
    ],
    ids=" ".join,
)
def test_it_takes_what_the_real_one_takes(
    toxiproxy_kind: Kind, form: list[str], config: Path
) -> None:
    arguments = [part.replace("FILE", str(config)) for part in form]
    with served(toxiproxy_kind, *arguments) as server:
        found = proxies(server.url)
        assert {name: proxy["upstream"] for name, proxy in found.items()} == {
            "off": "db:5432",
            "on": "cache:6379",
        }
        assert (found["off"]["enabled"], found["on"]["enabled"]) == (False, True)
        listen = found["on"]["listen"].rpartition(":")
        socket.create_connection((listen[0], int(listen[2])), 5.0).close()
    assert server.err == ""


@pytest.mark.parametrize(
    ("listen", "everywhere"),
    [
        (":{port}", True),
        ("0.0.0.0:{port}", True),
        ("[::]:{port}", True),
        ("localhost:{port}", False),
        ("127.0.0.1:{port}", False),
    ],
)
def test_an_api_on_all_interfaces_has_proxies_on_all_of_them(
    toxiproxy_kind: Kind, listen: str, everywhere: bool, tmp_path: Path
) -> None:
    """As compose files need it, where `listen` is `:8666`; not reached from other machines here."""
    port = free_port()
    config = tmp_path / "proxies.json"
    wanted = {"name": "p", "listen": listen.format(port=port), "upstream": "127.0.0.1:1"}
    config.write_text(json.dumps([wanted]))
    with served(toxiproxy_kind, "-host", "0.0.0.0", "-config", str(config)) as server:
        shown = proxies(server.url)["p"]["listen"]
        found = [place for place in ("127.0.0.1", "127.0.0.2", "::1") if connects(place, port)]
    assert shown == (f"[::]:{port}" if everywhere else f"127.0.0.1:{port}")
    assert found == (["127.0.0.1", "127.0.0.2", "::1"] if everywhere else ["127.0.0.1"])


def connects(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), 5.0):
        return True
    return False


FIRST = '{"name":"first","listen":"127.0.0.1:0","upstream":"u:1"}'


@pytest.mark.parametrize(
    ("text", "names", "said"),
    [
        (None, [], "cannot be read (No such file or directory)"),
        ("", [], "bad request body: EOF"),
        ("[nonsense", [], "bad request body: "),
        (f'[{FIRST},{{"name":"second"}}]', [], "missing required field: upstream at proxy 2"),
        (
            f'[{FIRST},{{"name":"second","listen":"nowhere","upstream":"u:1"}}]',
            ["first"],
            "missing port in address; proxies made before that: first",
        ),
    ],
)
def test_a_bad_config_is_said_and_stops_nothing(
    toxiproxy_kind: Kind, text: str | None, names: list[str], said: str, tmp_path: Path
) -> None:
    config = tmp_path / "bad.json"
    if text is not None:
        config.write_text(text)
    with served(toxiproxy_kind, "-config", str(config)) as server:
        assert [*proxies(server.url)] == names
    if toxiproxy_kind == "embedded":
        assert server.err.startswith(f"toxiproxy: {config}")
        assert said in server.err


@pytest.mark.parametrize("form", [["-version"], ["--version"], ["-port", "1", "-version"]])
def test_it_says_its_version_in_the_same_words(toxiproxy_kind: Kind, form: list[str]) -> None:
    done = subprocess.run([*command(toxiproxy_kind), *form], capture_output=True, timeout=20)
    wanted = (0, b"toxiproxy-server version 2.12.0\n", b"")
    assert wanted == (done.returncode, done.stdout, done.stderr)


def test_both_refuse_an_unknown_flag(toxiproxy_kind: Kind) -> None:
    done = subprocess.run([*command(toxiproxy_kind), "-nope"], capture_output=True, timeout=20)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"-n" in done.stderr


@pytest.mark.parametrize(
    ("level", "quiet"), [("debug", False), ("info", False), ("warn", True), ("ERROR", True)]
)
def test_the_log_level_silences_the_start(toxiproxy_kind: Kind, level: str, quiet: bool) -> None:
    with served(toxiproxy_kind, LOG_LEVEL=level) as server:
        pass
    assert quiet == (server.out == "")


def test_metrics_are_taken_and_said_to_be_missing(toxiproxy_kind: Kind) -> None:
    with served(toxiproxy_kind, "-proxy-metrics", "-runtime-metrics") as server:
        pass
    missing = "toxiproxy: metrics are not offered, /metrics answers 404\n"
    assert server.err == ("" if toxiproxy_kind == "real" else missing)
