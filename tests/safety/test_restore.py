"""Undoing one fault: on real servers, and on ones that hang, refuse, drip or lie."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from chaosbandit.core.model import Fault
from chaosbandit.core.names import lease_name
from chaosbandit.safety import restore
from chaosbandit.safety.address import accepts, same_address
from chaosbandit.safety.control import Control, UnansweredError
from chaosbandit.safety.restore import (
    DEAD_S,
    NotUndoneError,
    Remedy,
    confirm,
    manual_commands,
    path_serves,
    remedy_of,
    revive,
    settle,
    undo,
)
from tests.fake_api import Answer, constant, fake_api, raw
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
    undo(replace(remedy(server), server_dies_with_run=True), 0.5)
    with pytest.raises(NotUndoneError, match="refused"):
        undo(remedy(server, restores=None), 0.5)  # its port may be forwarded, and open again soon
    undo(remedy(server, restores=None), DEAD_S + 3.0)
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


# --- servers that lie -----------------------------------------------------------------------------

OURS = "cb.run001.1790000000.1.inventory"
GONE = raw("404 Not Found", '{"error":"proxy not found","status":404}', "text/plain")
DONE = raw("204 No Content")


def shown(listen: str, *, enabled: bool) -> bytes:
    """The operator's proxy, as a server shows it."""
    proxy = {"name": ORIGINAL, "listen": listen, "upstream": "127.0.0.1:9001"}
    return raw("200 OK", json.dumps({**proxy, "enabled": enabled, "toxics": []}))


def scripted(**answers: bytes | None) -> Answer:
    """`METHOD_ours`, `METHOD_theirs` and `METHOD_list`, each with its answer; None hangs."""

    async def answer(method: str, path: str, body: bytes) -> bytes | None:
        which = {f"/proxies/{OURS}": "ours", "/proxies": "list"}.get(path, "theirs")
        return answers[f"{method}_{which}"]

    return answer


def met(answer: Answer, restores: str | None = ORIGINAL, within_s: float = 0.6) -> str:
    """What undoing against these answers ends with; empty where it calls it done."""

    async def attempt() -> str:
        async with fake_api(answer) as server:
            wanted = Remedy(server, OURS, "127.0.0.1:9000", "127.0.0.1:9001", restores)
            try:
                await asyncio.to_thread(undo, wanted, within_s)
            except NotUndoneError as error:
                return str(error)
        return ""

    return asyncio.run(attempt())


CLEAN = shown("127.0.0.1:9000", enabled=True)
DISABLED = shown("127.0.0.1:9000", enabled=False)
THERE = raw("409 Conflict", '{"error":"proxy already exists","status":409}')
HONEST: dict[str, bytes | None] = {
    "DELETE_ours": DONE,
    "GET_ours": GONE,
    "POST_ours": GONE,
    "POST_list": THERE,
    "GET_theirs": CLEAN,
    "POST_theirs": CLEAN,
}


def test_honest_answers_are_believed() -> None:
    assert met(scripted(**HONEST)) == ""


@pytest.mark.parametrize(
    ("lies", "said"),
    [
        ({"GET_ours": CLEAN}, "still there"),  # though DELETE answered 204
        ({"GET_theirs": DISABLED}, "is disabled, wanted it enabled"),  # though POST said 200
        ({"GET_theirs": GONE, "POST_list": raw("201 Created")}, "inventory is not there: 404"),
        ({"GET_theirs": shown("127.0.0.1:1", enabled=True)}, "is on 127.0.0.1:1"),
        ({"GET_theirs": raw("200 OK", "[]")}, "is on None"),
        ({"GET_ours": raw("404 Not Found", "404 page not found")}, "no word on whether"),
        ({"GET_ours": raw("404 Not Found")}, "no word on whether"),
        ({"GET_ours": raw("503 Service Unavailable")}, "GET answered 503"),
        ({"DELETE_ours": raw("503 Service Unavailable"), "GET_ours": CLEAN}, "deleted: 503"),
        ({"DELETE_ours": None, "GET_ours": CLEAN}, "DELETE .* no whole answer"),
        ({"GET_ours": None}, "GET .* no whole answer"),
        ({"GET_theirs": None}, "GET .* no whole answer"),
        ({"GET_ours": b"\x00\xff\xfe not HTTP at all\r\n\r\n"}, "GET .*: "),
        ({"GET_ours": b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n{"}, "GET .*: "),
        ({"GET_theirs": raw("200 OK", "\x00{]")}, "is on None"),
    ],
)
def test_what_is_not_undone_is_never_called_undone(
    lies: dict[str, bytes | None], said: str
) -> None:
    assert re.search(said, met(scripted(**HONEST | lies)))


@pytest.mark.parametrize("restores", [ORIGINAL, None])
def test_server_that_is_frozen_or_something_else_is_never_called_clean(
    restores: str | None,
) -> None:
    frozen = constant(raw("503 Service Unavailable"), after_s=25.0)
    assert "no whole answer within" in met(frozen, restores)
    assert "404" in met(constant(raw("404 Not Found", "404 page not found")), restores)
    assert met(constant(b"\x16\x03\x01 garbage"), restores)
    assert "deleted: 200" in met(constant(raw("200 OK", "<html>", "text/html")), restores)


# --- leases ---------------------------------------------------------------------------------------


def lease(path: OperatorPath) -> Fault:
    name = lease_name("run001", 1_790_000_000)
    return replace(path.fault(), name=name, restores=None, toxics=())


def test_undoing_a_lease_deletes_it_and_touches_nothing_else(path: OperatorPath) -> None:
    held = lease(path)
    body = {"name": held.name, "listen": held.listen, "upstream": held.upstream, "enabled": False}
    assert path.call("POST", "/proxies", body) == 201
    before = path.show()
    with path.connect() as client:
        client.settimeout(10.0)
        undo(remedy_of(held), 10.0)
        client.sendall(b"x")
        assert client.recv(1) == b"x"
    assert path.names() == [ORIGINAL]
    assert path.show() == before
    path.call("POST", f"/proxies/{ORIGINAL}", {"enabled": False})
    undo(remedy_of(held), 10.0)
    assert path.show()["enabled"] is False


def test_lease_died_with_its_server_though_the_operators_address_is_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as operators:
        listen = f"127.0.0.1:{operators.getsockname()[1]}"
        path = OperatorPath(f"http://127.0.0.1:{free_port()}", listen, "127.0.0.1:1")
        with pytest.raises(NotUndoneError, match="refused"):
            undo(remedy_of(lease(path)), 0.5)
        monkeypatch.setattr(restore, "LEASE_DEAD_S", 0.3)
        undo(remedy_of(lease(path)), 3.0)


# --- the path -------------------------------------------------------------------------------------


def test_path_without_a_check_serves_while_it_accepts(path: OperatorPath) -> None:
    wanted = remedy_of(path.fault())
    assert path_serves(wanted) is None
    path.call("POST", f"/proxies/{ORIGINAL}", {"enabled": False})
    assert path_serves(wanted) == f"nothing accepts connections at {path.listen}"
    assert path_serves(replace(wanted, restores=None)) is None
    assert path_serves(replace(wanted, server_dies_with_run=True)) is None
    assert path_serves(replace(wanted, server="http://192.0.2.1:8474")) is None  # out of sight


@pytest.mark.parametrize("status", [b"200 OK", b"404 Not Found", b"503 Unavailable"])
def test_path_with_a_check_serves_when_it_answers_anything(status: bytes) -> None:
    with misbehaving(b"HTTP/1.1 " + status + b"\r\n\r\n") as url:
        assert path_serves(replace(remedy(url), check=f"{url}/health?deep=1")) is None


def test_path_that_accepts_and_stays_silent_does_not_serve() -> None:
    with misbehaving(b"") as url:
        started_s = time.monotonic()
        found = path_serves(replace(remedy(url), check=url))
        assert 1.9 < time.monotonic() - started_s < 5.0
    assert found == f"the path does not answer: GET {url}: no whole answer within 2 s"
    with misbehaving(b"\x00\x01\x02\r\n") as url:
        assert "the path does not answer" in (path_serves(replace(remedy(url), check=url)) or "")


def test_revived_proxy_has_dropped_its_connections_and_listens(path: OperatorPath) -> None:
    with path.connect() as hanging, contextlib.closing(Control(path.url)) as control:
        hanging.settimeout(10.0)
        revive(remedy_of(path.fault()), control)
        assert hanging.recv(1) == b""
    assert path.is_normal()


# --- by hand --------------------------------------------------------------------------------------


def by_hand(fault: Fault) -> str:
    """Paste all of the commands into a shell, as one block; what they printed."""
    block = "\n".join(manual_commands(fault))
    done = subprocess.run(["sh", "-c", f"set -e\n{block}"], check=True, capture_output=True)
    return done.stdout.decode()


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize(
    "state", ["nothing", "made", "dosed", "closed", "enabled", "deleted", "restored"]
)
def test_manual_commands_do_what_they_promise(path: OperatorPath, state: str, gone: bool) -> None:
    fault = path.fault()
    if state != "nothing":
        path.inject(fault, state)
    if gone:
        path.call("DELETE", f"/proxies/{ORIGINAL}")
    assert '"enabled":true' in by_hand(fault).rpartition('{"name"')[2]  # shown at the end
    assert path.is_normal()
    by_hand(fault)  # twice is as good as once
    assert path.is_normal()


def test_manual_commands_for_what_replaced_nothing_delete_it_alone(path: OperatorPath) -> None:
    for fault in (beside(path, path.fault()), lease(path)):
        body = {"name": fault.name, "listen": fault.listen, "upstream": fault.upstream}
        assert path.call("POST", "/proxies", {**body, "enabled": False}) == 201
        by_hand(fault)
        assert path.is_normal()


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
