"""`Sweeper`: what it undoes, what it says, whom it waits for, and what it leaves when it ends."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pytest

from chaosbandit.cleaning.clean import clean
from chaosbandit.cleaning.sweeper import Sweeper
from chaosbandit.cleaning.sweeper_lease import LONGEST_ROUND_S
from chaosbandit.faults.names import HONOURED_S, SWEEPER, Kind, parse, written
from chaosbandit.faults.undo_steps import stand_in
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.toxiproxy import calls, undo
from tests.cleaning.lossy_api import Fate, relay
from tests.cleaning.operators import ORIGINAL, OperatorPath, free_port, silent_server
from tests.waiting import wait_for

QUICK_S = 0.05
ROUNDS = 5
PATIENCE_S = 15.0


class Watched:
    """A sweeper at work, and what it has said."""

    def __init__(self, sweep: Sweeper, lines: list[str]) -> None:
        self.sweep = sweep
        self.lines = lines
        self.rounds = 0

    def until(self, text: str) -> None:
        """Wait for a line."""
        self.so(lambda: any(text in line for line in self.lines))

    def so(self, true: Callable[[], bool]) -> None:
        """Wait until something is so."""
        wait_for(true, PATIENCE_S, told=lambda: self.lines)

    def look_again(self) -> None:
        """Wait until it has looked some times more."""
        enough = self.rounds + ROUNDS
        self.so(lambda: self.rounds >= enough)


@contextmanager
def sweeping(
    ledger: FaultLedger,
    *servers: str,
    every_s: float = QUICK_S,
    deadline_s: float = 5.0,
    epoch_s: Callable[[], float] = time.time,
) -> Iterator[Watched]:
    lines: list[str] = []

    def now_epoch_s() -> float:
        watched.rounds += 1
        return epoch_s()

    sweep = Sweeper(ledger, servers, every_s, lines.append, deadline_s, now_epoch_s)
    watched = Watched(sweep, lines)
    sweep.begin()
    try:
        yield watched
    finally:
        sweep.end()


def leases(names: Sequence[str]) -> list[str]:
    """Those of sweepers."""
    return [name for name in names if name.startswith(f"cb-lease.{SWEEPER}.")]


def inject_briefly(path: OperatorPath, ledger: FaultLedger | None = None) -> str:
    """A fault that expires once it is in place, and not while it is being injected; its name."""
    fault = path.fault(expires_in_s=2, types=("slow_close",))
    if ledger is not None:
        ledger.record(fault)
    path.inject(fault)
    return fault.name


def test_only_what_is_expired_goes_and_each_is_told_once(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    living = path.fault(9, run="run009")
    names = []
    with sweeping(ledger, path.url) as watched:
        for _ in range(2):
            names.append(inject_briefly(path))
            watched.until(f"undone: {names[-1]}")
            assert path.echo_s() is not None
        path.inject(living)
        watched.look_again()
    assert path.toxics() == [living.name]
    place = f"at {path.url} (on {ORIGINAL})"
    assert watched.lines == [f"undone: {name} {place}" for name in names]
    assert (watched.sweep.undone, watched.sweep.left) == (2, 0)
    assert path.names() == [ORIGINAL]


def test_lease_shows_who_is_on_duty_and_is_nobodys_leftover(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    with sweeping(ledger, path.url) as watched:
        watched.so(lambda: bool(leases(path.names())))
        (name,) = leases(path.names())
        shown = path.show(name)
        assert (shown["enabled"], shown["listen"], shown["upstream"]) == (
            False,
            "127.0.0.1:0",
            SWEEPER,
        )
        lease = parse(name)
        assert lease is not None
        assert 55 < lease.expires_epoch_s - time.time() <= 60
        assert clean(ledger, [path.url], None, False, False, time.time()).found == ()
        path.call("DELETE", f"/proxies/{name}")  # as when the server is started anew
        watched.so(lambda: bool(leases(path.names())))
    assert path.is_normal()
    assert watched.lines == []


def test_two_sweepers_share_a_server(path: OperatorPath, ledger: FaultLedger) -> None:
    with sweeping(ledger, path.url) as one:
        with sweeping(ledger, path.url) as other:
            for _ in range(2):
                inject_briefly(path)
                one.so(lambda: path.toxics() == [])
                assert path.echo_s() is not None
        one.so(lambda: bool(leases(path.names())))
        told = [line for line in (*one.lines, *other.lines) if not line.startswith("undone")]
    assert told == []
    assert path.is_normal()


def test_ledger_is_swept_as_well_without_a_lease_there(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    with sweeping(ledger) as watched:
        for _ in range(2):  # its server comes and goes with what is in the ledger
            watched.until(f"undone: {inject_briefly(path, ledger)}")
            assert path.is_normal()
            watched.so(lambda: not _threads(path.url))
        (ledger.directory / "claim-x.lock").touch()
        watched.so(lambda: list(ledger.directory.iterdir()) == [])


def _threads(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_damaged_file_is_told_once_and_left_over(path: OperatorPath, ledger: FaultLedger) -> None:
    with sweeping(ledger, path.url) as watched:
        explained = inject_briefly(path, ledger)
        ledger.path(explained).write_text("{")
        file = ledger.record(path.fault(2, expires_in_s=-5))
        file.write_text("{")
        watched.until(f"undone: {explained}")
        watched.until(f"NOT READABLE: {file}")
        watched.look_again()
    assert sorted(line.partition(":")[0] for line in watched.lines) == ["NOT READABLE", "undone"]
    assert watched.sweep.left == 1
    assert file.exists()


def test_damaged_file_of_a_fault_that_is_still_going_is_explained(
    moody: str, ledger: FaultLedger
) -> None:
    Moody.mood = "stubborn"
    name = leave_behind(1)
    ledger.prepare()
    ledger.path(name).write_text("{")
    with sweeping(ledger, moody, deadline_s=1.0) as watched:
        watched.until(f"NOT UNDONE: {name}")  # twenty looks at the ledger later
        Moody.mood = "well"
        watched.until(f"undone: {name}")
        watched.so(lambda: watched.sweep.left == 0)
    assert [line.partition(":")[0] for line in watched.lines] == ["NOT UNDONE", "undone"]


def test_ledger_that_breaks_is_told_and_the_duty_goes_on(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    with sweeping(ledger, path.url) as watched:
        ledger.directory.touch()
        watched.until("FAILED: UsageError: found")
        ledger.directory.unlink()
        watched.until("no longer FAILED")
        inject_briefly(path)
        watched.until("undone")
    assert len(watched.lines) == 3


# --- a server with moods --------------------------------------------------------------------------


UNKNOWN = {"error": "proxy not found", "status": 404}


class Moody(http.server.BaseHTTPRequestHandler):
    """A small Toxiproxy that is well, hangs, answers garbage or refuses to delete."""

    protocol_version = "HTTP/1.1"
    mood: ClassVar[str] = "well"
    proxies: ClassVar[dict[str, object]] = {}
    calls: ClassVar[list[str]] = []
    awake: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        name = self.path.removeprefix("/proxies").strip("/")
        if not name:
            self.answer(200, self.proxies)
        elif name in self.proxies:
            self.answer(200, self.proxies[name])
        else:
            self.answer(404, UNKNOWN)

    def do_POST(self) -> None:
        proxy = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = self.path.removeprefix("/proxies").strip("/")
        if name:
            known = self.proxies.get(name)
            self.answer(*(404, UNKNOWN) if known is None else (200, known))
            return
        self.calls.append(f"POST {proxy['name']}")
        self.proxies[proxy["name"]] = {**proxy, "toxics": []}
        self.answer(201, proxy)

    def do_DELETE(self) -> None:
        name = self.path.rpartition("/")[2]
        self.calls.append(f"DELETE {name}")
        if self.mood == "stubborn":
            self.answer(500, {"error": "no"})
        else:
            self.proxies.pop(name, None)
            self.answer(204, None)

    def answer(self, status: int, body: object) -> None:
        """Send one answer, as the mood is."""
        if self.mood == "hangs":
            self.awake.wait(30.0)
        payload = b"" if body is None else json.dumps(body).encode()
        payload = b"<html>" if self.mood == "babbles" else payload
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Quiet(http.server.ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gave up is none of our business."""


@pytest.fixture
def moody() -> Iterator[str]:
    """The URL of a server whose mood is `Moody.mood`."""
    Moody.mood = "well"
    Moody.proxies.clear()
    Moody.calls.clear()
    Moody.awake.clear()
    with _Quiet(("127.0.0.1", 0), Moody) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        Moody.awake.set()
        server.shutdown()
        thread.join()


def leave_behind(n: int) -> str:
    """An expired path of ours at the moody server; its name."""
    name = written(Kind.PATH, "run001", int(time.time()) - 5, n=n)
    Moody.proxies[name] = {
        "name": name,
        "listen": "127.0.0.1:1",
        "upstream": "x:1",
        "enabled": True,
        "toxics": [],
    }
    return name


@pytest.mark.parametrize("mood", ["hangs", "babbles"])
def test_changes_are_told_once_and_the_bad_times_are_survived(
    moody: str, ledger: FaultLedger, mood: str
) -> None:
    def times_not_reached() -> int:
        return sum(f"{moody}: NOT REACHED" in line for line in watched.lines)

    with sweeping(ledger, moody) as watched:
        watched.so(lambda: bool(leases(list(Moody.proxies))))
        for n in range(2):
            Moody.mood = mood
            watched.so(partial(lambda n: times_not_reached() > n, n))
            if mood == "babbles":  # a look at what hangs takes seconds
                watched.look_again()
            Moody.mood = "well"
            Moody.awake.set()
            watched.until(f"undone: {leave_behind(n)}")
            Moody.awake.clear()
    assert [line.removeprefix(f"{moody}: ").partition(": ")[0] for line in watched.lines] == [
        "NOT REACHED",
        "no longer NOT REACHED",
        "undone",
    ] * 2
    assert watched.sweep.left == 0
    assert Moody.proxies == {}


def test_fault_that_cannot_be_undone_is_told_once_with_commands_and_tried_on(
    moody: str, ledger: FaultLedger
) -> None:
    with sweeping(ledger, moody, deadline_s=0.3) as watched:
        Moody.mood = "stubborn"
        name = leave_behind(1)
        watched.until(f"NOT UNDONE: {name}")
        watched.so(lambda: watched.sweep.left == 1)
        tries = Moody.calls.count(f"DELETE {name}")
        watched.so(lambda: Moody.calls.count(f"DELETE {name}") > tries + 3)
        Moody.mood = "well"
        watched.until(f"undone: {name}")
        watched.so(lambda: watched.sweep.left == 0)
    assert len(watched.lines) == 2
    assert "; by hand: curl -sS -m 40 " in watched.lines[0]
    assert f" && curl -sS -m 40 {moody}/proxies/{name} -X DELETE" in watched.lines[0]


def test_what_is_left_at_the_end_is_counted(moody: str, ledger: FaultLedger) -> None:
    Moody.mood = "stubborn"
    leave_behind(1)
    leave_behind(2)
    with sweeping(ledger, moody, deadline_s=0.3) as watched:
        watched.so(lambda: watched.sweep.left == 2)
    assert watched.sweep.left == 2
    assert [line for line in watched.lines if "its lease is left to expire" in line]


def test_cut_that_cannot_be_finished_is_not_forgotten(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    """The stand-in cannot be opened, nor the operator's proxy, while a thief has the address."""
    fault = path.fault(expires_in_s=-5, types=("timeout",))
    path.inject(fault)
    path.cut(fault)
    path.call("POST", f"/proxies/{stand_in(fault)}", {"enabled": False})
    with socket.create_server(("127.0.0.1", int(path.listen.rpartition(":")[2]))) as thief:
        with sweeping(ledger, path.url, deadline_s=0.5) as watched:
            watched.until("NOT UNDONE")
            watched.so(lambda: watched.sweep.left == 1)
            watched.look_again()
            assert len(watched.lines) == 1
            thief.close()
            watched.until("undone")
            watched.so(lambda: watched.sweep.left == 0)
    assert path.is_normal()


def test_late_call_is_looked_at_again_until_it_cannot_come_any_more(
    path: OperatorPath, ledger: FaultLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (calls, undo):
        monkeypatch.setattr(module, "LATE_S", 4.0)
    lost = [True]

    def loses_one(method: str, where: str, body: bytes) -> Fate:
        if (method, where) == ("POST", f"/proxies/{ORIGINAL}") and lost:
            lost.clear()
            return Fate.UNANSWERED
        return Fate.PASSED

    with relay(path.url, loses_one) as api:
        fault = replace(path.fault(expires_in_s=-5, types=("timeout",)), server=api.url)
        ledger.record(fault)
        path.inject(fault)
        with sweeping(ledger, api.url) as watched:
            watched.until("it is looked at again until then")
            assert watched.sweep.left == 1
            assert ledger.path(fault.name).exists()
            path.close()  # the close that was given up takes effect
            watched.so(lambda: path.show()["enabled"] is True)
            watched.so(lambda: not ledger.path(fault.name).exists())
            watched.so(lambda: watched.sweep.left == 0)
    assert [line.partition(":")[0] for line in watched.lines] == ["undone", "note", "note"]
    assert watched.sweep.undone == 1
    assert path.is_normal()


def test_servers_that_never_showed_anything_are_known(moody: str, ledger: FaultLedger) -> None:
    absent = f"http://127.0.0.1:{free_port()}"
    with sweeping(ledger, moody, absent, f"{absent}/") as watched:
        watched.until(f"{absent}: NOT REACHED: connection refused; is a Toxiproxy")
        watched.so(lambda: bool(Moody.proxies))
        Moody.mood = "babbles"  # it was reached once
        watched.until(f"{moody}: NOT REACHED")
        Moody.mood = "well"
    assert watched.sweep.never_reached == (absent,)


def test_hanging_server_delays_no_other(path: OperatorPath, ledger: FaultLedger) -> None:
    with silent_server() as hanging:
        place = OperatorPath(hanging, f"127.0.0.1:{free_port()}", "127.0.0.1:1")
        for n in range(20):
            ledger.record(place.fault(n, run="run002", expires_in_s=-5))
        with sweeping(ledger, hanging, path.url, deadline_s=1.0) as watched:
            for _ in range(3):
                began_s = time.monotonic()
                inject_briefly(path)
                watched.so(lambda: path.toxics() == [])
                assert time.monotonic() - began_s < 4.0
            watched.until(f"{hanging}: NOT REACHED")
            watched.until("NOT UNDONE: cb.run002")
            began_s = time.monotonic()
    assert time.monotonic() - began_s < 12.0  # what is being undone is given its deadlines
    assert path.is_normal()
    assert watched.sweep.left == 20


def test_lease_is_renewed_before_the_old_one_goes(moody: str, ledger: FaultLedger) -> None:
    start_epoch_s, began_s = time.time(), time.monotonic()

    def hurried() -> float:  # a minute in a second
        return start_epoch_s + 60 * (time.monotonic() - began_s)

    with sweeping(ledger, moody, epoch_s=hurried) as watched:
        watched.so(lambda: len(Moody.calls) >= 9)
    made = [call.split()[1] for call in Moody.calls if call.startswith("POST")]
    assert len(set(made)) == len(made) >= 4
    wanted = [f"POST {made[0]}"]
    for old, new in pairwise(made):
        wanted += [f"POST {new}", f"DELETE {old}"]
    assert Moody.calls == [*wanted, f"DELETE {made[-1]}"]
    assert watched.lines == []


def test_term_of_the_lease_follows_the_interval(moody: str, ledger: FaultLedger) -> None:
    with sweeping(ledger, moody, every_s=100.0) as watched:
        watched.so(lambda: bool(leases(list(Moody.proxies))))
        (name,) = leases(list(Moody.proxies))
        lease = parse(name)
        assert lease is not None
        assert 290 < lease.expires_epoch_s - time.time() <= 300


def test_lease_of_the_longest_round_is_honoured(moody: str, ledger: FaultLedger) -> None:
    with sweeping(ledger, moody, every_s=LONGEST_ROUND_S) as watched:
        watched.so(lambda: bool(leases(list(Moody.proxies))))
        lease = parse(leases(list(Moody.proxies))[0])
        assert lease is not None
        left_s = lease.expires_epoch_s - time.time()
        assert 3 * LONGEST_ROUND_S - 10 < left_s <= HONOURED_S - 60


def test_hundreds_of_rounds_leave_nothing_behind_in_the_process(
    moody: str, ledger: FaultLedger
) -> None:
    """Threads, descriptors and memory, with all that can happen going on in between."""
    looks = 0

    def counted() -> float:
        nonlocal looks
        looks += 1
        return time.time()

    def go_on(rounds: int) -> tuple[int, int, int]:
        wanted = looks + rounds
        for n in range(6):
            Moody.mood = ("well", "babbles", "stubborn")[n % 3]
            name = leave_behind(n) if Moody.mood != "babbles" else ""
            watched.so(partial(lambda n: looks > wanted - rounds * (5 - n) / 6, n))
            Moody.proxies.pop(name, None)
        Moody.mood = "well"
        watched.so(lambda: watched.sweep.left == 0)
        watched.lines.clear()
        Moody.calls.clear()
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        return descriptors, threading.active_count(), tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        with sweeping(ledger, moody, every_s=0.002, deadline_s=0.05, epoch_s=counted) as watched:
            first = go_on(150)
            second = go_on(600)
    finally:
        tracemalloc.stop()
    assert second[0] <= first[0] + 2  # a call may just be on its way
    assert second[1] <= first[1] + 2
    assert second[2] <= first[2] + 100_000
