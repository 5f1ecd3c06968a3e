"""The types of a scenario's values: how each is read, its limits, and what an editor is told of it.

Only reading and JSON Schema; what a key means stands beside the key in `file_keys`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import PlainValidator, WithJsonSchema

from chaosbandit.core import policies, topology
from chaosbandit.core.scenario import BRACKET, FASTEST_PER_S, GATE, SAFE_METHODS
from chaosbandit.core.slo import SLI
from chaosbandit.core.url_template import wrong_range
from chaosbandit.faults import fault
from chaosbandit.scenario import addresses, quantities, slo_conditions
from chaosbandit.scenario.quantities import WantedError

METHODS = (*SAFE_METHODS, "DELETE", "OPTIONS", "PATCH", "POST", "PUT")

MS = 0.001
MINUTE = 60.0
HOUR = 3600.0
DAY = 86400.0


T = TypeVar("T")


def reads(
    read: Callable[[object], T],
    accept: Callable[[T], bool] = lambda _: True,
    wanted: str = "",
) -> PlainValidator:
    """A validator that reads a value and accepts some of what can be read."""

    def validate(value: object) -> T:
        result = read(value)
        if not accept(result):
            raise WantedError(wanted)
        return result

    return PlainValidator(validate)


def text(pattern: str) -> WithJsonSchema:
    """Text of a pattern, for editors."""
    return WithJsonSchema({"type": "string", "pattern": pattern})


def either(kind: dict[str, Any], pattern: str) -> WithJsonSchema:
    """That, or text of a pattern, for editors."""
    return WithJsonSchema({"anyOf": [kind, {"type": "string", "pattern": pattern}]})


def _words(*known: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": list(known)})


def or_variable(pattern: str) -> str:
    """Editors cannot expand variables: whatever contains one is fine for them."""
    return rf"{pattern}|\$\{{"


DURATION = text(or_variable(quantities.DURATION_PATTERN))
_RATE = text(or_variable(quantities.RATE_PATTERN))
_NAME = text(or_variable(quantities.NAME_PATTERN))
_ADDRESS = text(or_variable(addresses.HOST_PORT_PATTERN))
_URL = text(or_variable(addresses.URL_PATTERN))
FRACTION = {"type": "number", "minimum": 0, "exclusiveMaximum": 1}
SHARE = either(FRACTION, or_variable(quantities.SHARE_PATTERN))
_WHOLE = either({"type": "integer"}, or_variable(quantities.WHOLE_PATTERN))
_NUMBER = either({"type": "number"}, r"\$\{")


def _seconds(low: float, high: float, words: str) -> PlainValidator:
    return reads(quantities.duration, lambda found: low <= found <= high, f"a duration {words}")


def _count(low: int, high: int) -> PlainValidator:
    return reads(
        quantities.whole, lambda found: low <= found <= high, f"a whole number {low} to {high}"
    )


def _policy(value: object) -> str:
    if isinstance(value, str) and policies.known(value):
        return value  # without a look at what else is installed
    return quantities.one_of(*policies.names())(value)


def _topology(value: object) -> topology.Topology:
    return topology.topology(quantities.one_of(*topology.TOPOLOGIES)(value))


Version = Annotated[
    int,
    reads(quantities.whole, lambda found: found == 1, "1, the only version there is"),
    WithJsonSchema({"const": 1}),
]
Text = Annotated[
    str,
    reads(quantities.text, lambda found: len(found) <= 4000, "at most 4000 characters"),
    WithJsonSchema({"type": "string", "maxLength": 4000}),
]
Name = Annotated[str, reads(quantities.name), _NAME]
Truth = Annotated[
    bool,
    reads(quantities.truth),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": r"\$\{"}]}),
]
Address = Annotated[str, reads(addresses.host_port), _ADDRESS]
NumberedUrl = Annotated[str, reads(addresses.numbered_url), _URL]
# Keys that may be left out, but not left empty: a guardrail without a value is a mistake.
ListenAddress = Annotated[str | None, reads(addresses.host_port), _ADDRESS]
CheckUrl = Annotated[str | None, reads(addresses.url), _URL]
Bypass = Annotated[
    fault.Bypass | None,
    reads(addresses.bypass),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": or_variable(addresses.URL_PATTERN)},
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 100},
            ]
        }
    ),
]
FreezePlace = Annotated[
    str, reads(addresses.freeze), text(or_variable("^/|" + addresses.URL_PATTERN))
]
Freeze = tuple[FreezePlace, ...]
ControlUrl = Annotated[str | None, reads(addresses.numbered_url), _URL]
Toxiproxy = Annotated[
    str, reads(addresses.toxiproxy), text(or_variable("^embedded$|" + addresses.URL_PATTERN))
]
Topology = Annotated[topology.Topology, reads(_topology), _words(*topology.TOPOLOGIES)]
Method = Annotated[str, reads(quantities.one_of(*METHODS)), _words(*METHODS)]
Connections = Annotated[
    str,
    reads(quantities.one_of("keep-alive", "per-request")),
    _words("keep-alive", "per-request"),
]
Stream = Annotated[
    str, reads(quantities.one_of("downstream", "upstream")), _words("downstream", "upstream")
]
Stop = Annotated[str, reads(quantities.one_of(BRACKET, GATE)), _words(BRACKET, GATE)]
Policy = Annotated[str, reads(_policy), _NAME]
Body = Annotated[
    str | None,
    reads(
        quantities.text,
        lambda found: len(found) <= 65_536 and not wrong_range(found),
        "at most 65,536 characters, and ranges with the lower end first, such as {n:1..8}",
    ),
    WithJsonSchema({"type": "string", "maxLength": 65_536}),
]
HeaderName = Annotated[
    str, reads(addresses.header_name), WithJsonSchema({"type": "string", "minLength": 1})
]
HeaderValue = Annotated[
    str, reads(addresses.header_value), WithJsonSchema({"type": "string", "minLength": 1})
]
Condition = Annotated[
    SLI, reads(slo_conditions.condition), text(or_variable(slo_conditions.CONDITION_PATTERN))
]

Rate = Annotated[
    float,
    reads(
        quantities.rate,
        lambda found: 0.1 <= found <= FASTEST_PER_S,
        f"a rate from 6/min to {FASTEST_PER_S:g}/s",
    ),
    _RATE,
]
Timeout = Annotated[float, _seconds(10 * MS, 5 * MINUTE, "from 10ms to 5m"), DURATION]
Window = Annotated[float, _seconds(HOUR, 366 * DAY, "from 1h to 366d"), DURATION]
SearchTime = Annotated[float, _seconds(1, 7 * DAY, "from 1s to 7d"), DURATION]
ExposureTime = Annotated[float, _seconds(1, HOUR, "from 1s to 1h"), DURATION]
HoldTime = Annotated[float, _seconds(0, HOUR, "from 0s to 1h"), DURATION]
Warmup = Annotated[float, _seconds(0, 5 * MINUTE, "from 0s to 5m"), DURATION]
Washout = Annotated[float, _seconds(1, 10 * MINUTE, "from 1s to 10m"), DURATION]
Objective = Annotated[
    float,
    reads(
        quantities.share,
        lambda found: 0 < found < 1,
        "a share above 0% and below 100%: a perfect objective leaves no error budget",
    ),
    SHARE,
]
Spend = Annotated[
    float, reads(quantities.share, lambda found: found > 0, "a share above 0% up to 100%"), SHARE
]
ControlShare = Spend
Confidence = Annotated[
    float,
    reads(quantities.share, lambda found: 0.5 <= found < 1, "a share from 50% to below 100%"),
    SHARE,
]
Resolution = Annotated[
    float,
    reads(quantities.share, lambda found: 0.01 <= found <= 1, "a share from 1% to 100%"),
    SHARE,
]

Escalation = Annotated[
    float,
    reads(quantities.decimal, lambda found: 1 < found <= 100, "a number above 1 up to 100"),
    _NUMBER,
]
CostOfBad = Annotated[
    float,
    reads(quantities.decimal, lambda found: 0 <= found <= 1e6, "a number from 0 to 1000000"),
    _NUMBER,
]
Requests = Annotated[int, _count(1, 10**13), _WHOLE]
Samples = Annotated[int | None, _count(1, 10**7), _WHOLE]
SteadySamples = Annotated[int, _count(20, 10**6), _WHOLE]
WarmupSamples = Annotated[int, _count(0, 10**5), _WHOLE]
Limit = Annotated[int, _count(1, 10**4), _WHOLE]
Seed = Annotated[int | None, _count(0, 2**63 - 1), _WHOLE]
