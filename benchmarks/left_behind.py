"""What is ever left behind? Runs struck in every way we could think of, and what was still there.

The first part is a matrix of situations, each on both servers, many times, at moments drawn from a
seed; topologies take turns. With `--points`, runs are killed at the first occurrence of every fault
point of a campaign as well: each journal and ledger write, each step at the server, each watchdog
message and await; with `--random`, at so many more, whichever.

Watched are runs that were killed while a call was on the wire: path and server are as before, and
a watchdog looks for a minute whether that call arrives late. What it leaves is left behind.

    python benchmarks/left_behind.py --times 10 --points --random 200
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.faultpoints.combinations import combinations, strikes
from tests.faultpoints.meddling import EVERY
from tests.faultpoints.outages import Server
from tests.faultpoints.situations import Outcome, Place
from tests.faultpoints.worlds import Topology, World, wait_for_watchdogs, world
from tests.servers import Kind, real_server_path

POINTS = "SIGKILL at fault points"


@dataclass(slots=True)
class Row:
    """One line of the table."""

    situation: str
    server: str
    tried: int = 0
    watched: int = 0
    left_behind: int = 0
    slowest_s: float = 0.0
    bad: list[str] = field(default_factory=list)

    def add(self, normal_s: float, bad: str, *, watched: bool) -> None:
        """Count one strike."""
        self.tried += 1
        self.watched += watched
        self.slowest_s = max(self.slowest_s, normal_s)
        self.left(bad)

    def left(self, bad: str) -> None:
        """Count what was left behind, if anything was."""
        if bad:
            self.left_behind += 1
            self.bad.append(bad)
            _say(f"LEFT BEHIND: {self.situation}, {self.server}: {bad}")


class Worlds:
    """Both topologies on one server, built anew after something was left."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._stack = ExitStack()
        self._worlds: dict[Topology, tuple[World, Server]] = {}
        self._states: list[Path] = []

    def __enter__(self) -> Worlds:
        return self

    def __exit__(self, *_: object) -> None:
        self._forget()

    def place(self, topology: Topology) -> Place:
        """Where the next strike happens."""
        if topology not in self._worlds:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
            server = self._stack.enter_context(Server(self._kind, folder))
            there = world(self._kind, topology, server=server.url, long=True)
            self._worlds[topology] = (self._stack.enter_context(there), server)
        made = tempfile.TemporaryDirectory(prefix="cb-left-", ignore_cleanup_errors=True)
        self._states.append(Path(self._stack.enter_context(made)))
        return Place(*self._worlds[topology], self._states[-1], self._stack)

    def end(self) -> str:
        """Wait for all watchdogs, then end all servers; says what was left for good."""
        left = wait_for_watchdogs(self._states)
        left += [line for there, _ in self._worlds.values() for line in there.sick()]
        self._forget()
        return "; ".join(left)

    def _forget(self) -> None:
        self._worlds.clear()
        self._states.clear()
        self._stack.close()


def matrix(names: Sequence[str], kinds: Sequence[Kind], times: int, seed: int) -> Iterator[Row]:
    """Every situation on every server."""
    for kind in kinds:
        with Worlds(kind) as worlds:
            for name in names:
                row = Row(name, kind)
                for n in range(times):
                    topology: Topology = "edge" if n % 3 == 2 else "canary"
                    outcome = _struck(worlds.place(topology), name, f"{seed}/{kind}/{name}/{n}")
                    wrong = "; ".join((*outcome.left, *outcome.lied))
                    bad = f"{topology}, {outcome.did}: {wrong}" if wrong else ""
                    row.add(outcome.normal_s, bad, watched=outcome.watched)
                    if outcome.bad:
                        worlds.end()
                    did = f"{topology}, {outcome.did}: exit {outcome.code}"
                    _say(f"{name}, {kind}, {n + 1} of {times}: {did}")
                row.left(worlds.end())
                yield row


def _struck(place: Place, name: str, seed: str) -> Outcome:
    try:
        return EVERY[name](place, Random(seed))
    except (AssertionError, OSError) as error:  # nobody may think that this went well
        return Outcome("could not be judged", None, 0.0, (str(error)[:500],))


def points(options: Sequence[str]) -> Iterator[Row]:
    """Fault points of a campaign, on both servers and topologies."""
    rows: dict[str, Row] = {}
    began_s = time.monotonic()
    for strike in strikes(combinations(), options, tell=_say, at_once=1):
        row = rows.setdefault(strike.world, Row(POINTS, strike.world))
        bad = f"{strike.point}: {'; '.join(strike.left)}" if strike.left else ""
        if strike.is_end:
            row.left(bad)
        else:
            row.add(strike.normal_s, bad, watched=strike.watched)
    _say(f"all points took {time.monotonic() - began_s:.0f} s")
    yield from rows.values()


def table(rows: Sequence[Row]) -> str:
    """The rows as text."""
    wide = max(len(row.situation) for row in rows)
    lines = [f"{'situation':<{wide}}  {'server':<15}  tried  slowest  watched  left behind"]
    lines += [
        f"{row.situation:<{wide}}  {row.server:<15}  {row.tried:5d}  {row.slowest_s:5.1f} s  "
        f"{row.watched:7d}  {row.left_behind:11d}"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> int:
    """Print the table; 1 when anything was left behind."""
    options = _options()
    signal.signal(signal.SIGTERM, _leave)
    kinds: list[Kind] = ["embedded", "real"] if real_server_path() else ["embedded"]
    names = [] if options.only_points else [*EVERY]
    rows: list[Row] = []
    try:
        for row in matrix(options.only or names, kinds, options.times, options.seed):
            rows.append(row)
        if options.points or options.random:
            asked = ["--random", str(options.random), "--seed", str(options.seed)]
            rows += points([*asked, *([] if options.points else ["--no-first"])])
    except KeyboardInterrupt:
        _say("interrupted; this is what was found until then")
    if not rows:
        return 1
    found = [{name: getattr(row, name) for name in Row.__dataclass_fields__} for row in rows]
    print(json.dumps(found, indent=2) if options.json else table(rows))
    return 1 if any(row.left_behind for row in rows) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="strikes a situation and server")
    parser.add_argument("--points", action="store_true", help="every fault point once too")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="and N points more")
    parser.add_argument("--only-points", action="store_true", help="no situations")
    parser.add_argument("--only", action="append", choices=[*EVERY], help="may be repeated")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _leave(number: int, _: object) -> NoReturn:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
