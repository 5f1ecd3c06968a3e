"""Child processes of the command line: they die with us, because their stdin is our pipe."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from chaosbandit.cli.interrupts import unwind_from_now_on
from chaosbandit.errors import HarnessError

START_S = 10.0
STOP_S = 3.0


@contextmanager
def child(command: Sequence[str], what: str) -> Iterator[str]:
    """Run a server process and yield the URL that ends its first line of output.

    It leads its own session, so that Ctrl-C reaches only us and we can restore faults first.

    Raises:
        HarnessError: it did not say where it listens within `START_S` seconds.
    """
    unwind_from_now_on()
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield _first_line(process, what).split()[-1]
    finally:
        _end(process)


def _first_line(process: subprocess.Popen[str], what: str) -> str:
    killer = threading.Timer(START_S, process.kill)
    killer.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
    finally:
        killer.cancel()
    if "http://" in line:
        return line
    process.kill()
    _, error = process.communicate()
    raise HarnessError(f"{what} did not start: {error.strip() or line.strip() or 'no output'}")


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


@contextmanager
def embedded_toxiproxy(seed: int | None = None) -> Iterator[str]:
    """Our own server as a process on a free loopback port; yields the URL of its API."""
    module = "chaosbandit.toxiproxy.server"
    command = [sys.executable, "-m", module, "--host", "127.0.0.1", "--port", "0"]
    command += [] if seed is None else ["--seed", str(seed)]
    with child([*command, "--exit-with-stdin"], "the embedded Toxiproxy") as url:
        yield url
