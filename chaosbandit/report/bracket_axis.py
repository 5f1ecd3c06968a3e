"""The bracket drawn on a logarithmic axis, as rows of (text, style) pieces for any width.

     1 ms                                                       10 s
     ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┥╌╌╌╌╌●╌╌┝━━━━━━━━━━━━━━━━━━━━━━━
                          held 150 ms  190 ms  broke 220 ms

Knows nothing of terminals or runs: severities in, pieces out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Piece = tuple[str, str]
Row = list[Piece]

HELD, BROKE, OPEN, NOW, FAINT = "green", "red", "yellow", "bold", "dim"


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters of one drawing; ASCII where the terminal cannot show more."""

    line: str = "━"
    gap: str = "╌"
    held: str = "┥"
    broke: str = "┝"
    now: str = "●"
    believed: str = "◇"
    full: str = "█"
    empty: str = "░"
    dot: str = "·"


UNICODE = Glyphs()
ASCII = Glyphs("=", "-", "]", "[", "@", "?", "#", ".", "-")


@dataclass(frozen=True, slots=True)
class Scale:
    """Severity -> column, even in the logarithm."""

    mild: float
    harsh: float
    width: int

    def column(self, severity: float) -> int:
        """The column of a severity; those beyond the ends are drawn at the ends."""
        inside = min(max(severity, self.mild), self.harsh)
        span = math.log(self.harsh / self.mild)
        return round(math.log(inside / self.mild) / span * (self.width - 1)) if span else 0


@dataclass(frozen=True, slots=True)
class Marks:
    """What stands on the axis; None is not known."""

    held: float | None = None
    broke: float | None = None
    believed: float | None = None
    now: float | None = None


def line(scale: Scale, marks: Marks, glyphs: Glyphs = UNICODE) -> Row:
    """The axis itself: certified held, not known, certified broke, and the marks on it."""
    held = -1 if marks.held is None else scale.column(marks.held)
    broke = scale.width if marks.broke is None else scale.column(marks.broke)
    if held == broke:  # closer together than one column: keep both visible
        held, broke = (held - 1, broke) if held > 0 else (held, broke + 1)
    cells: Row = []
    for column in range(scale.width):
        if column <= held:
            cells.append((glyphs.held if column == held else glyphs.line, HELD))
        elif column >= broke:
            cells.append((glyphs.broke if column == broke else glyphs.line, BROKE))
        else:
            cells.append((glyphs.gap, OPEN))
    believed = None if marks.believed is None else scale.column(marks.believed)
    if believed is not None and held < believed < broke:  # a belief never hides a certificate
        cells[believed] = (glyphs.believed, OPEN)
    if marks.now is not None:
        cells[scale.column(marks.now)] = (glyphs.now, NOW)
    return _joined(cells)


def labels(width: int, wanted: Sequence[tuple[int, str, str]]) -> Row:
    """Labels centred under their columns, pushed apart where they collide, dropped from the end.

    `wanted` holds (column, text, style), the most important first.
    """
    kept: list[tuple[int, str, str]] = []
    for label in wanted:
        if sum(len(text) + 2 for _, text, _ in [*kept, label]) - 2 <= width:
            kept.append(label)
    kept.sort(key=lambda label: label[0])
    starts = _starts(width, kept)
    row: Row = []
    end = 0
    for start, (_, text, style) in zip(starts, kept, strict=True):
        row += [(" " * (start - end), ""), (text, style)]
        end = start + len(text)
    return [piece for piece in row if piece[0]]


def ends(width: int, mild: str, harsh: str) -> Row:
    """The two ends of the axis in words."""
    return [(mild + " " * max(1, width - len(mild) - len(harsh)) + harsh, FAINT)]


def bar(width: int, share: float, style: str, glyphs: Glyphs = UNICODE) -> Row:
    """A filled bar; anything above nothing shows, anything below everything leaves a gap."""
    inside = min(max(share, 0.0), 1.0)
    full = round(inside * width)
    if 0 < inside < 1:
        full = min(max(full, 1), width - 1)
    return [(glyphs.full * full, style), (glyphs.empty * (width - full), FAINT)]


def _starts(width: int, kept: Sequence[tuple[int, str, str]]) -> list[int]:
    """First columns of labels in order: centred, then pushed right, then pushed back left."""
    starts: list[int] = []
    free = 0
    for column, text, _ in kept:
        starts.append(max(free, column - len(text) // 2))
        free = starts[-1] + len(text) + 2
    limit = width
    for index in range(len(kept) - 1, -1, -1):
        starts[index] = max(0, min(starts[index], limit - len(kept[index][1])))
        limit = starts[index] - 2
    return starts


def _joined(cells: Row) -> Row:
    """Neighbours of one style as one piece."""
    row: Row = []
    for text, style in cells:
        if row and row[-1][1] == style:
            row[-1] = (row[-1][0] + text, style)
        else:
            row.append((text, style))
    return row
