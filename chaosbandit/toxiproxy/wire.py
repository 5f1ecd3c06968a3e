"""The shapes that travel between a Toxiproxy server and its clients, and what may be sent.

Milliseconds, kilobytes and the other units of Toxiproxy end here. `parse_...` reads requests as
strictly and as loosely as the real server; `check_toxic` is far stricter: it is what our own client
asks before it sends anything, since legal attributes can crash or freeze the real server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from chaosbandit.toxiproxy.gojson import GoJsonError, Kind, decode_first, read_fields

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

_PROXY_FIELDS: Mapping[str, Kind] = {
    "name": "string",
    "listen": "string",
    "upstream": "string",
    "enabled": "bool",
}
_TOXIC_FIELDS: Mapping[str, Kind] = {
    "name": "string",
    "type": "string",
    "stream": "string",
    "toxicity": "float32",
    "attributes": "object",
}
_TOXIC_UPDATE_FIELDS: Mapping[str, Kind] = {"toxicity": "float32", "attributes": "object"}

_LARGEST = 10**12  # the real server multiplies: more overflows there, and can crash it
_LARGEST_JITTER = 10**9
_SMALLEST = {"rate": 1, "average_size": 1}


class Refusal(Exception):  # noqa: N818  # an answer, not a failure
    """An answer other than success: HTTP status and text exactly as Toxiproxy gives them."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text
        super().__init__(text)


def bad_request_body(reason: object) -> Refusal:
    return Refusal(400, f"bad request body: {reason}")


def missing_field(name: str) -> Refusal:
    return Refusal(400, f"missing required field: {name}")


def proxy_not_found() -> Refusal:
    return Refusal(404, "proxy not found")


def proxy_already_exists() -> Refusal:
    return Refusal(409, "proxy already exists")


def toxic_not_found() -> Refusal:
    return Refusal(404, "toxic not found")


def toxic_already_exists() -> Refusal:
    return Refusal(409, "toxic already exists")


def invalid_stream() -> Refusal:
    return Refusal(400, "stream was invalid, can be either upstream or downstream")


def invalid_toxic_type() -> Refusal:
    return Refusal(400, "invalid toxic type")


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


def parse_new_proxy(body: bytes) -> ProxyRecord:
    """Read the body of `POST /proxies`."""
    proxy = _proxy(_value(body))
    for name in ("name", "upstream"):
        if not getattr(proxy, name):
            raise missing_field(name)
    return proxy


def parse_proxy_update(body: bytes, proxy: ProxyRecord) -> ProxyRecord:
    """Read the body of `PATCH /proxies/{proxy}`: what it names changes, except the name."""
    return replace(_proxy(_value(body), proxy), name=proxy.name)


def parse_populate(body: bytes) -> list[ProxyRecord]:
    """Read the body of `POST /populate`; either every entry is complete or none is accepted."""
    value = _value(body)
    if value is not None and type(value) is not list:
        raise bad_request_body("json: cannot unmarshal object into Go value of type []struct")
    proxies = [_proxy(entry) for entry in value or ()]
    for number, proxy in enumerate(proxies, start=1):
        for name in ("name", "upstream"):
            if not getattr(proxy, name):
                raise missing_field(f"{name} at proxy {number}")
    return proxies


def parse_new_toxic(body: bytes, taken_names: frozenset[str]) -> ToxicRecord:
    """Read the body of `POST /proxies/{proxy}/toxics`; checks come in the real server's order."""
    found = _fields(_value(body), _TOXIC_FIELDS)
    stream = found.get("stream", "downstream")
    if stream.lower() not in STREAMS:
        raise invalid_stream()
    type_ = found.get("type", "")
    if type_ not in ATTRIBUTES:
        raise invalid_toxic_type()
    name = found.get("name") or f"{type_}_{stream}"
    if name in taken_names:
        raise toxic_already_exists()
    attributes = dict.fromkeys(ATTRIBUTES[type_], 0) | _attributes(found, type_)
    return ToxicRecord(name, type_, stream, found.get("toxicity", 1), attributes)


def parse_toxic_update(body: bytes, toxic: ToxicRecord) -> ToxicRecord:
    """Read the body of `PATCH .../toxics/{toxic}`: attributes are merged, all or nothing."""
    found = _fields(_value(body), _TOXIC_UPDATE_FIELDS)
    attributes = {**toxic.attributes, **_attributes(found, toxic.type)}
    return replace(toxic, toxicity=found.get("toxicity", toxic.toxicity), attributes=attributes)


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


def _value(body: bytes) -> Any:
    try:
        return decode_first(body)
    except GoJsonError as error:
        raise bad_request_body(error) from None


def _fields(value: Any, fields: Mapping[str, Kind], place: str = "") -> dict[str, Any]:
    try:
        return read_fields(value, fields, place)
    except GoJsonError as error:
        raise bad_request_body(error) from None


def _proxy(value: Any, default: ProxyRecord | None = None) -> ProxyRecord:
    return replace(default or ProxyRecord("", "", ""), **_fields(value, _PROXY_FIELDS))


def _attributes(found: Mapping[str, Any], type_: str) -> dict[str, int]:
    kinds: dict[str, Kind] = dict.fromkeys(ATTRIBUTES[type_], "int64")
    return _fields(found.get("attributes"), kinds, ".attributes")
