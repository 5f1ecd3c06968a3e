"""The shapes that travel between a Toxiproxy server and its clients, and what may be sent.

Milliseconds, kilobytes and the other units of Toxiproxy end here. `check_toxic` is far stricter
than any server: it is what our own client asks before it sends anything, since legal attributes can
crash or freeze the real server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

ATTRIBUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bandwidth": ("rate",),
        "latency": ("latency", "jitter"),
        "limit_data": ("bytes",),
        "noop": (),
        "reset_peer": ("timeout",),
        "slicer": ("average_size", "size_variation", "delay"),
        "slow_close": ("delay",),
        "timeout": ("timeout",),
    }
)
"""Attribute names of each toxic type, in the order in which servers write them."""

STREAMS = ("upstream", "downstream")

_LARGEST = 10**12  # the real server multiplies: more overflows there, and can crash it
_LARGEST_JITTER = 10**9
_SMALLEST = {"rate": 1, "average_size": 1}


@dataclass(frozen=True, slots=True)
class ToxicRecord:
    """One toxic as a server shows it; `attributes` is complete and `stream` as it was given."""

    name: str
    type: str
    stream: str
    toxicity: float
    attributes: Mapping[str, int]

    @property
    def direction(self) -> str:
        """`upstream` or `downstream`, whatever the spelling of `stream`."""
        return self.stream.lower()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object in the server's order of keys."""
        return {
            "attributes": dict(self.attributes),
            "name": self.name,
            "type": self.type,
            "stream": self.stream,
            "toxicity": self.toxicity,
        }


@dataclass(frozen=True, slots=True)
class ProxyRecord:
    """One proxy as a server shows it; `toxics` lists upstream ones first, each in chain order."""

    name: str
    listen: str
    upstream: str
    enabled: bool = True
    toxics: tuple[ToxicRecord, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object in the server's order of keys."""
        return {
            "name": self.name,
            "listen": self.listen,
            "upstream": self.upstream,
            "enabled": self.enabled,
            "toxics": [toxic.to_json() for toxic in self.toxics],
        }


def check_toxic(
    type: str,
    attributes: Mapping[str, object],
    stream: str = "downstream",
    toxicity: float = 1.0,
) -> list[str]:
    """Return every reason not to send this toxic to a server, as sentences; none means safe."""
    if type not in ATTRIBUTES:
        return [f"found toxic type {type!r}, wanted one of {', '.join(sorted(ATTRIBUTES))}"]
    problems = []
    if stream not in STREAMS:
        problems.append(f"found stream {stream!r}, wanted upstream or downstream")
    if isinstance(toxicity, bool) or not 0 <= toxicity <= 1:
        problems.append(f"found toxicity {toxicity!r}, wanted a number from 0 to 1")
    elif type == "reset_peer" and toxicity < 1:
        problems.append(
            f"found reset_peer with toxicity {toxicity:g}, wanted 1: Toxiproxy resets every new "
            "connection whatever the toxicity; use limit_data with bytes 0 for a share of them"
        )
    for name, value in attributes.items():
        problems.extend(_check_attribute(type, name, value))
    return problems or _check_together(type, attributes)


def _check_attribute(type_: str, name: str, value: object) -> list[str]:
    if name not in ATTRIBUTES[type_]:
        known = ", ".join(ATTRIBUTES[type_]) or "none"
        return [f"found attribute {name!r} of {type_}, wanted one of: {known}"]
    if isinstance(value, bool) or not isinstance(value, int):
        return [f"found {name} {value!r}, wanted an integer: Toxiproxy refuses anything else"]
    smallest = _SMALLEST.get(name, 0)
    largest = _LARGEST_JITTER if name == "jitter" else _LARGEST
    if not smallest <= value <= largest:
        return [f"found {name} {value}, wanted {smallest} to {largest}"]
    return []


def _check_together(type_: str, attributes: Mapping[str, Any]) -> list[str]:
    if type_ == "bandwidth" and "rate" not in attributes:
        return ["found bandwidth without rate, wanted at least 1: nothing passes at its default 0"]
    if type_ == "slicer":
        average, variation = attributes.get("average_size", 0), attributes.get("size_variation", 0)
        if average < 1:
            return ["found slicer without average_size, wanted at least 1: 0 crashes the server"]
        if variation >= average:
            return [
                f"found size_variation {variation}, wanted less than average_size {average}: "
                "more crashes the server"
            ]
    return []
