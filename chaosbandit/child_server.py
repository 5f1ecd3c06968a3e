"""A server as a child process: it says where it listens, and ends with us by its stdin, our pipe.

It leads its own session, so that Ctrl-C reaches only us and faults are removed first.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import IO

from chaosbandit.deadline_thread import awaited_within
from chaosbandit.errors import HarnessError
from chaosbandit.foreign_text import said

START_S = 10.0
STOP_S = 3.0
_LARGEST = 4096


@contextmanager
def child_server(command: Sequence[str], what: str, start_s: float = START_S) -> Iterator[str]:
    """Run a server process and yield the URL that ends its first line of output.

    Raises:
        HarnessError: it did not say where it listens within `start_s` seconds.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as log:  # a pipe nobody reads may fill up
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            yield _url(process, log, command, what, start_s)
        finally:
            _end(process)


@asynccontextmanager
async def module_as_server(module: str, *arguments: str) -> AsyncIterator[str]:
    """A module of ours as such a process, for an event loop, which goes on meanwhile.

    Raises:
        HarnessError, TimeoutError: it did not say where it listens in time.
    """
    child = child_server([sys.executable, "-m", module, *arguments], module)
    url = await awaited_within(START_S + STOP_S, child.__enter__)
    try:
        yield url
    finally:
        await awaited_within(2 * STOP_S, lambda: child.__exit__(None, None, None))


def _url(
    process: subprocess.Popen[str], log: IO[str], command: Sequence[str], what: str, start_s: float
) -> str:
    line = _first_line(process, start_s)
    if "http://" not in line:
        process.kill()
        process.wait()
        log.seek(0)
        last = log.read(_LARGEST).strip().splitlines()[-1:] or [line]
        found = said(last[0]) or "no output"
        raise HarnessError(
            f"{what} did not start: found {found}, wanted its address within {start_s:g} s; "
            f"see whether `{shlex.join(command)}` starts by hand"
        )
    return line.split()[-1]


def _first_line(process: subprocess.Popen[str], within_s: float) -> str:
    killer = threading.Timer(within_s, process.kill)
    killer.start()
    try:
        assert process.stdout is not None
        return process.stdout.readline()
    finally:
        killer.cancel()


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
