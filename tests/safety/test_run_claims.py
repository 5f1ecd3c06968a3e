"""Locks of runs on one host: one holder each, and none that outlives its process."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from chaosbandit.errors import TargetError
from chaosbandit.safety import lock_files
from chaosbandit.safety.lock_files import locked, unlock
from chaosbandit.safety.owned_files import open_ours
from chaosbandit.safety.run_claims import RunClaims
from chaosbandit.toxiproxy.lease import Claim
from tests.waiting import wait_to_be_killed

CLAIM = Claim("http://127.0.0.1:8474", "127.0.0.1:9200", "127.0.0.1:9101", 4_000_000_000)


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_second_run_is_told_who_has_it_and_until_when(tmp_path: Path) -> None:
    first, second = RunClaims(tmp_path, "run001"), RunClaims(tmp_path, "run002")
    first.take(replace(CLAIM, until_epoch_s=int(time.time()) + 100, listen=None))
    with pytest.raises(TargetError) as refusal:
        second.take(CLAIM)
    text = str(refusal.value)
    assert f"run run001 (process {os.getpid()}) has target 127.0.0.1:9200 until " in text
    assert "Z (in 9" in text or "Z (in 100 s) at the latest" in text
    assert "wait for it or stop it" in text
    first.release()
    assert files(tmp_path) == []
    second.take(CLAIM)
    second.release()


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({}, True),
        ({"listen": "127.0.0.1:9102"}, True),  # the target is the same
        ({"listen": "127.0.0.1:9102", "target": "localhost:9200"}, True),
        ({"listen": "127.0.0.1:9102", "target": "[::1]:9200"}, True),
        ({"target": "127.0.0.1:9201"}, True),  # the listen address is the same
        ({"target": "127.0.0.1:9201", "listen": "localhost:9101"}, True),
        ({"target": "127.0.0.1:9201", "server": "http://localhost:8474/"}, True),
        ({"target": "127.0.0.1:9201", "server": "http://127.0.0.1:8475"}, False),
        ({"target": "127.0.0.1:9201", "listen": "127.0.0.1:9102"}, False),
        ({"target": "127.0.0.1:9201", "listen": "127.0.0.1:0"}, False),
        ({"target": "127.0.0.1:9201", "listen": None}, False),
        ({"target": "shop.test:9200", "listen": None}, False),
    ],
)
def test_what_is_one_claim(tmp_path: Path, change: dict[str, str], refused: bool) -> None:
    first, second = RunClaims(tmp_path, "run001"), RunClaims(tmp_path, "run002")
    first.take(CLAIM)
    try:
        second.take(replace(CLAIM, **change))  # type: ignore[arg-type]
    except TargetError:
        assert refused
    else:
        assert not refused
    second.release()
    first.release()
    assert files(tmp_path) == []


@pytest.mark.parametrize("listen", [":9101", "0.0.0.0:9101", "[::]:9101"])
def test_every_spelling_of_everywhere_is_one_listen_address(tmp_path: Path, listen: str) -> None:
    first, second = RunClaims(tmp_path, "run001"), RunClaims(tmp_path, "run002")
    first.take(replace(CLAIM, listen=":9101"))
    with pytest.raises(TargetError, match="proxy address :9101"):
        second.take(replace(CLAIM, target="127.0.0.1:9201", listen=listen))
    first.release()


@pytest.mark.parametrize("listen", ["127.0.0.1:0", ":0", None])
def test_ports_that_the_server_chooses_never_conflict(tmp_path: Path, listen: str | None) -> None:
    first, second = RunClaims(tmp_path, "run001"), RunClaims(tmp_path, "run002")
    first.take(replace(CLAIM, listen=listen))
    second.take(replace(CLAIM, listen=listen, target="127.0.0.1:9201"))
    assert len(files(tmp_path)) == 2
    first.release()
    second.release()


def test_a_run_is_not_in_its_own_way(tmp_path: Path) -> None:
    first, again = RunClaims(tmp_path, "run001"), RunClaims(tmp_path, "run001")
    first.take(CLAIM)
    again.take(CLAIM)
    again.release()
    with pytest.raises(TargetError):
        RunClaims(tmp_path, "run002").take(CLAIM)
    first.release()


def test_holder_that_has_not_written_yet_is_respected_too(tmp_path: Path) -> None:
    first = RunClaims(tmp_path, "run001")
    first.take(replace(CLAIM, listen=None))
    (tmp_path / files(tmp_path)[0]).write_text("{")
    with pytest.raises(TargetError, match=r"^another run has target 127\.0\.0\.1:9200; wait"):
        RunClaims(tmp_path, "run002").take(CLAIM)
    first.release()


def test_of_many_at_once_exactly_one_has_it(tmp_path: Path) -> None:
    together = threading.Barrier(20)
    claims = [RunClaims(tmp_path, f"run{n:03}") for n in range(20)]
    holders: list[RunClaims] = []

    def start(mine: RunClaims) -> None:
        together.wait()
        with contextlib.suppress(TargetError):
            mine.take(CLAIM)
            holders.append(mine)

    threads = [threading.Thread(target=start, args=(mine,)) for mine in claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(holders) == 1
    assert len(files(tmp_path)) == 2
    holders[0].release()
    assert files(tmp_path) == []


def test_a_file_that_its_former_owner_removes_meanwhile_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two runs hold locks on two files of one name."""
    path = tmp_path / "claim"

    def opened_too_early(path: Path, flags: int) -> int:
        monkeypatch.undo()
        found = open_ours(path, flags)
        path.unlink()
        return found

    monkeypatch.setattr(lock_files, "open_ours", opened_too_early)
    file = locked(path)
    with pytest.raises(BlockingIOError):
        locked(path, 0.0)
    unlock(file, path)
    assert files(tmp_path) == []


def test_claim_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    ready, tell = os.pipe()
    holder = os.fork()
    if holder == 0:
        held = RunClaims(tmp_path, "run001")
        held.take(CLAIM)
        os.write(tell, b"x")
        wait_to_be_killed()
    assert os.read(ready, 1) == b"x"
    for end in (ready, tell):
        os.close(end)
    mine = RunClaims(tmp_path, "run002")
    try:
        with pytest.raises(TargetError, match=f"run run001 .process {holder}. has "):
            mine.take(CLAIM)
    finally:
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
    assert len(files(tmp_path)) == 2  # the files stay, but nobody holds them
    mine.take(CLAIM)
    mine.release()
    assert files(tmp_path) == []


def test_forked_worker_neither_keeps_nor_removes_a_claim(tmp_path: Path) -> None:
    mine = RunClaims(tmp_path, "run001")
    mine.take(CLAIM)
    worker = os.fork()
    if worker == 0:
        mine.release()
        os._exit(0)
    assert os.waitpid(worker, 0)[1] == 0
    assert len(files(tmp_path)) == 2
    worker = os.fork()
    if worker == 0:
        wait_to_be_killed()
    try:
        mine.release()
        other = RunClaims(tmp_path, "run002")
        other.take(CLAIM)
        other.release()
    finally:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)


def test_file_of_somebody_else_at_our_path_is_left_there(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    ours = locked(path)
    path.unlink()  # whoever tidied up
    theirs = locked(path)
    unlock(ours, path)
    assert path.exists()
    with pytest.raises(BlockingIOError):
        locked(path, 0.05)
    unlock(theirs, path)
    assert not path.exists()


def test_lock_is_neither_taken_nor_read_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    mine = RunClaims(tmp_path, "run001")
    mine.take(replace(CLAIM, listen=None))
    (path,) = mine.paths()
    mine.release()
    path.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"):
        mine.take(replace(CLAIM, listen=None))
    assert victim.read_text() == "precious"
    assert path.is_symlink()
