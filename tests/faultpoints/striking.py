"""Kills a real campaign at every fault point in turn and sees what is left after each.

    python -m tests.faultpoints.striking --server real --topology canary [--random 200]

Everything is imported once; each campaign runs in a fork of this process, which has no threads.
The first occurrence of every site is struck, and as many points more as wanted, drawn from a seed.
With `--sample`, that many of the sites only, where two frames make one. One JSON line a strike on
stdout; the last one is not about a point but says what the watchdogs have left behind in the end.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import NoReturn, get_args

from tests.faultpoints import hooks
from tests.faultpoints.points import Aim, Point, Striker, read_points
from tests.faultpoints.worlds import Topology, World, residue, wait_for_watchdogs, world
from tests.servers import Kind

PATIENCE_S = 40.0  # for one campaign
TRIES = 3
AGAIN_EVERY = 10  # after every so many strikes a new run must be able to start at once
END = "end"  # the kind of the last line
GOOD = (0, 4)  # exit codes of a campaign that ended in order


@dataclass(frozen=True, slots=True)
class Strike:
    """One campaign that was killed, and what became of it; `left` empty: all is well."""

    world: str
    point: Point
    normal_s: float
    left: tuple[str, ...]
    residue: tuple[str, ...] = ()
    watched: bool = False  # a watchdog looks for late calls, which is no harm

    @property
    def is_end(self) -> bool:
        """Whether it is no strike, but tells what the watchdogs of all have left."""
        return self.point.kind == END


class UnkilledError(Exception):
    """The campaign ended, with this code, before it came to the point."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"it ended with {code}")


def count(there: World, folder: Path) -> list[Point]:
    """All points of one campaign that runs to its end."""
    log = folder / "points"
    for _ in range(TRIES):
        log.unlink(missing_ok=True)
        code = _campaign(there, folder, log, None)
        if code in GOOD:
            break
    said = (folder / "said").read_text()
    assert code in GOOD, f"the campaign that was not struck ended with {code}:\n{said}"
    left = there.wait_until_normal(folder)[1]
    assert not left, f"a campaign that was not struck left {left}"
    return read_points(log)


def strike(there: World, folder: Path, aim: Aim, *, again: bool = False) -> Strike:
    """Kill one campaign at `aim`; with `again`, another run must be able to follow at once.

    Raises:
        UnkilledError: there was no such point this time.
    """
    log = folder / "points"
    code = _campaign(there, folder, log, aim)
    if code != -9:
        raise UnkilledError(code)
    (point,) = read_points(log)
    normal_s, left = there.wait_until_normal(folder)
    rest, watched = residue(folder), bool(there.watched(folder))
    if again and not left:
        left = _next_run(there, folder) + there.wait_until_normal(folder)[1]
    return Strike(there.name, point, normal_s, tuple(left), tuple(rest), watched)


def _next_run(there: World, folder: Path) -> list[str]:
    """Why a run that follows at once does not get through; on a busy machine the second may."""
    for _ in range(TRIES):
        code = _campaign(there, folder, folder / "next", None)
        said = (folder / "said").read_text()
        if code in GOOD:
            return []
        if "steady state" not in said:
            break
    return [f"the next run ended with {code}: {said}"]


class Striking:
    """Strikes on one world; each has a state folder, which is there until the last has ended."""

    def __init__(self, there: World, base: Path, rng: Random) -> None:
        self._there, self._base, self._rng = there, base, rng
        self._struck = 0
        self._points = count(there, self._folder())

    def first(self) -> Iterator[Strike]:
        """The first occurrence of every site."""
        aims = [Aim(kind=p.kind, site=p.site) for p in self._points if p.ordinal == 1]
        _say(f"{self._there.name}: {len(self._points)} points, {len(aims)} sites")
        yield from self._each(aims)

    def sample(self, wanted: int) -> Iterator[Strike]:
        """Some sites of each kind, where two frames make one and none merely follows."""
        firsts = [p for p in self._points if p.ordinal == 1 and not p.follows]
        of_site = {(p.kind, *p.site.split(" < ")[:2]): p for p in reversed(firsts)}
        aims = [Aim(kind=p.kind, site=p.site) for p in of_site.values()]
        self._rng.shuffle(aims)
        before: Counter[str] = Counter()
        turns: dict[Aim, int] = {}
        for aim in aims:
            turns[aim] = before[aim.kind]
            before[aim.kind] += 1
        aims.sort(key=lambda aim: turns[aim])
        _say(f"{self._there.name}: {min(wanted, len(aims))} of {len(aims)} sites")
        yield from self._each(aims[:wanted])

    def random(self, wanted: int) -> Iterator[Strike]:
        """So many points, whatever their sites."""
        while wanted > 0:
            for found in self._each([Aim(n=self._rng.randint(1, len(self._points)))]):
                wanted -= 1
                yield found

    def end(self) -> Strike:
        """Wait for all watchdogs; what they leave is left for good."""
        began_s = time.monotonic()
        left = wait_for_watchdogs(self._base.iterdir()) + self._there.sick()
        last = Point(0, END, "when no watchdog has anything to wait for any more", 1)
        return Strike(self._there.name, last, time.monotonic() - began_s, tuple(left))

    def _each(self, aims: list[Aim]) -> Iterator[Strike]:
        for aim in aims:
            self._struck += 1
            try:
                yield self._one(aim, again=self._struck % AGAIN_EVERY == 0)
            except UnkilledError as error:  # timing differs from run to run, and so do some sites
                _say(f"{self._there.name}: not met again: {aim}: {error}")

    def _one(self, aim: Aim, *, again: bool) -> Strike:
        """As `strike`, repeated when the campaign did not get far on a busy machine."""
        for _ in range(TRIES - 1):
            try:
                return strike(self._there, self._folder(), aim, again=again)
            except UnkilledError as error:
                if error.code in GOOD and aim.n:
                    raise
        return strike(self._there, self._folder(), aim, again=again)

    def _folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._base))


# --- one campaign, in a fork ----------------------------------------------------------------------


def _campaign(there: World, folder: Path, log: Path, aim: Aim | None) -> int:
    """Its exit code, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        _be_the_run(there, folder, log, aim)
    try:
        return _ended(pid)
    except BaseException:
        with suppress(ProcessLookupError):
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        raise


def _ended(pid: int) -> int:
    give_up_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_s:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    raise TimeoutError(f"the campaign in process {pid} did not end within {PATIENCE_S:g} s")


def _be_the_run(there: World, folder: Path, log: Path, aim: Aim | None) -> NoReturn:
    """`chaosbandit run` as the command line starts it, with hooks."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        said = os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for copy, of in ((0, nothing), (1, said), (2, said)):
            os.dup2(of, copy)
        os.environ.update(there.environment, XDG_STATE_HOME=str(folder))
        scenario = folder / "scenario.yaml"
        scenario.write_text(there.scenario)
        sys.argv = ["chaosbandit", "run", str(scenario), "--seed", "1", "--quiet"]
        striker = Striker(log, aim)
        hooks.install(striker)
        from chaosbandit.__main__ import main

        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        striker.tell()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _import_everything() -> None:
    """What a run imports on its way, so that no fork has to."""
    import chaosbandit.cli.app
    import chaosbandit.cli.run
    import chaosbandit.cli.wiring
    import chaosbandit.report.live  # noqa: F401
    from chaosbandit.toxiproxy.adapter import _package

    _package()


def main() -> int:
    """Strike one combination; 1 when anything was left behind."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended
    _import_everything()
    bad = 0
    with ExitStack() as stack:
        base = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="cb-points-", ignore_cleanup_errors=True)
        )
        there = stack.enter_context(world(options.server, options.topology))
        for found in _strikes(Striking(there, Path(base), Random(options.seed)), options):
            sys.stdout.write(json.dumps(asdict(found)) + "\n")
            sys.stdout.flush()
            if found.left:
                bad += 1
                _say(f"LEFT BEHIND at point {found.point}:\n  " + "\n  ".join(found.left))
    return 1 if bad else 0


def _strikes(striking: Striking, options: argparse.Namespace) -> Iterator[Strike]:
    if options.sample:
        yield from striking.sample(options.sample)
    elif options.first:
        yield from striking.first()
    yield from striking.random(options.random)
    yield striking.end()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", choices=get_args(Kind), required=True)
    parser.add_argument("--topology", choices=get_args(Topology), required=True)
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="N sites, not all")
    parser.add_argument("--no-first", dest="first", action="store_false", help="only --random")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="and N points more")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
