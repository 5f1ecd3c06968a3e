"""Calls to servers that refuse, hang, drip, close, and say what no Toxiproxy says."""

from __future__ import annotations

import gc
import json
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from chaosbandit.toxiproxy.calls import (
    LATE_S,
    Calls,
    Reply,
    StoppedError,
    UnansweredError,
    status_of,
)
from tests.toxiproxy.doors import free_port
from tests.toxiproxy.misbehaving import Converse, Guest, Server, always, answer, misbehaving

PATH = "/proxies/db"


@contextmanager
def served(converse: Converse) -> Iterator[tuple[Server, Calls]]:
    with misbehaving(converse) as server, closing(Calls(server.url)) as calls:
        yield server, calls


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:8474", "127.0.0.1:8474", "http://", "", "http://h:port", "http://["]
)
def test_servers_we_could_not_clean_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"is not http://host:port|[Pp]ort|Invalid"):
        Calls(url)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70, "x..y"])
def test_unknown_hosts_are_unanswered(host: str) -> None:
    with closing(Calls(f"http://{host}:1")) as calls:
        with pytest.raises(UnansweredError) as raised:
            calls.call("GET", "/version", within_s=1.0)
    assert not raised.value.refused


def test_refused_is_told_and_nothing_can_arrive_late() -> None:
    with closing(Calls(f"http://127.0.0.1:{free_port()}")) as calls:
        with pytest.raises(UnansweredError, match="refused") as raised:
            calls.call("DELETE", PATH)
        assert (raised.value.refused, raised.value.call) == (True, f"DELETE {PATH}")
        assert calls.unanswered(PATH) is None


def test_every_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with misbehaving(always(answer())) as server:
        port = int(server.url.rpartition(":")[2])
        found = [(socket.AF_INET, 1, 6, "", (host, port)) for host in ("127.0.0.9", "127.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with closing(Calls(f"http://two.example:{port}")) as calls:
            assert calls.call("GET", "/").status == 200


def test_a_path_before_the_api_is_kept() -> None:
    asked: list[bytes] = []

    def converse(guest: Guest) -> None:
        asked.append(guest.request())
        guest.send(answer())

    with misbehaving(converse) as server, closing(Calls(f"{server.url}/toxi/")) as calls:
        assert calls.call("GET", "/version").text == "{}"
    assert asked[0].startswith(b"GET /toxi/version HTTP/1.1\r\n")


# --- deadlines ------------------------------------------------------------------------------------

LONG = answer(b"x" * 5000)


@pytest.mark.parametrize(
    "converse",
    [
        Guest.hang,
        lambda guest: (guest.request(), guest.hang()),
        lambda guest: guest.drip(LONG),
        lambda guest: (guest.send(LONG[:-4990]), guest.drip(LONG[-4990:])),
        lambda guest: guest.drip(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 90, 0.02),
        lambda guest: [guest.send(b"HTTP/1.1 100 Continue\r\n\r\n") for _ in range(10**7)],
        lambda guest: guest.drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1"),
    ],
)
def test_no_call_outlasts_its_deadline(converse: Converse) -> None:
    with served(converse) as (_, calls):
        began_s = time.monotonic()
        with pytest.raises(UnansweredError, match=r"no whole answer within 0\.5 s") as raised:
            calls.call("GET", PATH, within_s=0.5)
        assert 0.45 < time.monotonic() - began_s < 1.5
        assert not raised.value.refused


def test_a_server_that_does_not_read_costs_the_deadline_only() -> None:
    with served(Guest.hang) as (_, calls):
        began_s = time.monotonic()
        with pytest.raises(UnansweredError, match="no whole answer"):
            calls.call("POST", "/populate", ["x" * (30 << 20)], within_s=0.5)
        assert time.monotonic() - began_s < 2.0


def test_a_name_server_that_hangs_costs_the_deadline_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done, real = threading.Event(), socket.getaddrinfo

    def look_up(host: str, port: int, *, type: int, flags: int) -> object:
        if flags == 0:
            done.wait(10)
        return real(host, port, type=type, flags=flags)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with closing(Calls("http://slow.invalid:1")) as calls:
        began_s = time.monotonic()
        with pytest.raises(UnansweredError, match="no whole answer"):
            calls.call("GET", "/", within_s=0.3)
        assert time.monotonic() - began_s < 1.0
    done.set()


# --- kept connections -----------------------------------------------------------------------------


def test_connections_are_kept() -> None:
    with served(always(answer())) as (server, calls):
        assert [calls.call("GET", "/").status for _ in range(5)] == [200] * 5
        assert server.connections == 1


def test_a_connection_that_the_server_closes_with_its_answer_is_not_kept() -> None:
    def converse(guest: Guest) -> None:
        guest.request()
        guest.send(answer(b"{}", "200 OK", "Connection: close"))

    with served(converse) as (server, calls):
        assert [calls.call("GET", "/").status for _ in range(3)] == [200] * 3
        calls.keep_open(2, 1.0)
        assert calls.call("GET", "/").status == 200
        assert server.connections == 5


def test_old_http_without_a_length_ends_with_its_connection() -> None:
    def converse(guest: Guest) -> None:
        guest.request()
        guest.send(b"HTTP/1.0 200 OK\r\n\r\n[1]")

    with served(converse) as (_, calls):
        assert [calls.call("GET", "/").text for _ in range(2)] == ["[1]", "[1]"]


def one_call_each(guest: Guest) -> None:
    """Promises to keep the connection, and closes it."""
    guest.request()
    guest.send(answer())


def half_closing(guest: Guest) -> None:
    """Says that it sends no more, and hears what else is sent."""
    guest.request()
    guest.send(answer())
    guest.say_no_more()
    guest.hang()


@pytest.mark.parametrize("converse", [one_call_each, half_closing])
def test_a_kept_connection_gone_stale_is_replaced(converse: Converse) -> None:
    with served(converse) as (server, calls):
        for _ in range(3):
            assert calls.call("POST", PATH, {"enabled": True}).status == 200
            assert server.closed.acquire(timeout=10)
        assert server.connections == 3
        assert calls.unanswered(PATH) is None


def test_a_connection_closed_as_we_send_is_replaced_once() -> None:
    def converse(guest: Guest) -> None:
        guest.request()
        guest.send(answer())
        guest.request()  # read, and not answered

    with served(converse) as (server, calls):
        assert [calls.call("DELETE", PATH).status for _ in range(3)] == [200] * 3
        assert server.connections == 3


def test_a_fresh_connection_that_is_closed_is_not_tried_again() -> None:
    def converse(guest: Guest) -> None:
        guest.request()

    with served(converse) as (server, calls):
        with pytest.raises(UnansweredError, match="closed connection without response"):
            calls.call("DELETE", PATH)
        assert server.connections == 1
        assert calls.unanswered(PATH) is not None


def test_connections_are_opened_beforehand_and_closed() -> None:
    with served(always(answer())) as (server, calls):
        calls.keep_open(3, 1.0)
        calls.keep_open(3, 1.0)
        assert calls.call("GET", "/").status == 200
        assert server.connections == 3
        calls.close()
        assert calls.call("GET", "/").status == 200
        assert server.connections == 4


def test_keeping_open_what_refuses_is_no_error() -> None:
    with closing(Calls(f"http://127.0.0.1:{free_port()}")) as calls:
        calls.keep_open(2, 0.2)


def test_descriptors_beyond_a_thousand_are_no_obstacle() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2000:
        pytest.skip("this user may not open 2000 files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    with ExitStack() as stack, served(always(answer())) as (_, calls):
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1100):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        assert [calls.call("GET", "/").status for _ in range(2)] == [200, 200]


# --- what is said ---------------------------------------------------------------------------------


def test_fifty_megabytes_are_not_read() -> None:
    big = answer(b"[" + b"1," * (25 << 20) + b"1]")
    with served(always(big)) as (_, calls):
        for _ in range(2):
            with pytest.raises(UnansweredError, match="more than 1 MB"):
                calls.call("GET", "/proxies", within_s=5.0)


def test_a_long_answer_is_read_whole() -> None:
    with served(always(answer({"a": "x" * 1_000_000}))) as (_, calls):
        assert len(calls.call("GET", "/").record()["a"]) == 1_000_000


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\xff\xfe nothing like HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000,
        b"",
    ],
)
def test_half_answers_and_nonsense_are_unanswered(sent: bytes) -> None:
    def converse(guest: Guest) -> None:
        guest.request()
        guest.send(sent)

    with served(converse) as (_, calls):
        with pytest.raises(UnansweredError) as raised:
            calls.call("GET", PATH, within_s=2.0)
        assert raised.value.why.isprintable()
        assert 0 < len(raised.value.why) < 300


def test_a_status_line_cannot_write_to_a_terminal() -> None:
    hostile = b"\x1b]0;owned\x07" + b"\x1b[31m" * 10_000 + b"\r\n\r\n"
    with served(always(hostile)) as (_, calls), pytest.raises(UnansweredError) as raised:
        calls.call("GET", PATH)
    assert "\x1b" not in str(raised.value)
    assert len(str(raised.value)) < 500


NEST = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    ("body", "record", "said"),
    [
        (b'{"error":"proxy not found","status":404}', True, "404 proxy not found"),
        (b'{"error":"a\\u001b[31m\\nb"}', True, "404 ab"),
        (b"404 page not found\n", False, "404 404 page not found"),
        (b"\xff\xfe\x00", False, "404 ��"),
        (b"", False, "404"),
        (b"[1]", False, "404 [1]"),
        (NEST, False, "404 " + "[" * 300),
        (b'{"error":' + b"[" * 500 + b"]" * 500 + b"}", True, "404 " + "[" * 300),
        (b"1" * 10_000, False, "404 " + "1" * 300),
    ],
)
def test_what_a_server_says_is_bounded_and_printable(body: bytes, record: bool, said: str) -> None:
    with served(always(answer(body, "404 Not Found"))) as (_, calls):
        reply = calls.call("GET", "/")
    assert bool(reply.record()) is record
    assert reply.said() == said


def test_records_are_objects_only() -> None:
    assert Reply(200, '{"a":1}').record() == {"a": 1}
    assert [Reply(200, text).record() for text in ("null", "1", '"a"', "{", "\ud800")] == [{}] * 5


# --- sent ahead, stopped, abandoned ---------------------------------------------------------------


def test_a_call_sent_ahead_is_answered_while_others_are_made() -> None:
    slow_s, said = 0.2, threading.Event()

    def converse(guest: Guest) -> None:
        while request := guest.request():
            slow = b"/slow" in request
            if slow:
                time.sleep(slow_s)
            guest.send(answer({"path": request.split()[1].decode()}))
            if slow:
                said.set()

    with served(converse) as (server, calls):
        calls.keep_open(2, 1.0)
        pending = calls.begin("POST", "/slow", {}, 0.1)
        assert calls.call("GET", "/fast").record() == {"path": "/fast"}
        assert said.wait(10)  # its answer is there, though the time to send it in is over
        assert pending.reply(0.5).record() == {"path": "/slow"}
        assert server.connections == 2


def test_an_answer_that_is_not_waited_for_long_enough() -> None:
    def converse(guest: Guest) -> None:
        guest.request()
        guest.hang()

    with served(converse) as (_, calls):
        pending = calls.begin("POST", PATH, {"enabled": False})
        with pytest.raises(UnansweredError):
            pending.reply(0.1)
        found = calls.unanswered(PATH)
    assert found is not None
    assert found.closes


@pytest.mark.filterwarnings("error")
def test_what_was_sent_ahead_and_abandoned_may_still_take_effect() -> None:
    with served(always(answer())) as (_, calls):
        calls.begin("DELETE", PATH)
        assert calls.unanswered(PATH) is not None
        calls.close()
        gc.collect()


def test_stop_ends_pauses_and_calls_from_another_thread() -> None:
    with served(always(answer())) as (server, calls):
        threading.Timer(0.1, calls.stop).start()
        began_s = time.monotonic()
        with pytest.raises(StoppedError):
            calls.wait(10.0)
        assert time.monotonic() - began_s < 2.0
        with pytest.raises(StoppedError):
            calls.call("GET", "/")
        assert server.connections == 0


# --- what may still take effect -------------------------------------------------------------------

ASKED: list[tuple[str, str, object, bool | None, bool | None]] = [
    # method, path, body; whether it closes as seen from /proxies/db, and from /proxies/toxics
    ("GET", "/proxies/db", None, None, None),
    ("DELETE", "/proxies/db", None, True, None),
    ("POST", "/proxies/db", {"enabled": False}, True, None),
    ("POST", "/proxies/db", {"enabled": True}, False, None),
    ("POST", "/proxies/db/toxics", {"name": "t"}, False, None),
    ("DELETE", "/proxies/db/toxics/t", None, False, None),
    ("POST", "/proxies", {"name": "db", "enabled": False}, False, None),
    ("POST", "/proxies", {"name": "toxics"}, None, False),
    ("DELETE", "/proxies/toxics", None, None, True),
    ("DELETE", "/proxies/db2", None, None, None),
]


@pytest.mark.parametrize(("method", "path", "body", "of_db", "of_toxics"), ASKED)
def test_unanswered_calls_are_known_by_their_proxy(
    method: str, path: str, body: object, of_db: bool | None, of_toxics: bool | None
) -> None:
    with served(Guest.hang) as (_, calls):
        with pytest.raises(UnansweredError):
            calls.call(method, path, body, within_s=0.05)
        for proxy, closes in (("db", of_db), ("toxics", of_toxics)):
            found = calls.unanswered(f"/proxies/{proxy}")
            assert (None if found is None else found.closes) is closes


def test_answered_calls_take_no_effect_later() -> None:
    with served(always(answer(b"", "500 Internal Server Error"))) as (_, calls):
        calls.call("DELETE", PATH)
        assert calls.unanswered(PATH) is None


@pytest.mark.parametrize("status", ["502 Bad Gateway", "503 Unavailable", "504 Timeout"])
def test_whoever_gave_up_on_a_call_has_not_answered_it(status: str) -> None:
    with served(always(answer(b"", status))) as (_, calls):
        calls.call("DELETE", PATH)
        assert calls.unanswered(PATH) is not None


def test_the_last_of_equal_calls_counts_until_it_is_too_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with served(Guest.hang) as (_, calls):
        for _ in range(2):
            with pytest.raises(UnansweredError):
                calls.call("DELETE", PATH, within_s=0.1)
        found = calls.unanswered(PATH)
        assert found is not None
        assert time.monotonic() - found.at_s < 0.1
        later_s = time.monotonic() + LATE_S + 1.0
        monkeypatch.setattr(time, "monotonic", lambda: later_s)
        assert calls.unanswered(PATH) is None


# --- one status -----------------------------------------------------------------------------------


def test_status_of() -> None:
    asked: list[bytes] = []

    def converse(guest: Guest) -> None:
        asked.append(guest.request())
        guest.send(answer(b"x" * 1000, "418 Teapot")[:60])  # the body is not waited for
        guest.hang()

    with misbehaving(converse) as server:
        assert status_of("GET", f"{server.url}/a?b=c", 2.0) == 418
        assert status_of("POST", f"{server.url}/a", 2.0, {"d": 1}) == 418
    assert asked[0].startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert json.loads(asked[1].rpartition(b"\r\n\r\n")[2]) == {"d": 1}


@pytest.mark.parametrize("url", ["http://127.0.0.1:port/", "http://[", "http://no.invalid/"])
def test_status_of_what_is_no_address(url: str) -> None:
    with pytest.raises(UnansweredError):
        status_of("GET", url, 2.0)


def test_status_of_the_silent_and_the_refusing() -> None:
    with misbehaving(lambda guest: guest.drip(LONG)) as server:
        began_s = time.monotonic()
        with pytest.raises(UnansweredError, match="no whole answer"):
            status_of("GET", server.url, 0.3)
        assert time.monotonic() - began_s < 1.0
    with pytest.raises(UnansweredError) as raised:
        status_of("GET", f"http://127.0.0.1:{free_port()}", 1.0)
    assert raised.value.refused
