"""Which responses are good, as people write it: `status in 2xx-3xx and latency <= 400ms`."""

from __future__ import annotations

import re

from chaosbandit.core.slo import SLI
from chaosbandit.scenario.quantities import WantedError, duration

CONDITION_PATTERN = r"^(status in .+|latency ?<= ?.+)$"
LONGEST = 256  # characters

_STATUS = re.compile(r"([1-5])(xx|[0-9]{2})(?: ?- ?([1-5])(xx|[0-9]{2}))?")
_LATENCY = re.compile(r"latency ?<= ?(.+)")
_HINTS = (
    (
        re.compile(r"(p|P)[0-9]{1,2}(\.[0-9]+)?\b"),
        "one request's bound, such as `latency <= 400ms`; that p99 keeps it is `objective: 99%`",
    ),
    (re.compile(r"(latency|duration|response_time)\b"), "the bound as `latency <= 400ms`"),
    (
        re.compile(r"(status|code|http)", re.IGNORECASE),
        "the good ones as `status in 200`, `status in 2xx-3xx` or `status in 200-299,404`",
    ),
)
A_CONDITION = (
    "`status in 2xx-3xx`, `status in 200-299,404` or `latency <= 400ms`, or two joined by ` and `"
)


def condition(value: object) -> SLI:
    """Which samples are good, from `status in 2xx-3xx and latency <= 400ms`."""
    if not isinstance(value, str) or len(value) > LONGEST:
        raise WantedError(A_CONDITION)
    statuses: tuple[tuple[int, int], ...] = ()
    latency_s: float | None = None
    for clause in value.split(" and "):
        clause = clause.strip()
        if clause.startswith("status in ") and not statuses:
            statuses = tuple(_status_range(part.strip()) for part in clause[10:].split(","))
        elif (latency := _LATENCY.fullmatch(clause)) and latency_s is None:
            latency_s = _bound(latency[1].strip())
        elif statuses or latency_s is not None:
            raise WantedError(A_CONDITION + ", each once")
        else:
            raise WantedError(_hint(clause) or A_CONDITION)
    return SLI(value, statuses, latency_s)


def _hint(clause: str) -> str | None:
    """What to write for what other tools call it."""
    return next((hint for known, hint in _HINTS if known.match(clause)), None)


def _bound(text: str) -> float:
    bound_s = duration(text)
    if bound_s <= 0:
        raise WantedError("a latency bound above 0")
    return bound_s


def _status_range(text: str) -> tuple[int, int]:
    match = _STATUS.fullmatch(text)
    if match is None:
        raise WantedError("HTTP statuses 100 to 599, such as 2xx, 2xx-3xx or 200-299,404")
    low, _ = _statuses(match[1], match[2])
    _, high = _statuses(match[3] or match[1], match[4] or match[2])
    if low > high:
        raise WantedError("HTTP statuses with the lower one first, such as 200-299")
    return low, high


def _statuses(hundreds: str, rest: str) -> tuple[int, int]:
    if rest == "xx":
        return int(hundreds) * 100, int(hundreds) * 100 + 99
    return int(hundreds + rest), int(hundreds + rest)
