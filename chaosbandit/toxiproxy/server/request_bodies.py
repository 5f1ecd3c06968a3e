"""What requests to the server say, and the answers that refuse them.

`parse_...` reads bodies as strictly and as loosely as the real server. Knows nothing of proxies at
work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chaosbandit.toxiproxy.server.go_json import GoJsonError, Kind, decode_first, read_fields
from chaosbandit.toxiproxy.server.toxics import STAGES
from chaosbandit.toxiproxy.wire_format import STREAMS, ProxyRecord, ToxicRecord

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


class Refusal(Exception):  # noqa: N818  # an answer, not a failure
    """An answer other than success: HTTP status and text exactly as Toxiproxy gives them."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text
        super().__init__(text)


def bad_request_body(reason: object) -> Refusal:
    """The body is no JSON of the right shape."""
    return Refusal(400, f"bad request body: {reason}")


def missing_field(name: str) -> Refusal:
    """A field that must be there is not."""
    return Refusal(400, f"missing required field: {name}")


def proxy_not_found() -> Refusal:
    """No proxy of that name."""
    return Refusal(404, "proxy not found")


def proxy_already_exists() -> Refusal:
    """A second proxy of that name."""
    return Refusal(409, "proxy already exists")


def toxic_not_found() -> Refusal:
    """No toxic of that name."""
    return Refusal(404, "toxic not found")


def toxic_already_exists() -> Refusal:
    """A second toxic of that name."""
    return Refusal(409, "toxic already exists")


def invalid_stream() -> Refusal:
    """Neither upstream nor downstream."""
    return Refusal(400, "stream was invalid, can be either upstream or downstream")


def invalid_toxic_type() -> Refusal:
    """No toxic of that type."""
    return Refusal(400, "invalid toxic type")


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
    if type_ not in STAGES:
        raise invalid_toxic_type()
    name = found.get("name") or f"{type_}_{stream}"
    if name in taken_names:
        raise toxic_already_exists()
    attributes = dict.fromkeys(STAGES[type_].attribute_names, 0) | _attributes(found, type_)
    return ToxicRecord(name, type_, stream, found.get("toxicity", 1), attributes)


def parse_toxic_update(body: bytes, toxic: ToxicRecord) -> ToxicRecord:
    """Read the body of `PATCH .../toxics/{toxic}`: attributes are merged, all or nothing."""
    found = _fields(_value(body), _TOXIC_UPDATE_FIELDS)
    attributes = {**toxic.attributes, **_attributes(found, toxic.type)}
    return replace(toxic, toxicity=found.get("toxicity", toxic.toxicity), attributes=attributes)


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
    kinds: dict[str, Kind] = dict.fromkeys(STAGES[type_].attribute_names, "int64")
    return _fields(found.get("attributes"), kinds, ".attributes")
