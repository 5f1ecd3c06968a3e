"""One fault in the watchdog's charge, in this process: in turn, in time, and told."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaosbandit.faults.fault import Fault
from chaosbandit.safety import watchdog_one_fault
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.safety.watchdog_one_fault import ArmedFault
from chaosbandit.toxiproxy.undo import Late, NotUndoneError, Others, Undone, Way, undo
from tests.safety.watched_path import ORIGINAL, WatchedPath, nowhere, watched_path
from tests.waiting import wait_for


@pytest.fixture
def path(toxiproxy_url: str) -> Iterator[WatchedPath]:
    with watched_path(toxiproxy_url) as path:
        yield path


class Taken:
    """A fault in the charge of this process, at rest, and what is said about it."""

    def __init__(self, fault: Fault, directory: Path) -> None:
        self.fault = fault
        self.notes: list[str] = []
        self.ledger = FaultLedger(directory)
        self.armed = ArmedFault(fault, self.ledger.record(fault), self.notes.append)
        self.armed.rests = True

    def written(self) -> bool:
        """Whether it is still on the ledger."""
        return self.ledger.entries().entries != ()


@contextlib.contextmanager
def taken(fault: Fault, directory: Path) -> Iterator[Taken]:
    it = Taken(fault, directory)
    try:
        yield it
    finally:
        it.armed.stop()


@contextlib.contextmanager
def frozen() -> Iterator[tuple[Fault, socket.socket]]:
    """A fault at a server that accepts connections and never answers, and its listener."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield replace(nowhere().fault(), server=url), listener


def test_what_is_asked_during_an_undoing_is_done_after_it(
    path: WatchedPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undoing, go_on = threading.Event(), threading.Event()

    def held(*arguments: Any, **options: Any) -> Undone:
        undone = undo(*arguments, **options)
        undoing.set()
        go_on.wait(20)
        return undone

    monkeypatch.setattr(watchdog_one_fault, "undo", held)
    with taken(path.fault(), tmp_path) as it:
        path.inject(it.fault)
        it.armed.undo("silence", Way.CUT)
        assert undoing.wait(20)
        assert path.is_normal()
        path.inject(it.fault)  # by a run that woke up, and dies right after it
        it.armed.undo("the run is gone", Way.CUT)
        assert it.armed.busy()
        go_on.set()
        assert it.armed.wait() is True
        assert not it.armed.busy()
        assert path.is_normal()
        assert not it.written()
    assert [note.partition(" is undone ")[2].partition(":")[0] for note in it.notes] == [
        "(silence)", "(the run is gone)",
    ]  # fmt: skip


def test_two_undoings_of_a_fault_never_meet(
    path: WatchedPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work, most = 0, 0

    def counted(*arguments: Any, **options: Any) -> Undone:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        time.sleep(0.05)
        undone = undo(*arguments, **options)
        at_work -= 1
        return undone

    monkeypatch.setattr(watchdog_one_fault, "undo", counted)
    with taken(path.fault(), tmp_path) as it:
        path.inject(it.fault)
        for _ in range(5):
            it.armed.undo("again", Way.QUIET)
            wait_for(lambda: at_work)
            it.armed.undo("and again", Way.QUIET)
        assert it.armed.wait() is True
    assert most == 1
    assert path.is_normal()
    assert it.notes == []


def test_living_runs_fault_is_undone_quietly_and_may_be_asked_for_again(
    path: WatchedPath, tmp_path: Path
) -> None:
    with taken(path.fault(), tmp_path) as it, path.connect() as client:
        for _ in range(2):
            path.inject(it.fault)
            it.armed.undo("the fault has outlived its time", Way.QUIET)
            assert it.armed.wait() is True
            assert path.is_normal()
        client.sendall(b"x")
        assert client.recv(1) == b"x"
    assert it.notes == []


def test_path_of_ours_goes_with_a_dead_run_only(path: WatchedPath, tmp_path: Path) -> None:
    ours = path.path_of_ours()
    toxic = path.fault().toxics[0]
    fault = replace(ours, name=toxic.name, toxics=(toxic,))
    assert path.make(fault) == 201
    with taken(fault, tmp_path) as it:
        path.inject(fault)
        it.armed.undo("the fault has outlived its time", Way.QUIET)
        assert it.armed.wait() is True
        assert path.toxics(fault.proxy) == []
        assert path.names() == sorted([fault.proxy, ORIGINAL])
        path.inject(fault)
        it.armed.undo("the run is gone", Way.CUT)
        assert it.armed.wait() is True
    assert path.names() == [ORIGINAL]


@pytest.mark.parametrize("toxics", [False, True])
def test_only_a_path_without_a_dose_outlives_its_name(tmp_path: Path, toxics: bool) -> None:
    ours, dosed = nowhere().path_of_ours(expires_in_s=5.0), nowhere().fault(expires_in_s=5.0)
    with taken(dosed if toxics else ours, tmp_path) as it:
        left_s = it.armed.expires_s - time.monotonic()
    assert left_s < 6.0 if toxics else left_s == float("inf")


def read_to_its_end(client: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    client.settimeout(10.0)
    with client, client.makefile("rb") as file:
        return file.read()


def test_stopped_fault_is_left_alone_at_once(tmp_path: Path) -> None:
    with frozen() as (fault, listener), taken(fault, tmp_path) as it:
        it.armed.undo("silence", Way.CUT)
        listener.settimeout(10.0)
        clients = [listener.accept()[0]]
        it.armed.stop()
        sent = read_to_its_end(clients[0])  # the calls under way have their deadlines
        listener.settimeout(0.0)
        with contextlib.suppress(BlockingIOError):
            while True:
                clients.append(listener.accept()[0])
        sent += b"".join(map(read_to_its_end, clients[1:]))
        assert sent.count(b"HTTP/1.1") <= 4  # one look, and at most what a cut has begun with
    assert it.notes == []


def test_bypass_is_used_once_when_undoing_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog_one_fault, "BYPASS_AFTER_S", 0.3)
    monkeypatch.setattr(watchdog_one_fault, "UNDO_S", 1.0)
    used = tmp_path / "used"
    command = ("sh", "-c", f'echo "$CHAOSBANDIT_PROXY" >> {used}')
    with frozen() as (fault, _), taken(replace(fault, bypass=command), tmp_path) as it:
        for _ in range(2):
            it.armed.undo("the run is gone", Way.CUT)
            assert it.armed.wait() is False
        assert it.written()
    assert used.read_text() == f"{ORIGINAL}\n"
    early, said, *late = it.notes
    assert early.startswith("not undone yet (the run is gone) cb.")
    assert "ended with status 0: take it back" in said
    given_up = [note for note in late if note.startswith("NOT UNDONE (the run is gone)")]
    assert len(given_up) == 2


@pytest.mark.parametrize("bypassed", [False, True])
def test_bypass_is_not_used_where_undoing_works_or_where_it_was_used(
    path: WatchedPath, tmp_path: Path, bypassed: bool
) -> None:
    used = tmp_path / "used"
    with taken(replace(path.fault(), bypass=("touch", str(used))), tmp_path) as it:
        path.inject(it.fault)
        it.armed.undo("the run is gone", Way.CUT, bypassed=bypassed)
        assert it.armed.wait() is True
    assert not used.exists()


def test_bypass_that_was_used_before_is_told_to_be_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Undone | str] = ["it hangs", Undone()]
    monkeypatch.setattr(watchdog_one_fault, "undo", answering(answers))
    monkeypatch.setattr(watchdog_one_fault, "BYPASS_AFTER_S", 0.0)
    fault = replace(nowhere().fault(), bypass=("true",))
    with taken(fault, tmp_path) as it:
        it.armed.undo("the run is gone", Way.CUT)
        assert it.armed.wait() is True
    assert it.notes[-1] == f"{fault.name} is undone after all: take the bypass back"


def answering(answers: list[Undone | str]) -> Any:
    """In place of `undo`: one answer after the other, a text is a failure, the last one stays."""

    def answered(fault: Fault, *_: object, **__: object) -> Undone:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, str):
            raise NotUndoneError(fault, answer, served_by="cb-standin.x")
        return answer

    return answered


def test_what_serves_users_meanwhile_and_what_was_done_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undone = Undone(cut=True, connections_cut=12, replaced=True, others=Others.CLOSED)
    monkeypatch.setattr(watchdog_one_fault, "undo", answering(["it hangs", undone]))
    with taken(nowhere().fault(), tmp_path) as it:
        it.armed.undo("the run is gone", Way.CUT)
        assert it.armed.wait() is True
        assert not it.written()
    name = it.fault.name
    assert it.notes == [
        f"not undone yet (the run is gone) {name}: it hangs; users are served by cb-standin.x",
        f"{name} is undone (the run is gone): inventory 12 connections were cut; it was deleted "
        "and created as it was",
        "inventory was found closed, by others; left so",
    ]


def test_late_calls_of_its_own_are_waited_for_too(
    path: WatchedPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late_once(*arguments: Any, **options: Any) -> Undone:
        monkeypatch.setattr(watchdog_one_fault, "undo", undo)
        undone = undo(*arguments, **options)
        return replace(undone, late=Late(time.monotonic() + 2.0, closes=True))

    monkeypatch.setattr(watchdog_one_fault, "undo", late_once)
    with taken(path.fault(), tmp_path) as it:
        it.armed.undo("the run is gone", Way.CUT)
        asked_s = time.monotonic()
        wait_for(path.is_normal)
        assert it.written()
        assert path.call("POST", f"/proxies/{ORIGINAL}", {"enabled": False}) == 200
        assert it.armed.wait() is True
        assert time.monotonic() - asked_s > 1.9
        assert not it.written()
    assert path.is_normal()


def test_dead_server_has_no_late_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog_one_fault, "undo", answering([Undone(died=True)]))
    with taken(nowhere().fault(), tmp_path) as it:
        it.armed.rests = False
        it.armed.undo("the run is gone", Way.CUT)
        asked_s = time.monotonic()
        assert it.armed.wait() is True
        assert time.monotonic() - asked_s < 5.0
        assert not it.written()


def test_file_that_cannot_be_removed_is_told_and_waits_for_nobody(
    path: WatchedPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(f"{path.name} stays")

    monkeypatch.setattr(watchdog_one_fault, "remove_durably", full)
    with taken(path.fault(), tmp_path) as it:
        it.armed.undo("the run is gone", Way.CUT)
        assert it.armed.wait() is True
    assert it.notes == [
        f"{it.fault.name} is gone, but not its file in the ledger: {it.fault.name}.json stays"
    ]
