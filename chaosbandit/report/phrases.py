"""Numbers as an operator says them: durations, shares, counts. Knows nothing of runs."""

from __future__ import annotations


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
