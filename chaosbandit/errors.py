"""Every exception that crosses a border of chaosbandit, and the exit code it leads to.

ChaosbanditError
├── UsageError                 2  the command line or its environment is wrong
│   └── ScenarioError          2  the scenario file is wrong; carries every problem found
├── HarnessError               6  our instruments or the path to the target do not work
│   ├── TargetError            6  the target cannot be reached or is not ours to test
│   ├── SteadyStateError       6  the SLOs do not hold before anything is injected
│   └── ToxiproxyError         6  the Toxiproxy server refuses, hangs or lies
├── PolicyError                1  a policy said what no policy may say
└── CleanupError               7  a fault could not be confirmed as removed; outranks all others

Exit code 5 has no exception: a guardrail's stop is a decision, and recorded as one.

A failing *target* is data (`Outcome`), never an exception. A failing *instrument* is an exception
and makes a verdict unknown. Builtins are used for everything that only a bug could cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command (stable)."""

    ANSWERED = 0
    INTERNAL = 1
    USAGE = 2
    GATE_FAILED = 3
    INCONCLUSIVE = 4
    GUARDRAIL = 5
    HARNESS = 6
    NOT_CLEAN = 7
    SIGINT = 130
    SIGTERM = 143


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong, in phrases without full stops; `str()` alone makes a sentence of them.

    `found` alone is a clause ("the server hangs"); with `wanted` it is what "found" is said of.
    """

    found: str
    wanted: str = ""
    do: str = ""
    where: str = ""  # a line of a file, a key, a URL
    commands: tuple[str, ...] = ()  # for a shell, one after the other

    def __str__(self) -> str:
        told = f"found {self.found}, wanted {self.wanted}" if self.wanted else self.found
        told = f"{self.where}: {told}" if self.where else told
        told = f"{told}; {self.do}" if self.do else told
        return "\n  ".join([f"{told}:", *self.commands]) if self.commands else told


class ChaosbanditError(Exception):
    """Anything chaosbandit says on purpose: `trouble` in parts, `str(error)` for the operator."""

    exit_code: Exit = Exit.INTERNAL

    def __init__(
        self,
        found: str | Trouble,
        *,
        wanted: str = "",
        do: str = "",
        where: str = "",
        commands: Sequence[str] = (),
    ) -> None:
        if isinstance(found, str):
            found = Trouble(found, wanted, do, where, tuple(commands))
        self.trouble = found
        super().__init__(self.trouble)


class UsageError(ChaosbanditError):
    """The command line or its environment is wrong."""

    exit_code = Exit.USAGE


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a scenario file; line and column count from 1."""

    file: str
    line: int
    column: int
    key: str
    found: str
    wanted: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: {self.key}"
        return str(Trouble(self.found, self.wanted, where=where))


class ScenarioError(UsageError):
    """The scenario file is wrong; `problems` lists everything that was found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class HarnessError(ChaosbanditError):
    """Our instruments, or the path to the target, do not work."""

    exit_code = Exit.HARNESS


class TargetError(HarnessError):
    """The target cannot be reached, or answers in a way that is not the dose's doing."""


class SteadyStateError(HarnessError):
    """The SLOs do not hold before anything is injected."""


class ToxiproxyError(HarnessError):
    """The Toxiproxy server refuses, hangs or lies."""


class PolicyError(ChaosbanditError):
    """A policy, perhaps somebody else's, decided what no policy may decide."""


class CleanupError(ChaosbanditError):
    """A fault could not be confirmed as removed; `trouble.commands` are the manual remedies."""

    exit_code = Exit.NOT_CLEAN
