"""Undoing at servers that refuse, hang, die or lie."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.faults.names import Kind, written
from chaosbandit.toxiproxy import cut_and_reopen
from chaosbandit.toxiproxy.calls import Calls, StoppedError, UnansweredError
from chaosbandit.toxiproxy.undo import (
    LATE_S,
    NotUndoneError,
    Others,
    Undone,
    Way,
    is_gone,
    undo,
)
from tests.servers import real_server_path
from tests.toxiproxy.doors import PROXY, RUN, door, free_port
from tests.toxiproxy.misbehaving import Guest, answer, misbehaving


def undone(fault: Fault, way: Way = Way.QUIET, within_s: float = 10.0, **more: Any) -> Undone:
    with closing(Calls(fault.server)) as calls:
        return undo(fault, calls, within_s, way=way, **more)


def somewhere(server: str = "", **changes: Any) -> Fault:
    """A fault at an address where nothing is."""
    toxic = Toxic("latency", {"latency": 100, "jitter": 0}, name=f"cb.{RUN}.5.1")
    url = server or f"http://127.0.0.1:{free_port()}"
    place = (f"127.0.0.1:{free_port()}", "127.0.0.1:1")
    return replace(Fault(RUN, url, toxic.name, PROXY, *place, 5, (toxic,)), **changes)


# --- servers that refuse --------------------------------------------------------------------------


@pytest.mark.parametrize("way", list(Way))
def test_a_refusing_server_is_not_known_to_be_dead_at_once(way: Way) -> None:
    with pytest.raises(NotUndoneError, match="refused"):
        undone(somewhere(), way, 0.5)  # its port may be forwarded, and open again soon


@pytest.mark.parametrize("way", list(Way))
def test_a_dead_server_took_its_faults_with_it(way: Way) -> None:
    assert undone(somewhere(), way) == Undone(died=True)


def test_the_runs_own_server_is_dead_at_once() -> None:
    began_s = time.monotonic()
    assert undone(somewhere(dies_with_run=True)).died
    assert time.monotonic() - began_s < 1.0


def test_a_dead_api_with_a_living_path_proves_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as still_there:
        listen = f"127.0.0.1:{still_there.getsockname()[1]}"
        with pytest.raises(NotUndoneError, match="refused"):
            undone(somewhere(listen=listen, dies_with_run=True), within_s=0.3)


def test_a_lease_dies_with_its_server_though_its_address_is_anothers() -> None:
    name = written(Kind.LEASE, RUN, 5)
    with socket.create_server(("127.0.0.1", 0)) as operators:
        listen = f"127.0.0.1:{operators.getsockname()[1]}"
        lease = somewhere(name=name, proxy=name, toxics=(), owned=True, listen=listen)
        with pytest.raises(NotUndoneError):
            undone(lease, within_s=0.3)
        assert undone(replace(lease, dies_with_run=True), within_s=0.3).died


def test_is_gone_says_no_where_nothing_was_said() -> None:
    with closing(Calls(somewhere().server)) as calls:
        assert not is_gone(somewhere(), calls)


# --- a real server that hangs, dies and comes back ------------------------------------------------


@dataclass(slots=True)
class Real:
    """A real server in the hands of the test."""

    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        quiet = subprocess.DEVNULL
        command = [str(real_server_path()), "-host", "127.0.0.1", "-port", str(self.port)]
        self.process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
        for _ in range(1000):
            with closing(Calls(self.url)) as calls:
                try:
                    calls.call("GET", "/version", within_s=1.0)
                    return
                except UnansweredError:
                    time.sleep(0.01)
        raise AssertionError("the server did not start")

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@pytest.fixture
def real() -> Iterator[Real]:
    if real_server_path() is None:
        pytest.skip("no real Toxiproxy server: run .ci/toxiproxy, which builds it")
    server = Real(free_port())
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.mark.parametrize("way", list(Way))
def test_a_server_that_hangs_for_good_is_told_in_time(real: Real, way: Way) -> None:
    with door(real.url) as path:
        fault = path.put(path.fault())
        real.signal(signal.SIGSTOP)
        began_s = time.monotonic()
        with pytest.raises(NotUndoneError, match="hangs: closing it was not answered") as raised:
            undone(fault, way, 1.0, frozen_s=1.0)
        assert time.monotonic() - began_s < 8.0
        assert raised.value.served_by is None
        real.signal(signal.SIGCONT)
        time.sleep(0.3)  # the late calls
        assert undone(fault, way, ours_to_open=True).others is None
        assert path.is_normal()


@pytest.mark.parametrize("way", list(Way))
def test_a_server_that_hangs_for_a_while_is_waited_for(
    real: Real, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cut_and_reopen, "FROZEN_LOOK_S", 0.3)
    with door(real.url) as path:
        fault = path.put(path.fault())
        real.signal(signal.SIGSTOP)
        timer = threading.Timer(4.0, real.signal, (signal.SIGCONT,))
        timer.start()
        found = undone(fault, way, 2.0, frozen_s=20.0)
        timer.join()
        assert (found.cut, found.others) == (True, None)
        assert found.late is not None
        assert found.late.closes
        assert 0 < found.late.until_s - time.monotonic() <= LATE_S
        assert path.is_normal()


def test_a_server_that_dies_meanwhile_took_the_fault_with_it(real: Real) -> None:
    with door(real.url) as path:
        fault = path.put(path.fault(replace(path.toxic(), attributes={"latency": 2000})))
        timer = threading.Timer(0.5, real.kill)
        timer.start()
        assert undone(fault, Way.CUT).died
        timer.join()


def test_a_server_that_comes_back_empty_shows_that_the_proxy_is_gone(real: Real) -> None:
    with door(real.url) as path:
        fault = path.put(path.fault())
        real.kill()
        timer = threading.Timer(1.0, real.start)
        timer.start()
        assert undone(fault) == Undone(others=Others.GONE)
        timer.join()
        assert path.names() == []


def test_stopped_means_no_further_call(toxiproxy_url: str) -> None:
    with door(toxiproxy_url) as path, closing(Calls(path.url)) as calls:
        fault = path.put(path.fault())
        calls.stop()
        with pytest.raises(StoppedError):
            undo(fault, calls, 10.0)
        assert path.show()["toxics"] != []


# --- servers that lie -----------------------------------------------------------------------------

GONE = answer({"error": "proxy not found", "status": 404}, "404 Not Found")
BUSY = answer(b"", "503 Service Unavailable")
DELETED = answer(b"", "204 No Content")
STAND_IN = f"cb-standin.{RUN}.5.{PROXY}"
OWN = f"cb-path.{RUN}.5.1"
TOXIC = {
    "name": f"cb.{RUN}.5.1",
    "type": "latency",
    "stream": "downstream",
    "toxicity": 1.0,
    "attributes": {"latency": 100, "jitter": 0},
}
Answers = Mapping[str, bytes | None]


def proxy(enabled: bool = True, *toxics: object, name: str = PROXY) -> bytes:
    """A proxy as a server shows it."""
    place = {"name": name, "listen": "127.0.0.1:1", "upstream": "127.0.0.1:2"}
    return answer({**place, "enabled": enabled, "toxics": toxics})


@contextmanager
def lying(answers: Answers) -> Iterator[tuple[str, list[str]]]:
    """A server that answers each call as told, None for never; and what it was asked."""
    asked: list[str] = []

    def converse(guest: Guest) -> None:
        while request := guest.request():
            method, path = request.decode().split()[:2]
            body = request.rpartition(b"\r\n\r\n")[2]
            enabled = json.loads(body).get("enabled") if body else None
            call = f"{method} {path}"
            call += {True: " open", False: " close", None: ""}[enabled]
            asked.append(call)
            reply = answers[call]
            if reply is None:
                guest.hang()
                return
            guest.send(reply)

    with misbehaving(converse) as server:
        yield server.url, asked


AT, OURS, OF_TOXIC = (
    f"/proxies/{PROXY}",
    f"/proxies/{STAND_IN}",
    f"/proxies/{PROXY}/toxics/cb.{RUN}.5.1",
)
HONEST: Answers = {
    f"GET {AT}": proxy(),
    f"GET {OURS}": GONE,
    f"POST {OF_TOXIC}": answer(TOXIC),
    f"DELETE {OF_TOXIC}": DELETED,
    "POST /proxies close": answer(b"", "409 Conflict"),
    f"POST {AT} close": proxy(False),
    f"POST {OURS} open": proxy(),
    f"POST {OURS} close": proxy(False),
    f"POST {AT} open": proxy(),
    f"DELETE {OURS}": DELETED,
    f"GET /proxies/{OWN}": GONE,
    f"POST /proxies/{OWN} close": GONE,
    f"DELETE /proxies/{OWN}": DELETED,
}


def at(url: str, **changes: Any) -> Fault:
    return somewhere(url, listen="127.0.0.1:1", upstream="127.0.0.1:2", **changes)


def test_honest_answers_are_believed() -> None:
    with lying(HONEST) as (url, asked):
        assert undone(at(url)) == Undone()
    assert {call.split()[0] for call in asked} == {"GET"}


@pytest.mark.parametrize(
    ("lies", "said"),
    [
        ({f"GET {AT}": proxy(True, TOXIC)}, "was softened and is not"),
        ({f"GET {AT}": proxy(False, TOXIC)}, "still carries cb.run001.5.1"),
        ({f"GET {AT}": BUSY}, "answered 503"),
        ({f"GET {AT}": answer(b"404 page not found", "404 Not Found")}, "404 page not found"),
        ({f"GET {AT}": answer([])}, "wanted a proxy"),
        ({f"GET {AT}": answer(b"\x1b[31m{")}, "wanted a proxy"),
        ({f"GET {OURS}": BUSY}, "answered 503"),
        ({f"GET {OURS}": None}, "no whole answer"),
        ({f"GET {OURS}": proxy(), f"POST {OURS} close": BUSY}, "close cb-standin.* answered 503"),
        ({f"GET {OURS}": proxy(), f"DELETE {OURS}": BUSY}, "delete cb-standin.* answered 503"),
        (
            {f"GET {AT}": proxy(False), f"GET {OURS}": proxy(False)},
            "was opened and is not open",
        ),
        (
            {f"GET {AT}": proxy(False), f"GET {OURS}": proxy(False), f"POST {AT} open": answer()},
            "wanted a proxy",
        ),
        ({f"GET {AT}": proxy(True, TOXIC), f"POST {OF_TOXIC}": BUSY}, "soften .* answered 503"),
    ],
)
def test_lies_are_not_called_undone(lies: Answers, said: str) -> None:
    with lying({**HONEST, **lies}) as (url, asked):
        with pytest.raises(NotUndoneError, match=said) as raised:
            undone(at(url), within_s=0.4)
    assert str(raised.value).isprintable()
    assert f"DELETE {AT}" not in asked


@pytest.mark.parametrize(
    ("lies", "said"),
    [
        ({f"GET /proxies/{OWN}": proxy(name=OWN)}, "is still there"),
        ({f"GET /proxies/{OWN}": BUSY}, "answered 503"),
        (
            {
                f"GET /proxies/{OWN}": proxy(name=OWN),
                f"POST /proxies/{OWN} close": proxy(),
                f"DELETE /proxies/{OWN}": BUSY,
            },
            "delete cb-path.* answered 503",
        ),
    ],
)
def test_a_path_of_ours_is_gone_when_it_is_not_shown(lies: Answers, said: str) -> None:
    with lying({**HONEST, **lies}) as (url, _), pytest.raises(NotUndoneError, match=said):
        undone(at(url, name=OWN, proxy=OWN, owned=True), Way.CUT, 0.4)


def frozen(**more: bytes | None) -> Answers:
    """A proxy that closed without an answer, and a stand-in that serves."""
    hangs = dict.fromkeys([f"GET {AT}", f"POST {AT} close", f"POST {OF_TOXIC}"], None)
    return {**HONEST, **hangs, f"GET {OURS}": proxy(name=STAND_IN), **more}


@pytest.mark.parametrize("way", list(Way))
def test_a_frozen_proxy_is_served_by_the_stand_in_and_never_deleted(way: Way) -> None:
    with lying(frozen()) as (url, asked), pytest.raises(NotUndoneError) as raised:
        undone(at(url), way, 1.0, frozen_s=0.3)
    assert raised.value.served_by == STAND_IN
    assert [call for call in asked if call.startswith("DELETE")] == []
    assert f"POST {OURS} open" in asked


def test_a_frozen_path_of_ours_is_not_deleted_either() -> None:
    hangs = dict.fromkeys([f"GET /proxies/{OWN}", f"POST /proxies/{OWN} close"], None)
    with lying({**HONEST, **hangs}) as (url, asked), pytest.raises(NotUndoneError) as raised:
        undone(at(url, name=OWN, proxy=OWN, owned=True), Way.CUT, 1.0, frozen_s=0.3)
    assert raised.value.served_by is None
    assert [call for call in asked if call.startswith("DELETE")] == []


@pytest.mark.parametrize(
    ("call", "reply"),
    [(f"POST {OURS} open", BUSY), (f"POST {OURS} open", GONE), ("POST /proxies close", BUSY)],
)
def test_without_a_stand_in_the_cut_goes_on(call: str, reply: bytes) -> None:
    """Whatever hinders the stand-in must not keep the toxics where they are."""
    lies = {call: reply, f"GET {AT}": proxy(True, TOXIC)}
    began_s = time.monotonic()
    with lying({**HONEST, **lies}) as (url, asked), pytest.raises(NotUndoneError):
        undone(at(url), Way.CUT, 0.2)
    assert f"POST {AT} close" in asked
    assert f"DELETE {OF_TOXIC}" in asked
    assert time.monotonic() - began_s < 2.0  # only an address that is not free is tried again


@pytest.mark.parametrize("converse", [Guest.hang, lambda guest: guest.drip(answer(b"x" * 999))])
def test_a_server_that_never_answers_costs_what_was_said(
    converse: Callable[[Guest], None],
) -> None:
    with misbehaving(converse) as server:
        began_s = time.monotonic()
        with pytest.raises(NotUndoneError):
            undone(at(server.url), within_s=1.0, frozen_s=1.0)
        assert time.monotonic() - began_s < 6.0
