"""Child processes of the command line, ended before we are by whatever ends us."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from chaosbandit.child_server import child_server
from chaosbandit.cli.interrupts import unwind_from_now_on


@contextmanager
def child(command: Sequence[str], what: str) -> Iterator[str]:
    """A server process; yields its URL.

    Raises:
        HarnessError: it did not say where it listens in time.
    """
    unwind_from_now_on()
    with child_server(command, what) as url:
        yield url


@contextmanager
def embedded_toxiproxy(seed: int | None = None) -> Iterator[str]:
    """Our own server as a process on a free loopback port; yields the URL of its API."""
    module = "chaosbandit.toxiproxy.server"
    command = [sys.executable, "-m", module, "--host", "127.0.0.1", "--port", "0"]
    command += [] if seed is None else ["--seed", str(seed)]
    with child([*command, "--exit-with-stdin"], "the embedded Toxiproxy") as url:
        yield url
