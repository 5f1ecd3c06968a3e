"""Reads files one after the other in a process of its own, and says what is wrong with each answer.

A process of its own, so that its peak memory is that of reading, and so that one that hangs can be
ended. Memory is the kernel's VmHWM: resident, the interpreter and every import included.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from time import perf_counter

from chaosbandit.core.scenario import Scenario
from tests.scenario.generated import KINDS, PLACES, SECRET

MOST_S = 1.0
MOST_MB = 200.0
MOST_LINES = 101
LONGEST_LINE = 500  # besides the path
HANGS_S = 30.0
TRIES = 3  # of a slow file: the machine may be busy

_LINE = re.compile(r":(\d+):(\d+): .+?: found .+, wanted .+")
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_NO_SENTENCE = re.compile(r"Traceback|object at 0x|<class |NoneType|pydantic|\w(Error|Exception)\(")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a file."""

    outcome: str  # "valid", "refused" or "traceback"
    text: str  # of the error
    seconds: float
    peak_mb: float  # of the process until now
    scenario: Scenario | None = None


@dataclass(slots=True)
class Tally:
    """What came of all files of a kind."""

    kind: str
    files: int = 0
    valid: int = 0
    refused: int = 0
    tracebacks: int = 0
    slowest_s: float = 0.0
    peak_mb: float = 0.0
    complaints: list[str] = field(default_factory=list)

    def add(self, answer: Answer) -> None:
        """Count one answer."""
        self.files += 1
        self.valid += answer.outcome == "valid"
        self.refused += answer.outcome == "refused"
        self.tracebacks += answer.outcome == "traceback"
        self.slowest_s = max(self.slowest_s, answer.seconds)
        self.peak_mb = max(self.peak_mb, answer.peak_mb)


class Reader:
    """The other process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(self, path: Path, environment: Mapping[str, str]) -> Answer:
        """Load a file as the commands do; again, when it took long, and take the best time."""
        answer = self._once(path, environment)
        for _ in range(TRIES - 1):
            if answer.seconds > MOST_S:
                again = self._once(path, environment)
                answer = replace(again, seconds=min(answer.seconds, again.seconds))
        return answer

    def _once(self, path: Path, environment: Mapping[str, str]) -> Answer:
        self._connection.send((path, dict(environment)))
        if not self._connection.poll(HANGS_S):
            raise TimeoutError(f"{path} is not read after {HANGS_S:.0f} s")
        answer: Answer = self._connection.recv()
        return answer


@contextmanager
def reader() -> Iterator[Reader]:
    """Start a process that reads files, and end it."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        with ours, theirs:
            yield Reader(ours)
    finally:
        process.kill()
        process.join()
        process.close()


def survey(kind: str, numbers: range, folder: Path) -> Tally:
    """Read the files of a kind that have these numbers, the same ones every time."""
    tally, path = Tally(kind), folder / "f.yaml"
    with reader() as other:
        for number in numbers:
            file = KINDS[kind](Random(f"{kind} {number}"))
            path.write_bytes(file.raw)
            answer = other.read(path, file.environment)
            tally.add(answer)
            found = [*complaints(answer, path, file.raw)]
            if file.scenario is not None and answer.scenario != file.scenario:
                found.append(f"it does not mean what was written: {answer.text or answer.scenario}")
            tally.complaints += [f"{kind} {number}: {complaint}" for complaint in found]
    return tally


def survey_places(folder: Path) -> Tally:
    """Read what is no ordinary file."""
    tally = Tally("no ordinary files")
    with reader() as other:
        for place, put in PLACES.items():
            path = folder / place
            put(path)
            answer = other.read(path, {})
            tally.add(answer)
            tally.complaints += [f"{place}: {complaint}" for complaint in complaints(answer, path)]
    return tally


def validate(
    paths: Sequence[Path], environment: Mapping[str, str], *options: str
) -> subprocess.CompletedProcess[str]:
    """What `chaosbandit validate` says of files."""
    command = [sys.executable, "-m", "chaosbandit", "validate", *options, *map(str, paths)]
    return subprocess.run(
        command,
        env={**os.environ, **environment, "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=HANGS_S,
    )


def complaints(answer: Answer, path: Path, raw: bytes | None = None) -> Iterator[str]:
    """What an answer should not be: slow, greedy, unclear, indiscreet or no answer at all."""
    if answer.seconds > MOST_S:
        yield f"it took {answer.seconds:.2f} s"
    if answer.peak_mb > MOST_MB:
        yield f"it took {answer.peak_mb:.0f} MB"
    if answer.outcome == "traceback":
        yield answer.text
    if answer.outcome != "refused":
        return
    if SECRET in answer.text:
        yield "it shows what a variable holds"
    lines = answer.text.split("\n")
    if len(lines) > MOST_LINES:
        yield f"it has {len(lines)} lines"
    for line in lines:
        said = line.removeprefix(str(path))
        place = _LINE.fullmatch(said)
        if place is None or not said.isprintable() or len(said) > LONGEST_LINE:
            yield f"no clear sentence: {said[:LONGEST_LINE]!r}"
        elif _NO_SENTENCE.search(said):
            yield f"a programmer's words: {said}"
        elif not _exists(int(place[1]), int(place[2]), raw):
            yield f"no such place: {said}"


def _exists(line: int, column: int, raw: bytes | None) -> bool:
    """Whether a file has this place, its end included."""
    if raw is None:
        return True
    text = raw.decode(errors="replace").removeprefix("\ufeff")
    lines = _LINE_END.split(text)
    return 1 <= line <= len(lines) and 1 <= column <= len(lines[line - 1]) + 1


def _serve(connection: Connection) -> None:
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            path, environment = connection.recv()
            connection.send(_answer(path, environment))


def _answer(path: Path, environment: dict[str, str]) -> Answer:
    from chaosbandit.errors import UsageError
    from chaosbandit.scenario import load

    start = perf_counter()
    outcome, text, scenario = "valid", "", None
    try:
        scenario = load(path, environment).scenario
    except UsageError as error:
        outcome, text = "refused", str(error)
    except BaseException:
        outcome, text = "traceback", traceback.format_exc()[-2000:]
    return Answer(outcome, text, perf_counter() - start, _peak_mb(), scenario)


def _peak_mb() -> float:
    # ru_maxrss begins with what the parent had when it started us; VmHWM is ours alone.
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found[1]) / 1024
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
