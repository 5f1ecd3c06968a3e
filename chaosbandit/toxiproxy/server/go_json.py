"""JSON read as Go's `encoding/json` reads it, because Toxiproxy's clients rely on it.

Only the first value of a body counts, keys match whatever their case, `null` keeps the default,
the last of two equal keys wins, and an integer may not be written `1.0`. Knows nothing of proxies.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from typing import Any, Literal, NoReturn

Kind = Literal["string", "bool", "int64", "float32", "object"]

_INT64 = range(-(2**63), 2**63)
_SPACE = re.compile(r"[ \t\n\r]*")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPES = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"}


class GoJsonError(ValueError):
    """The text is not what the field wants; the message follows Go's wording."""


class JsonObject(list[tuple[str, Any]]):
    """An object as its pairs, in the order written and with duplicates."""


def decode_first(body: bytes) -> Any:
    """Return the first JSON value of a body and ignore what follows it."""
    text = body.decode(errors="replace")
    start = _SPACE.match(text).end()  # type: ignore[union-attr]  # it matches the empty string
    if start == len(text):
        raise GoJsonError("EOF")
    try:
        return _DECODER.raw_decode(text, start)[0]
    except json.JSONDecodeError as error:
        if error.pos >= len(text) or "Unterminated" in error.msg:
            raise GoJsonError("unexpected EOF") from None
        found = text[error.pos]
        raise GoJsonError(f"invalid character {found!r} looking for beginning of value") from None
    except RecursionError:
        raise GoJsonError("exceeded max depth") from None


def read_fields(value: Any, fields: Mapping[str, Kind], place: str = "") -> dict[str, Any]:
    """Return the fields that an object sets to something; `null` and unknown keys are left out."""
    if value is None:
        return {}
    if not isinstance(value, JsonObject):
        raise GoJsonError(f"json: cannot unmarshal {_kind_of(value)} into Go struct {place or '.'}")
    folded = {name.casefold(): name for name in fields}
    found = {}
    for key, item in value:
        name = folded.get(key.casefold())
        if name is not None and item is not None:
            found[name] = _typed(item, fields[name], f"{place}.{name}")
    return found


def encode(value: Any) -> bytes:
    """Return compact JSON with the characters escaped that Go escapes for HTML."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPES).encode()


def float32(value: float) -> float:
    """Return the shortest number that names the 32-bit float nearest to `value`."""
    (nearest,) = struct.unpack("f", struct.pack("f", value))
    if nearest == int(nearest):
        return int(nearest)
    shortest = (float(f"{nearest:.{digits}g}") for digits in range(1, 10))
    return next(s for s in shortest if struct.unpack("f", struct.pack("f", s))[0] == nearest)


def _typed(value: Any, kind: Kind, place: str) -> Any:
    match kind:
        case "string" if isinstance(value, str):
            return _LONE_SURROGATE.sub("\ufffd", value)
        case "bool" if isinstance(value, bool):
            return value
        case "object" if isinstance(value, JsonObject):
            return value
        case "int64" if type(value) is int and value in _INT64:
            return value
        case "float32" if type(value) in (int, float):
            try:
                return float32(value)
            except OverflowError:
                pass
    raise GoJsonError(
        f"json: cannot unmarshal {_kind_of(value)} into Go struct field {place} of type {kind}"
    )


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, JsonObject):
        return "object"
    return "array" if isinstance(value, list) else f"number {value}"


def _number(text: str) -> int:
    # int() refuses very long texts; Go only says that they do not fit
    return int(text) if len(text) < 100 else 2**63


def _no_constant(text: str) -> NoReturn:
    raise GoJsonError(f"invalid character {text[0]!r} looking for beginning of value")


_DECODER = json.JSONDecoder(
    object_pairs_hook=JsonObject, parse_int=_number, parse_constant=_no_constant
)
