"""The real services start, answer and are gone afterwards, whatever happened in between."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psycopg
import pymysql
import pytest
from redis import Redis

from tests.real_parts import PACKAGES, PARTS, Part, missing, needs, nginx, program, redis
from tests.waiting import wait_for

ROOT = Path(__file__).parents[1]
PATIENCE_S = 10.0


def _postgresql(part: Part) -> object:
    with psycopg.connect(host=part.host, port=part.port, user="postgres", sslmode="disable") as db:
        return db.execute("SELECT 6 * 7").fetchone()


def _mariadb(part: Part) -> object:
    with contextlib.closing(pymysql.connect(host=part.host, port=part.port, user="root")) as db:
        with db.cursor() as cursor:
            cursor.execute("SELECT 6 * 7")
            return cursor.fetchone()


def _redis(part: Part) -> object:
    with contextlib.closing(Redis(host=part.host, port=part.port)) as db:
        db.set("answer", 42)
        return db.get("answer")


def _nginx(part: Part) -> object:
    with urllib.request.urlopen(f"http://{part.address}/", timeout=PATIENCE_S) as answer:
        return answer.read()


ASK: dict[str, tuple[Callable[[Part], object], object]] = {
    "postgresql": (_postgresql, (42,)),
    "mariadb": (_mariadb, (42,)),
    "redis": (_redis, b"42"),
    "nginx": (_nginx, b"well\n"),
}


def gone(part: Part) -> bool:
    """Whether neither its process nor its port nor its folder is left."""
    with contextlib.suppress(OSError), socket.create_connection((part.host, part.port)):
        return False
    return not Path(f"/proc/{part.pid}").exists() and not part.folder.exists()


@pytest.mark.e2e
@pytest.mark.parametrize("name", PARTS)
def test_a_part_answers_and_is_gone_afterwards(name: str) -> None:
    needs(name)
    ask, wanted = ASK[name]
    with PARTS[name].start() as part:
        assert ask(part) == wanted
        assert Path(f"/proc/{part.pid}").stat().st_uid != 0
    assert gone(part)


@pytest.mark.e2e
@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_gone_when_a_client_stays_and_something_fails(name: str) -> None:
    needs(name)
    with contextlib.ExitStack() as stack:
        with pytest.raises(ZeroDivisionError), PARTS[name].start() as part:
            client = socket.create_connection((part.host, part.port), timeout=PATIENCE_S)
            stack.enter_context(client)
            ASK[name][0](part)  # so that the silent client was accepted before
            raise ZeroDivisionError
        assert gone(part)


@pytest.mark.e2e
def test_a_stopped_part_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("redis")
    monkeypatch.setattr("tests.real_parts._STOP_S", 0.2)
    with redis() as part:
        os.kill(part.pid, signal.SIGSTOP)
    assert gone(part)


@pytest.mark.e2e
def test_a_part_dies_with_the_process_that_started_it() -> None:
    needs("redis")
    script = (
        "import sys; from tests.real_parts import redis\n"
        "with redis() as part: print(part.pid, flush=True); sys.stdin.read()"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        with subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": folder},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            parent.kill()
        wait_for(lambda: not _lives(pid), PATIENCE_S)


@pytest.mark.e2e
def test_what_does_not_start_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("nginx")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        wrong = nginx("nonsense;")
        with pytest.raises(RuntimeError, match=r"(?s)nginx did not start.*nonsense"), wrong:
            pass
        assert not [*Path(folder).iterdir()]


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    for name, package in PACKAGES.items():
        with pytest.raises(FileNotFoundError, match=f"no {name} .*: apt-get install {package}$"):
            program(name)


def test_a_missing_part_is_a_reason_to_skip_but_not_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.delenv("CI", raising=False)
    assert missing("redis") == "no redis-server on this machine: apt-get install redis-server"
    monkeypatch.setenv("CI", "true")
    with pytest.raises(FileNotFoundError, match="redis-server"):
        missing("redis")


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
