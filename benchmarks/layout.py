"""Tables as text and as JSON: rows of named values, and how each column is written.

A figure with a goal stands beside it and is marked where it misses it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Value = float | int | str | None
Row = Mapping[str, Value]
MISSED = "!"


@dataclass(frozen=True, slots=True)
class Column:
    """One value of every row: a format for numbers, and the key of its goal if it has any."""

    key: str
    head: str
    form: str = "s"
    goal: str | None = None

    def text(self, row: Row) -> str:
        """The value as written, with its goal behind."""
        value = row.get(self.key)
        text = "-" if value is None else format(value, self.form)
        if self.goal is None:
            return text
        goal = row.get(self.goal)
        if not isinstance(goal, float | int) or not isinstance(value, float | int):
            return f"{text}       "
        missed = float(text.replace(",", "")) > goal  # judged as printed
        return f"{text}{MISSED if missed else ' '}({goal:<4g})"

    @property
    def from_left(self) -> bool:
        """Words are aligned to the left, numbers to the right."""
        return self.form == "s"


@dataclass(frozen=True, slots=True)
class Table:
    """What was measured, in one place for text and JSON."""

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    def text(self) -> str:
        """Title, aligned columns, notes."""
        cells = [[column.text(row) for column in self.columns] for row in self.rows]
        widths = [
            max(len(column.head), *(len(line[i]) for line in cells))
            for i, column in enumerate(self.columns)
        ]

        def aligned(texts: Sequence[str]) -> str:
            return "  ".join(
                text.ljust(width) if column.from_left else text.rjust(width)
                for text, width, column in zip(texts, widths, self.columns, strict=True)
            ).rstrip()

        heads = aligned([column.head for column in self.columns])
        lines = [f"{self.name}  {self.title}", "", heads, *map(aligned, cells)]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes), ""])

    def json(self) -> dict[str, object]:
        """The rows with all their digits."""
        return {"table": self.name, "title": self.title, "rows": [dict(row) for row in self.rows]}


def spread_columns(
    name: str, head: str, form: str, goals: Callable[[str], str | None] = lambda _: None
) -> tuple[Column, ...]:
    """Columns for a mean, a median and a 90th percentile."""
    return tuple(
        Column(f"{name}_{part}", f"{head} {part}" if part == "mean" else part, form, goals(part))
        for part in ("mean", "median", "p90")
    )
