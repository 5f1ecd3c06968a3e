"""The operator's bypass: told the facts, bounded in time, and never the cause of an exception."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from chaosbandit.faults.fault import Fault
from chaosbandit.safety.bypass import run_bypass
from tests.safety.watched_path import free_port
from tests.waiting import wait_for

FAULT = Fault(
    run="run001",
    server="http://127.0.0.1:8474",
    name="cb.run001.1790000000.1",
    proxy="inventory",
    listen="127.0.0.1:9000",
    upstream="127.0.0.1:9001",
    expires_epoch_s=1790000000,
)
FACTS = {
    "fault": FAULT.name,
    "proxy": "inventory",
    "listen": FAULT.listen,
    "upstream": FAULT.upstream,
    "server": FAULT.server,
    "why": "it is frozen",
}

BACK = "take it back when the proxy is well again"


def used(bypass: str | tuple[str, ...] | None, within_s: float = 10.0) -> str:
    return run_bypass(replace(FAULT, bypass=bypass), "it is frozen", within_s)


@contextlib.contextmanager
def switch(status: int) -> Iterator[tuple[str, list[tuple[str, object]]]]:
    """A server that answers every POST with `status`; its URL, and what it was sent."""
    heard: list[tuple[str, object]] = []

    class Switch(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append((self.path, json.loads(body)))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Switch) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", heard
        finally:
            server.shutdown()
            thread.join()


def test_url_is_posted_the_facts() -> None:
    with switch(204) as (url, heard):
        said = used(f"{url}/around?mesh=1")
    assert said == f"the bypass POST {url}/around?mesh=1 was answered with 204: {BACK}"
    assert heard == [("/around?mesh=1", FACTS)]


def test_refusing_url_is_told() -> None:
    with switch(500) as (url, heard):
        assert used(url) == f"the bypass POST {url} failed: it was answered with 500, wanted 2xx"
    assert len(heard) == 1


def test_dead_or_silent_url_is_told_in_time() -> None:
    assert "refused" in used(f"http://127.0.0.1:{free_port()}/")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started_s = time.monotonic()
        said = used(f"http://127.0.0.1:{silent.getsockname()[1]}/", 0.5)
        assert 0.45 < time.monotonic() - started_s < 3.0
    assert "no whole answer within 0.5 s" in said


def test_command_is_told_the_facts_and_no_shell_reads_it(tmp_path: Path) -> None:
    target = tmp_path / "facts"
    code = (
        "import json, os, sys; json.dump([sys.argv[2], dict(os.environ)], open(sys.argv[1], 'w'))"
    )
    said = used((sys.executable, "-c", code, str(target), "$(exit 3); *"))
    assert said.endswith(f" ended with status 0: {BACK}")
    argument, environment = json.loads(target.read_text())
    assert argument == "$(exit 3); *"
    assert environment["PATH"] == os.environ["PATH"]
    told = {name: environment[f"CHAOSBANDIT_{name.upper()}"] for name in FACTS}
    assert told == FACTS


def test_failing_command_is_told() -> None:
    said = used((sys.executable, "-c", "raise SystemExit(3)"))
    assert said.endswith("failed: it ended with status 3, wanted 0")
    assert "failed" in used(("/nowhere/at-all",))
    assert "failed" in used(())


def test_endless_command_is_killed_with_its_children(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    script = f"sleep 60 & echo $! > {alive}; sleep 60"
    started_s = time.monotonic()
    said = used(("sh", "-c", script), 1.0)
    assert 0.95 < time.monotonic() - started_s < 5.0
    assert "did not end within 1 s" in said
    child = Path(f"/proc/{int(alive.read_text())}/stat")
    wait_for(lambda: not child.exists() or ") Z " in child.read_text())


def test_nothing_configured_is_said() -> None:
    assert used(None) == "no bypass is configured"


def test_whatever_happens_is_a_sentence() -> None:
    for odd in ("http://[::1", "nonsense", "http://", "http://x:99999/"):
        assert "failed: " in used(odd, 1.0)
