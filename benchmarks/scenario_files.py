"""What becomes of ten thousand generated scenario files: read or refused, how soon, in what memory.

The files of each kind are read one after the other in a process of its own, as the commands read
them. Seconds are wall-clock, the best of three for a file above the limit; memory is the peak of
that process, resident, the interpreter and its imports included. Odd files and what is no file are
then given to `chaosbandit validate`; there the seconds are those of a whole process.

    python benchmarks/scenario_files.py 10000

Exit code 1 when a limit is broken: a traceback, an error that is not clear or shows a secret, a
valid file that does not mean what was written, 1 s, 200 MB. Kind and number make a file again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from random import Random
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.scenario.generated import KINDS, PLACES
from tests.scenario.judged import MOST_MB, MOST_S, Tally, survey, survey_places, validate

MOST_COMMAND_S = 3.0  # with the start of the interpreter
SHOWN = 20  # complaints


def main() -> int:
    """Read the files, print the table, say whether every limit holds."""
    parser = argparse.ArgumentParser(description="Read generated scenario files.")
    parser.add_argument("files", type=int, nargs="?", default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first of each kind")
    parser.add_argument("--json", action="store_true", help="the same as one JSON object")
    arguments = parser.parse_args()
    start = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        tallies = list(_surveys(arguments.files, arguments.first, Path(folder)))
        tallies += [survey_places(Path(folder)), _commands(Path(folder), arguments.first)]
    complaints = [complaint for tally in tallies for complaint in tally.complaints]
    if arguments.json:
        limits = {"seconds": MOST_S, "peak_mb": MOST_MB, "command_seconds": MOST_COMMAND_S}
        found = {"schema": 1, "limits": limits, "kinds": [asdict(tally) for tally in tallies]}
        print(json.dumps(found, indent=2))
    else:
        print(_table(tallies))
        print(f"{perf_counter() - start:.0f} s in all; limits {MOST_S:.0f} s and {MOST_MB:.0f} MB")
    for complaint in complaints[:SHOWN]:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


def _surveys(files: int, first: int, folder: Path) -> list[Tally]:
    kinds = list(KINDS)
    tallies = []
    for index, kind in enumerate(kinds):
        share = files // len(kinds) + (index < files % len(kinds))
        print(f"\r{kind:20}", end="\r", file=sys.stderr, flush=True)
        tallies.append(survey(kind, range(first, first + share), folder))
    return tallies


def _commands(folder: Path, first: int) -> Tally:
    """`chaosbandit validate`, once for a file of each kind and once for each place."""
    tally = Tally("by the command")
    given: dict[Path, dict[str, str]] = {folder / place: {} for place in PLACES}
    for kind, generate in KINDS.items():
        file, path = generate(Random(f"{kind} {first}")), folder / f"{kind}.yaml"
        path.write_bytes(file.raw)
        held = file.environment.items()  # the kernel takes neither NULs nor long ones
        given[path] = {name: value.replace("\0", "")[:9999] for name, value in held}
    for path, environment in given.items():
        start = perf_counter()
        try:
            said = validate([path], environment)
        except subprocess.TimeoutExpired:
            tally.complaints.append(f"{path.name}: the command hangs")
            continue
        seconds = perf_counter() - start
        clear = "Traceback" not in said.stderr and said.returncode in (0, 2)
        tally.files += 1
        tally.valid += clear and said.returncode == 0
        tally.refused += clear and said.returncode == 2
        tally.tracebacks += not clear
        tally.slowest_s = max(tally.slowest_s, seconds)
        if not clear or seconds > MOST_COMMAND_S:
            complaint = f"{path.name}: {seconds:.1f} s, exit {said.returncode}, {said.stderr[:500]}"
            tally.complaints.append(complaint)
    return tally


def _table(tallies: list[Tally]) -> str:
    counts = f"{'files':>7}{'valid':>7}{'refused':>9}{'tracebacks':>12}"
    lines = [f"{'kind':20}{counts}{'slowest':>9}{'peak':>9}"]
    for tally in tallies:
        peak = f"{tally.peak_mb:.0f} MB" if tally.peak_mb else "-"
        lines.append(
            f"{tally.kind:20}{tally.files:7}{tally.valid:7}{tally.refused:9}{tally.tracebacks:12}"
            f"{tally.slowest_s:7.2f} s{peak:>9}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
