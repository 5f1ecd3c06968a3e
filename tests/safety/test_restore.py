"""Undoing one fault: on real servers, and on ones that hang, refuse, drip or lie."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from chaosbandit.safety.address import accepts, same_address
from chaosbandit.safety.control import Control, UnansweredError
from chaosbandit.safety.restore import (
    NotUndoneError,
    Remedy,
    confirm,
    manual_commands,
    remedy_of,
    settle,
    undo,
)
from tests.operator_path import ORIGINAL, OperatorPath, beside, free_port, operator_path


@pytest.fixture
def path(toxiproxy_url: str) -> Iterator[OperatorPath]:
    with operator_path(toxiproxy_url) as path:
        yield path


@contextlib.contextmanager
def misbehaving(answer: bytes, pause_s: float = 0.0, byte_by_byte: bool = False) -> Iterator[str]:
    """A server that sends `answer` to every connection's first bytes and then falls silent."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.recv(65536)
            done.wait(pause_s)
            size = 1 if byte_by_byte else len(answer)
            for start in range(0, len(answer), max(size, 1)):
                client.sendall(answer[start : start + size])
                if byte_by_byte and done.wait(0.1):
                    return
            done.wait(30)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        done.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def remedy(server: str, restores: str | None = ORIGINAL) -> Remedy:
    name = "cb.run001.1790000000.1.inventory"
    return Remedy(server, name, f"127.0.0.1:{free_port()}", "127.0.0.1:9001", restores)


LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("state", ["made", "dosed", "closed", "enabled", "deleted", "restored"])
def test_undo_works_from_every_state_of_an_injection(path: OperatorPath, state: str) -> None:
    fault = path.fault()
    path.inject(fault, state)
    undo(remedy_of(fault), 10.0)
    assert path.is_normal()
    undo(remedy_of(fault), 10.0)  # twice is as good as once
    assert path.is_normal()


def test_undo_recreates_a_missing_original_on_its_address(path: OperatorPath) -> None:
    fault = path.fault()
    path.inject(fault)
    path.call("DELETE", f"/proxies/{ORIGINAL}")
    undo(remedy_of(fault), 10.0)
    assert path.is_normal()
    shown = path.show()
    assert (shown["listen"], shown["upstream"]) == (path.listen, path.upstream)


def test_undo_of_our_own_proxy_creates_nothing(path: OperatorPath) -> None:
    fault = beside(path, path.fault())
    path.call("DELETE", f"/proxies/{ORIGINAL}")
    body = {"name": fault.name, "listen": fault.listen, "upstream": fault.upstream}
    assert path.call("POST", "/proxies", body) == 201
    undo(remedy_of(fault), 10.0)
    assert path.names() == []


def test_original_that_the_operator_moved_is_not_changed_but_our_proxy_goes(
    path: OperatorPath,
) -> None:
    fault = path.fault()
    path.inject(fault)
    path.call("POST", f"/proxies/{ORIGINAL}", {"upstream": "127.0.0.1:1"})
    with pytest.raises(NotUndoneError, match=r"inventory is on .* -> 127\.0\.0\.1:1, wanted"):
        undo(remedy_of(fault), 0.3)
    assert path.names() == [ORIGINAL]
    assert path.show()["upstream"] == "127.0.0.1:1"


def test_our_toxic_on_the_original_is_not_called_clean(path: OperatorPath) -> None:
    fault = path.fault()
    toxic = {"type": "latency", "attributes": {"latency": 1}}
    path.call("POST", f"/proxies/{ORIGINAL}/toxics", toxic)
    with pytest.raises(NotUndoneError, match="carries latency_downstream"):
        undo(remedy_of(fault), 0.3)
    undo(replace(remedy_of(fault), toxics=("other",)), 0.3)


def test_address_is_closed_only_briefly(path: OperatorPath) -> None:
    fault = path.fault()
    path.inject(fault)
    refused: list[float] = []
    done = threading.Event()

    def knock() -> None:
        while not done.is_set():
            try:
                path.connect().close()
            except OSError:
                refused.append(time.monotonic())

    thread = threading.Thread(target=knock)
    thread.start()
    undo(remedy_of(fault), 10.0)
    done.set()
    thread.join()
    assert not refused or refused[-1] - refused[0] < 0.5  # about a millisecond on an idle machine


def test_confirm_sees_our_proxy_and_settle_removes_it(path: OperatorPath) -> None:
    fault = path.fault()
    path.inject(fault)
    with contextlib.closing(Control(path.url)) as control:
        with pytest.raises(NotUndoneError, match="still there"):
            confirm(remedy_of(fault), control)
        settle(remedy_of(fault), 10.0, control)
    assert path.is_normal()


@pytest.mark.parametrize("how", ["hangs", "drips", "drips the head"])
def test_no_call_outlasts_its_deadline(how: str) -> None:
    answers = {"hangs": b"", "drips": LONG, "drips the head": b"HTTP/1.1 200 OK\r\n" + LONG}
    with misbehaving(answers[how], byte_by_byte=how != "hangs") as server:
        with contextlib.closing(Control(server)) as control:
            started_s = time.monotonic()
            with pytest.raises(UnansweredError, match=r"no whole answer within 0\.5 s"):
                control.call("GET", "/proxies", within_s=0.5)
            assert 0.45 < time.monotonic() - started_s < 1.5


@pytest.mark.parametrize("how", ["hangs", "busy", "drips"])
def test_undo_gives_up_at_its_deadline_and_says_what_it_met(how: str) -> None:
    answer = {"hangs": b"", "busy": BUSY, "drips": LONG}[how]
    with misbehaving(answer, byte_by_byte=how == "drips") as server:
        started_s = time.monotonic()
        said = "503" if how == "busy" else "no whole answer within"
        with pytest.raises(NotUndoneError, match=said):
            undo(remedy(server), 1.0)
        assert time.monotonic() - started_s < 3.0


def test_silent_server_costs_two_seconds_a_call_at_most() -> None:
    with misbehaving(b"") as server, contextlib.closing(Control(server)) as control:
        started_s = time.monotonic()
        with pytest.raises(UnansweredError):
            confirm(remedy(server), control)
        assert 1.9 < time.monotonic() - started_s < 4.0


def test_kept_connection_that_the_server_closed_is_replaced() -> None:
    class OneCallEach(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # promises to keep the connection, and does not

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), OneCallEach) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        with contextlib.closing(Control(url)) as control:
            assert [control.call("GET", "/").status for _ in range(3)] == [200, 200, 200]
            control.keep_open(1.0)
            assert control.call("GET", "/").status == 200
        server.shutdown()
        thread.join()


def test_dead_server_took_a_fault_of_ours_with_it() -> None:
    server = f"http://127.0.0.1:{free_port()}"
    undo(remedy(server, restores=None), 0.5)
    undo(replace(remedy(server), server_dies_with_run=True), 0.5)
    with pytest.raises(NotUndoneError, match="refused"):
        undo(remedy(server), 0.5)  # the operator's proxy must come back with their server


def test_dead_api_with_a_living_path_proves_nothing() -> None:
    server = f"http://127.0.0.1:{free_port()}"
    with socket.create_server(("127.0.0.1", 0)) as still_there:
        listen = f"127.0.0.1:{still_there.getsockname()[1]}"
        with pytest.raises(NotUndoneError):
            undo(replace(remedy(server, restores=None), listen=listen), 0.3)


@pytest.mark.parametrize("url", ["https://127.0.0.1:8474", "127.0.0.1:8474", "http://"])
def test_servers_we_could_not_clean_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="wanted http://host:port"):
        Control(url)


def test_unknown_host_is_unanswered() -> None:
    with contextlib.closing(Control("http://no-such-host.invalid:8474")) as control:
        with pytest.raises(UnansweredError):
            control.call("GET", "/version", within_s=1.0)


@pytest.mark.parametrize("state", ["closed", "enabled", "deleted", "original gone"])
def test_manual_commands_do_what_they_promise(path: OperatorPath, state: str) -> None:
    fault = path.fault()
    path.inject(fault, "enabled" if state == "original gone" else state)
    if state == "original gone":
        path.call("DELETE", f"/proxies/{ORIGINAL}")
    for command in manual_commands(remedy_of(fault)):
        done = subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True)
    assert path.is_normal()
    assert json.loads(done.stdout)["enabled"] is True


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("127.0.0.1:1", "localhost:1", True),
        (":1", "[::]:1", True),
        ("0.0.0.0:1", ":1", True),
        ("127.0.0.1:1", "127.0.0.1:2", False),
        ("127.0.0.1:1", ":1", False),
        ("[::1]:1", "[::1]:1", True),
    ],
)
def test_same_address(one: str, other: str, same: bool) -> None:
    assert same_address(one, other) is same


def test_accepts_tells_open_closed_and_out_of_sight() -> None:
    here = "http://127.0.0.1:8474"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert accepts(f"127.0.0.1:{port}", here) is True
        assert accepts(f"0.0.0.0:{port}", here) is True
        assert accepts(f"127.0.0.1:{port}", "http://192.0.2.1:8474") is None
    assert accepts(f"127.0.0.1:{free_port()}", here) is False
