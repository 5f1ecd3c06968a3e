"""Does a run keep its promises when Toxiproxy freezes, hangs or dies under it? The real server.

Messages of 20 kB, clients that give up after a second, a delay of 1.5 seconds: on such a path the
plain deletion of a toxic freezes Toxiproxy for most of a minute, or for good. Users independent of
the run say when the path is normal. Exit code 1 when any promise was broken.

    python benchmarks/frozen.py --times 20 --json frozen.json
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.e2e.strikes import (
    SERVED_S,
    Removed,
    Trial,
    delete_the_toxic,
    delete_the_toxic_unread,
    fallback_removals,
    kill_and_start,
    kill_the_engine,
    removals,
    stop_for,
    struck,
)

REMOVALS: Mapping[str, Callable[[int], list[Removed]]] = {
    "own-removal": removals,
    "fallback": fallback_removals,
}
STRIKES: Mapping[str, Callable[[], Trial]] = {
    "engine-killed": lambda: struck(kill_the_engine),
    "toxic-deleted": lambda: struck(delete_the_toxic),
    "toxic-deleted-unread": lambda: struck(delete_the_toxic_unread),
    "stopped-5s": lambda: struck(stop_for(5.0)),
    "stopped-30s": lambda: struck(stop_for(30.0)),
    "killed": lambda: struck(kill_and_start(with_config=True)),
    "killed-restarted-empty": lambda: struck(kill_and_start(with_config=False), codes=(6,)),
}
MEANING = {
    "own-removal": "the run removes its own fault, softened (one line an exposure)",
    "fallback": "the same; the service gives up after 200 ms behind a fallback, doses to 1.5 s",
    "engine-killed": "the engine is killed in mid-fault; the watchdog cuts",
    "toxic-deleted": "a third party deletes our toxic",
    "toxic-deleted-unread": "the same, and one client never reads: this freeze does not end",
    "stopped-5s": "the server is stopped for 5 s",
    "stopped-30s": "the server is stopped for 30 s",
    "killed": "the server is killed and is back after 1 s with the operator's proxy",
    "killed-restarted-empty": "the server is killed and is back after 1 s, empty",
}


@dataclass(frozen=True, slots=True)
class Row:
    """What one situation led to."""

    situation: str
    tried: int
    froze: int  # by a third party; or, of our own removals, calls that got no answer
    exit_codes: Mapping[int, int]
    median_s: float | None  # until users were well
    worst_s: float | None
    slowest_end_s: float | None
    reckless: int  # deleted a proxy whose close was not answered
    lied: int
    broken: int  # promises, all in all

    def __str__(self) -> str:
        codes = ", ".join(f"{code}: {n}" for code, n in sorted(self.exit_codes.items()))
        return (
            f"{self.situation:22s} {self.tried:5d} {self.froze:6d} {codes:>20s} "
            f"{_seconds(self.median_s):>6s} {_seconds(self.worst_s):>6s} "
            f"{_seconds(self.slowest_end_s):>7s} {self.reckless:8d} {self.lied:4d} {self.broken:6d}"
        )


HEADING = (
    f"{'situation':22s} tried frozen {'exit codes':>20s} median  worst run end reckless lied broken"
)


def row_of_strikes(situation: str, found: Sequence[Trial]) -> Row:
    """The line of runs that were struck."""
    return Row(
        situation=situation,
        tried=len(found),
        froze=sum(trial.froze for trial in found),
        exit_codes=_counted([trial.exit_code for trial in found]),
        slowest_end_s=max(trial.ended_s for trial in found),
        reckless=sum(bool(trial.reckless) for trial in found),
        lied=sum(trial.lied for trial in found),
        broken=sum(not trial.kept for trial in found),
        **_times([trial.served_s for trial in found]),
    )


def row_of_removals(situation: str, found: Sequence[Removed]) -> Row:
    """The line of the run's own removals."""
    return Row(
        situation=situation,
        tried=len(found),
        froze=sum(bool(removed.unanswered) for removed in found),
        exit_codes=_counted([removed.exit_code for removed in found]),
        slowest_end_s=None,
        reckless=0,
        lied=sum(removed.lied for removed in found),
        broken=sum(not removed.kept for removed in found),
        **_times([removed.normal_s for removed in found]),
    )


def _times(found: Sequence[float | None]) -> dict[str, float | None]:
    known = [time_s for time_s in found if time_s is not None]
    if not known:
        return {"median_s": None, "worst_s": None}
    return {"median_s": statistics.median(known), "worst_s": max(known)}


def _counted(codes: Sequence[int]) -> dict[int, int]:
    return {code: codes.count(code) for code in set(codes)}


def _seconds(time_s: float | None) -> str:
    return "-" if time_s is None else f"{time_s:.2f}"


def _tried(situation: str, times: int) -> tuple[Row, list[dict[str, object]]]:
    if situation in REMOVALS:
        removed = REMOVALS[situation](times)
        return row_of_removals(situation, removed), [asdict(each) for each in removed]
    trials = []
    for n in range(times):
        trial = STRIKES[situation]()
        trials.append(trial)
        print(f"  {n + 1}/{times} {trial}", file=sys.stderr, flush=True)
        if not trial.kept:
            print(trial.ended.out, file=sys.stderr)
    return row_of_strikes(situation, trials), [asdict(trial) for trial in trials]


def main() -> int:
    """Print one line a situation."""
    names = (*REMOVALS, *STRIKES)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--situations", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--json", type=Path, help="also write the figures and every trial here")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and services end, too
    for name in asked.situations:
        print(f"{name:22s} {MEANING[name]}")
    print(
        "\nTimes in seconds from the begin of the removal (or the server's return) until users "
        f"were well, at most {SERVED_S:g}.\nreckless: deleted a proxy whose close was not "
        f"answered. lied: said clean while it was not.\n\n{HEADING}",
        flush=True,
    )
    tables, kept = [], True
    for name in asked.situations:
        row, each = _tried(name, asked.times)
        print(row, flush=True)
        tables.append({**asdict(row), "each": each})
        kept = kept and not row.broken
        if asked.json:
            asked.json.write_text(json.dumps(tables, indent=2))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
