"""Kills a real campaign at every fault point in turn and sees what is left after each.

    python -m tests.faultpoints.striking --server real --topology canary [--first]

Everything is imported once; each campaign runs in a fork of this process, which has no threads.
One JSON line a strike on stdout. With `--first` only the first occurrence of every site is struck.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn, TypeVar, get_args

from tests.faultpoints import hooks
from tests.faultpoints.points import Aim, Point, Striker, read_points
from tests.faultpoints.worlds import Topology, World, residue, world
from tests.servers import Kind

_Result = TypeVar("_Result")

PATIENCE_S = 40.0  # for one campaign
TRIES = 3
AGAIN_EVERY = 10  # after every so many strikes a new run must be able to start at once
GOOD = (0, 4)  # exit codes of a campaign that ended in order


@dataclass(frozen=True, slots=True)
class Strike:
    """One campaign that was killed, and what became of it; `left` empty: all is well."""

    world: str
    point: Point
    normal_s: float
    left: tuple[str, ...]
    residue: tuple[str, ...] = ()


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
    rest = residue(folder)
    if again and not left:
        left = _next_run(there, folder) + there.wait_until_normal(folder)[1]
    return Strike(there.name, point, normal_s, tuple(left), tuple(rest))


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


def strike_all(there: World) -> Iterator[Strike]:
    """Point 1, 2, 3 ... until a campaign outlives them; then sites that were not met that way."""
    counted = _in_new_folder(lambda folder: count(there, folder))
    _say(f"{there.name}: {len(counted)} points, {len(_firsts(counted))} sites")
    struck: set[tuple[str, str]] = set()
    n = 0
    with suppress(UnkilledError):
        while True:
            n += 1
            found = _struck(there, Aim(n=n), again=n % AGAIN_EVERY == 0)
            struck.add((found.point.kind, found.point.site))
            yield found
    missed = [aim for aim in _firsts(counted) if (aim.kind, aim.site) not in struck]
    yield from _strike_each(there, missed)


def strike_first(there: World) -> Iterator[Strike]:
    """The first occurrence of every site, where two frames make one and none merely follows."""
    points = _in_new_folder(lambda folder: count(there, folder))
    firsts = _firsts([point for point in points if not point.follows])
    aims = [*{(aim.kind, *aim.site.split(" < ")[:2]): aim for aim in reversed(firsts)}.values()]
    _say(f"{there.name}: {len(aims)} sites")
    yield from _strike_each(there, aims)


def _strike_each(there: World, aims: list[Aim]) -> Iterator[Strike]:
    for n, aim in enumerate(aims, start=1):
        try:
            yield _struck(there, aim, again=n % AGAIN_EVERY == 0)
        except UnkilledError as error:  # timing differs from run to run, and so do some sites
            _say(f"{there.name}: not met again: {aim.kind} {aim.site}: {error}")


def _firsts(points: list[Point]) -> list[Aim]:
    return [Aim(kind=p.kind, site=p.site) for p in points if p.ordinal == 1]


def _struck(there: World, aim: Aim, *, again: bool) -> Strike:
    """As `strike`, repeated when the campaign did not get far on a busy machine."""
    for _ in range(TRIES - 1):
        try:
            return _in_new_folder(lambda folder: strike(there, folder, aim, again=again))
        except UnkilledError as error:
            if error.code in GOOD and aim.n:
                raise
    return _in_new_folder(lambda folder: strike(there, folder, aim, again=again))


def _in_new_folder(work: Callable[[Path], _Result]) -> _Result:
    with tempfile.TemporaryDirectory(prefix="cb-points-", ignore_cleanup_errors=True) as name:
        return work(Path(name))


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
    import chaosbandit.cli.running
    import chaosbandit.cli.wiring
    import chaosbandit.report.live  # noqa: F401
    from chaosbandit.toxiproxy.adapter import _package

    _package()


def main() -> int:
    """Strike one combination; 1 when anything was left behind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", choices=get_args(Kind), required=True)
    parser.add_argument("--topology", choices=get_args(Topology), required=True)
    parser.add_argument("--first", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended
    _import_everything()
    bad = 0
    with world(options.server, options.topology) as there:
        for found in (strike_first if options.first else strike_all)(there):
            sys.stdout.write(json.dumps(asdict(found)) + "\n")
            sys.stdout.flush()
            if found.left:
                bad += 1
                _say(f"LEFT BEHIND at point {found.point}:\n  " + "\n  ".join(found.left))
    return 1 if bad else 0


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
