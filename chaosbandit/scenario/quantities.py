"""Quantities as people write them: `400ms`, `99%`, `50/s`, `2_000_000`, `> 150ms`.

Each reader takes what YAML gave (text, a number, a truth value, nothing) and returns one number or
record, or raises `WantedError`. It knows neither files nor positions, and what it raises never
repeats what was found: that may be a secret.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches

LONGEST = 64  # characters a number with its unit may have

DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)? ?(ms|min|s|m|h|d) ?)+$"
SHARE_PATTERN = r"^([0-9]+(\.[0-9]+)? ?%|0?\.[0-9]+|0)$"
RATE_PATTERN = r"^[0-9]+(\.[0-9]+)? ?/ ?(s|min|h)$"
WHOLE_PATTERN = r"^[0-9]+(_[0-9]+)*$"
NUMBER_PATTERN = r"^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$"
NAME_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"

_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|min|s|m|h|d) ?")
_SECONDS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "min": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}

A_DURATION = "a duration with its unit, such as 400ms, 2s, 1m or 30d"
A_SHARE = "a share, such as 99% or 0.99"
A_RATE = "a rate with its unit, such as 50/s or 300/min"


class WantedError(ValueError):
    """A value is not what its key wants; `str()` says what is, `at` leads to the key at fault."""

    def __init__(self, wanted: str, at: tuple[str | int, ...] = ()) -> None:
        self.at = at
        super().__init__(wanted)


@dataclass(frozen=True, slots=True)
class Amount:
    """A severity whose ladder is not known yet, in the unit its writer chose."""

    unit: str  # as doses have it
    value: float


def duration(value: object) -> float:
    """Seconds from `400ms`, `2s`, `1m`, `1h30m`, `30d`."""
    if isinstance(value, str) and _matches(DURATION_PATTERN, value):
        return float(sum(Decimal(number) * _SECONDS[unit] for number, unit in _PART.findall(value)))
    bare = _is_number(value) or (isinstance(value, str) and _matches(r"^[0-9._]+$", value))
    raise WantedError(A_DURATION + (" (a bare number has no unit)" if bare else ""))


def share(value: object) -> float:
    """A fraction 0..1 from `99%` or `0.99`; a bare 1 or more could mean two things."""
    if isinstance(value, str) and _matches(SHARE_PATTERN, value):
        percent = value.endswith("%")
        number = Decimal(value.rstrip("% "))
        fraction = float(number / 100 if percent else number)
    elif _is_number(value) and 0 <= float(str(value)) < 1:
        fraction = float(str(value))
    else:
        raise WantedError(A_SHARE + " (1 and more need the % sign)")
    if fraction > 1:
        raise WantedError(A_SHARE + ", at most 100%")
    return fraction


def rate(value: object) -> float:
    """Events per second from `50/s`, `300/min`, `7200/h`."""
    if not isinstance(value, str) or not _matches(RATE_PATTERN, value):
        minutes = isinstance(value, str) and re.search(r"/ ?m(inutes?)?$", value[-LONGEST:])
        raise WantedError(A_RATE + (" (minutes are written `min`)" if minutes else ""))
    number, unit = value.split("/")
    return float(Decimal(number.strip()) / _SECONDS[unit.strip()])


def whole(value: object) -> int:
    """A whole number from `2000`, `2_000_000` or `2e6`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _matches(WHOLE_PATTERN, value):
        return int(value)
    raise WantedError("a whole number, such as 2000 or 2_000_000")


def decimal(value: object) -> float:
    """A plain number, such as 2 or 1.5."""
    if isinstance(value, str) and _matches(NUMBER_PATTERN, value):  # from a variable
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WantedError("a number, such as 2 or 1.5")
    if not math.isfinite(value):
        raise WantedError("a finite number, such as 2 or 1.5")
    return float(value)


def truth(value: object) -> bool:
    """True or False; `yes`, `no`, `on` and `off` are text in YAML 1.2."""
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):  # from an environment variable
        return value == "true"
    raise WantedError("true or false")


def text(value: object) -> str:
    """Text; a number or truth value is text only in quotes."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, dict | list):
        raise WantedError("text")
    raise WantedError("text (put it in quotes)")


def name(value: object) -> str:
    """A name that is safe in files, tables and Toxiproxy's own names."""
    if isinstance(value, int | float) or not _matches(NAME_PATTERN, text(value)):
        raise WantedError("a name of 1 to 64 letters, digits, `_` or `-`")
    return text(value)


def one_of(*known: str) -> Callable[[object], str]:
    """A reader that takes one of the known words and suggests the nearest for any other."""

    def read(value: object) -> str:
        if isinstance(value, str) and value in known:
            return value
        raise WantedError(f"one of {', '.join(known)}{did_you_mean(value, known)}")

    return read


def did_you_mean(found: object, known: tuple[str, ...]) -> str:
    """A suggestion to end a sentence with, empty where nothing is near."""
    guess = nearest(found, known)
    return f" (did you mean `{guess}`?)" if guess else ""


def nearest(found: object, known: tuple[str, ...]) -> str | None:
    """The known word that is spelt most like what was found, if any is."""
    words = {word.lower(): word for word in known}
    near = get_close_matches(str(found)[:LONGEST].lower(), words, n=1)
    return words[near[0]] if near else None


def _matches(pattern: str, text: str) -> bool:
    return len(text) <= LONGEST and re.fullmatch(pattern[1:-1], text) is not None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
