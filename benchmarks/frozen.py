"""Does a run keep its promises when Toxiproxy freezes, hangs or dies under it? The real server.

Messages of 20 kB, clients that give up after a second, a delay of 1.5 seconds: on such a path the
deletion of a toxic freezes Toxiproxy for most of a minute, or for good. Users independent of the
run say when the path is normal. Exit code 1 when any promise was broken.

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
    EXIT_S,
    NORMAL_S,
    Removed,
    Trial,
    delete_the_toxic,
    kill_and_start,
    removals,
    stop_for,
    struck,
)

OWN = "own-removal"
STRIKES: Mapping[str, Callable[[], Trial]] = {
    "toxic-deleted": lambda: struck(delete_the_toxic),
    "toxic-deleted-by-hand": lambda: struck(delete_the_toxic, by_hand=True),
    "stopped-5s": lambda: struck(stop_for(5.0)),
    "stopped-30s": lambda: struck(stop_for(30.0)),
    "killed": lambda: struck(kill_and_start(with_config=True)),
    "killed-restarted-empty": lambda: struck(kill_and_start(with_config=False)),
}
MEANING = {
    OWN: "the run removes its own fault (one line an exposure)",
    "toxic-deleted": "a third party deletes our toxic; nobody helps",
    "toxic-deleted-by-hand": "the same, and the printed commands are pasted at once",
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
    froze: int
    normal: int  # within NORMAL_S of the run's end
    exit_codes: Mapping[int, int]
    late: int  # neither a normal path at the end of the run, nor exit 7 within EXIT_S
    slowest_exit_s: float | None  # exit 7, from the begin of the removal
    median_s: float | None  # until normal
    worst_s: float | None
    lied: int
    wrong_commands: int

    @property
    def kept(self) -> bool:
        """Whether no promise was broken."""
        return self.normal == self.tried and not (self.late or self.lied or self.wrong_commands)

    def __str__(self) -> str:
        codes = ", ".join(f"{code}: {n}" for code, n in sorted(self.exit_codes.items()))
        return (
            f"{self.situation:22s} {self.tried:5d} {self.froze:6d} {self.normal:6d} {codes:>12s} "
            f"{self.late:4d} {_seconds(self.slowest_exit_s):>7s} {_seconds(self.median_s):>6s} "
            f"{_seconds(self.worst_s):>6s} {self.lied:4d} {self.wrong_commands:8d}"
        )


HEADING = (
    f"{'situation':22s} tried frozen normal {'exit codes':>12s} late  exit 7 median  worst lied "
    "commands"
)


def row_of_strikes(situation: str, found: Sequence[Trial]) -> Row:
    """The line of runs that were struck."""
    removing = [trial.removing_s for trial in found if trial.removing_s is not None]
    return Row(
        situation=situation,
        tried=len(found),
        froze=sum(trial.froze for trial in found),
        normal=sum(trial.normal_after_end_s is not None for trial in found),
        exit_codes=_counted([trial.exit_code for trial in found]),
        late=sum(not trial.in_time for trial in found),
        slowest_exit_s=max(removing, default=None),
        lied=sum(trial.lied for trial in found),
        wrong_commands=sum(trial.commands_worked is False for trial in found),
        **_times([trial.normal_s for trial in found]),
    )


def row_of_removals(found: Sequence[Removed]) -> Row:
    """The line of the run's own removals."""
    return Row(
        situation=OWN,
        tried=len(found),
        froze=0,
        normal=sum(removed.normal_s is not None for removed in found),
        exit_codes=_counted([removed.exit_code for removed in found]),
        late=sum(removed.exit_code != 0 for removed in found),
        slowest_exit_s=None,
        lied=sum(removed.lied for removed in found),
        wrong_commands=0,
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
    if situation == OWN:
        removed = removals(times)
        return row_of_removals(removed), [asdict(each) for each in removed]
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
    names = (OWN, *STRIKES)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--situations", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--json", type=Path, help="also write the figures and every trial here")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and services end, too
    for name in asked.situations:
        print(f"{name:22s} {MEANING[name]}")
    print(
        f"\nlate: path not normal at the run's end, nor exit 7 within {EXIT_S:g} s of its removal. "
        f"normal: within {NORMAL_S:g} s of\nthe run's end. Times in seconds, from the strike (or "
        "the end of the exposure) until users were well.\nlied: said clean while it was not.\n\n"
        f"{HEADING}",
        flush=True,
    )
    tables, kept = [], True
    for name in asked.situations:
        row, each = _tried(name, asked.times)
        print(row, flush=True)
        tables.append({**asdict(row), "each": each})
        kept = kept and row.kept
        if asked.json:
            asked.json.write_text(json.dumps(tables, indent=2))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
