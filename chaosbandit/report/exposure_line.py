"""One exposure in one line, and what arrived and was felt of a dose. Only records are read here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chaosbandit.core.model import Dose
from chaosbandit.report.numbers_in_words import duration, plural, share
from chaosbandit.report.records import ExposureResult


def exposure_line(exposure: ExposureResult, unit: str, *, named: bool = False) -> str:
    """One exposure in one line: `exposure 3: 190 ms, 120 requests, 1 bad (latency), ...`.

    With `named` it says of which ladder: `exposure 3: slow-inventory 190 ms, ...`.
    """
    dose = f"{exposure.ladder} {exposure.severity_text}" if named else exposure.severity_text
    parts = [dose, plural(exposure.samples, "request"), _bad_text(exposure.bad)]
    if exposure.dose.delivered is not None or exposure.dose.felt is not None:
        parts.append(dose_text(exposure.dose, unit))
    if not exposure.valid:
        parts.append(f"void: {exposure.why}")
    return f"exposure {exposure.n}: " + ", ".join(parts)


def _bad_text(bad: Mapping[str, int]) -> str:
    """`none bad`, `3 bad (latency)`, `3 bad (availability), 4 bad (latency)`."""
    found = [f"{number:,} bad ({name})" for name, number in bad.items() if number]
    return ", ".join(found) or "none bad"


def dose_text(dose: Dose, unit: str) -> str:
    """`191 ms delivered, 190 ms felt`, `3 % of requests broken`."""
    tell = _BY_UNIT.get(unit)
    return tell(dose) if tell else _arrived(dose, lambda found: f"{found:.4g} {unit}".rstrip())


def _delay_text(dose: Dose) -> str:
    return _arrived(dose, _signed)


def _broken_text(dose: Dose) -> str:
    known = dose.felt if dose.felt is not None else dose.delivered
    return "not measured" if known is None else f"{share(known)} of requests broken"


_BY_UNIT: Mapping[str, Callable[[Dose], str]] = {"s": _delay_text, "share": _broken_text}


def _arrived(dose: Dose, say: Callable[[float], str]) -> str:
    """What too few samples were there to tell is not spoken of."""
    delivered = "delivery not measured"
    if dose.delivered is not None:
        delivered = f"{say(dose.delivered)} delivered"
    return delivered if dose.felt is None else f"{delivered}, {say(dose.felt)} felt"


def _signed(difference_s: float) -> str:
    """Differences of medians may fall below zero by noise."""
    return duration(difference_s) if difference_s >= 0 else f"-{duration(-difference_s)}"
