"""What is wrong with a scenario although each key is fine for itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chaosbandit.scenario.tree import Path

Shown = Callable[[Path], str]  # a value as the file has it, never a variable's


@dataclass(frozen=True, slots=True)
class Finding:
    """Where something else was wanted, and what."""

    path: Path
    wanted: str
    key: bool = False  # the key itself is at fault
