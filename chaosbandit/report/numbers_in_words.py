"""Numbers as an operator says them: durations, shares, counts. Knows nothing of runs."""

from __future__ import annotations

from collections.abc import Iterable


def duration(duration_s: float) -> str:
    """`850 ms`, `4.2 s`, `1 min 12 s`, `2 h 05 min`, `30 days`."""
    if duration_s < 0.9995:
        return f"{duration_s * 1000:.3g} ms"
    if duration_s < 59.95:
        return f"{duration_s:.3g} s"
    seconds = round(duration_s)
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    if seconds < 48 * 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
    return f"{seconds / 86400:.3g} days"


def window(duration_s: float) -> str:
    """`30-day`, `12-hour`, `90-minute`: a duration before a noun."""
    for unit, unit_s in (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0)):
        if duration_s >= 2 * unit_s or duration_s == unit_s:
            return f"{duration_s / unit_s:.3g}-{unit}"
    return f"{duration_s:.3g}-second"


def share(fraction: float) -> str:
    """`95 %`, `0.4 %`, `0 %`; never a rounding that claims nothing or everything by mistake."""
    percent = fraction * 100
    if percent == 0:
        return "0 %"
    if 0 < percent < 0.01:
        return "< 0.01 %"
    if 0 < 100 - percent < 0.05:
        return f"{percent:.4g} %"
    return f"{percent:.2g} %" if percent < 10 else f"{percent:.3g} %"


def count(number: float) -> str:
    """`1,234`, `10.4`: whole numbers with thousands separated, others with one decimal."""
    whole = round(number)
    return f"{whole:,}" if abs(number - whole) < 0.05 else f"{number:,.1f}"


def about(number: float) -> str:
    """`2,600`, `14`: a guess to two digits."""
    return f"{float(f'{number:.2g}'):,.0f}"


def listed(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def spanned(start: str, end: str) -> str:
    """`190 to 206 ms`, `700 ms to 1.2 s`, `190 ms`: a common unit is said once."""
    number, _, unit = start.rpartition(" ")
    if start == end:
        return start
    alike = end.count(" ") == 1 and end.endswith(f" {unit}") and number and " " not in number
    return f"{number if alike else start} to {end}"


def plural(number: int, noun: str) -> str:
    """`1 request`, `2 requests`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def clock(elapsed_s: float) -> str:
    """`0:07`, `12:34`, `1:02:03`: elapsed time that does not jump about."""
    seconds = max(0, int(elapsed_s))
    hours, rest = divmod(seconds, 3600)
    if hours:
        return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
    return f"{rest // 60}:{rest % 60:02d}"


def writable(text: str, encoding: str | None) -> str:
    """The text with whatever the encoding does not have as question marks."""
    known = encoding or "ascii"
    return text.encode(known, "replace").decode(known)
