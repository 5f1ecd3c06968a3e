"""Runs `striking` for several combinations of server and topology side by side.

Each is a process of its own, since it forks; they share nothing but this machine's cores.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faultpoints.points import Point
from tests.faultpoints.striking import Strike
from tests.faultpoints.worlds import Topology
from tests.servers import Kind, real_server_path

_ROOT = Path(__file__).parents[2]
_TELL_EVERY_S = 15.0
_STOP_S = 15.0

Combination = tuple[Kind, Topology]


class BrokenStrikingError(Exception):
    """A combination could not be struck at all; the text has what it said."""


def combinations() -> list[Combination]:
    """All four, or the two of the embedded server where this machine has no real one."""
    kinds: list[Kind] = ["embedded", "real"] if real_server_path() else ["embedded"]
    topologies: list[Topology] = ["edge", "canary"]
    return [(kind, topology) for kind in kinds for topology in topologies]


def strikes(
    wanted: Sequence[Combination],
    options: Sequence[str],
    *,
    tell: Callable[[str], None],
    at_once: int = 2,
) -> list[Strike]:
    """Strike them with these options of `striking`, some at once; `tell` hears of progress.

    Raises:
        BrokenStrikingError: one of them ended before it had struck everything.
    """
    found: list[Strike] = []
    for n in range(0, len(wanted), at_once):
        found += _together(wanted[n : n + at_once], options, tell)
    return found


def _together(
    wanted: Sequence[Combination], options: Sequence[str], tell: Callable[[str], None]
) -> list[Strike]:
    with ExitStack() as stack:
        workers = [stack.enter_context(_Worker(*pair, options).running()) for pair in wanted]
        next_s = time.monotonic() + _TELL_EVERY_S
        while any(worker.process.poll() is None for worker in workers):
            time.sleep(0.1)
            if time.monotonic() > next_s:
                next_s += _TELL_EVERY_S
                tell(", ".join(worker.progress() for worker in workers))
        return [found for worker in workers for found in worker.found()]


class _Worker:
    """One combination, its output in files."""

    def __init__(self, kind: Kind, topology: Topology, options: Sequence[str]) -> None:
        self._name = f"{kind} {topology}"
        where = ["--server", kind, "--topology", topology]
        self._command = [sys.executable, "-m", "tests.faultpoints.striking", *where, *options]
        self.process: subprocess.Popen[bytes]

    @contextmanager
    def running(self) -> Iterator[_Worker]:
        """Have it going; what is not over at the end is ended, with its servers."""
        with tempfile.TemporaryDirectory(prefix="cb-striking-") as folder:
            self._out, self._err = Path(folder) / "out", Path(folder) / "err"
            with self._out.open("wb") as out, self._err.open("wb") as err:
                self.process = subprocess.Popen(
                    self._command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=_ROOT
                )
            try:
                yield self
            finally:
                self._end()

    def progress(self) -> str:
        """How far it is, in a few words."""
        struck = self._struck()
        return f"{self._name}: {len(struck)} struck, {sum(bool(s.left) for s in struck)} bad"

    def found(self) -> list[Strike]:
        """Everything it found out, once it is over."""
        said = self._err.read_text()
        if self.process.returncode not in (0, 1) or "Traceback" in said:
            raise BrokenStrikingError(f"{self._name} ended early:\n{said}")
        return self._struck()

    def _struck(self) -> list[Strike]:
        lines = self._out.read_text().split("\n")[:-1]  # what follows the last one is not whole
        return [_strike(json.loads(line)) for line in lines]

    def _end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _strike(value: dict[str, object]) -> Strike:
    point = value["point"]
    assert isinstance(point, dict)
    left, rest = value["left"], value["residue"]
    assert isinstance(left, list)
    assert isinstance(rest, list)
    return Strike(
        str(value["world"]),
        Point(**point),
        float(str(value["normal_s"])),
        (*left,),
        (*rest,),
        bool(value["watched"]),
    )
