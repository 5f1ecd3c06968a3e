"""Frozen dataclasses <-> JSON, driven by their type hints and strict about them in both directions.

It knows types, not meanings: no event, no file and no version is named here. What `decode` returns
equals what `encode` was given, floats to the last bit; anything that would not is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import Field, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

TAG = "is"  # names the class where a field may hold one of several
_SCALARS = (bool, int, float, str)
_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # JSON has no such numbers


class CodecError(ValueError):
    """A value does not fit the type it is declared as."""


def encode(value: Any, kind: Any) -> Any:
    """The JSON value of `value`, which is declared as `kind`."""
    origin = get_origin(kind)
    if _is_union(kind):
        return _encode_union(value, kind)
    if origin is tuple:
        return _encode_tuple(value, kind)
    if origin in (Mapping, dict):
        _require(isinstance(value, Mapping), value, kind)
        key_kind, item_kind = get_args(kind)
        return {str(encode(k, key_kind)): encode(v, item_kind) for k, v in value.items()}
    if _is_record(kind):
        _require(type(value) is kind, value, kind)
        return {f.name: encode(getattr(value, f.name), hint) for f, hint in _fields(kind)}
    if isinstance(kind, type) and issubclass(kind, Enum):
        _require(isinstance(value, kind), value, kind)
        return value.value
    return _encode_scalar(value, kind)


def decode(data: Any, kind: Any) -> Any:
    """The value of type `kind` that `encode` turned into `data`."""
    origin = get_origin(kind)
    if _is_union(kind):
        return _decode_union(data, kind)
    if origin is tuple:
        return _decode_tuple(data, kind)
    if origin in (Mapping, dict):
        _require(isinstance(data, dict), data, kind)
        key_kind, item_kind = get_args(kind)
        return {_decode_key(k, key_kind): decode(v, item_kind) for k, v in data.items()}
    if _is_record(kind):
        return _decode_record(data, kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(data)
        except ValueError as error:
            raise _misfit(data, kind) from error
    return _decode_scalar(data, kind)


def _encode_scalar(value: Any, kind: Any) -> Any:
    if kind is float:
        _require(isinstance(value, (int, float)) and not isinstance(value, bool), value, kind)
        number = float(value)
        return number if math.isfinite(number) else str(number)
    if kind in (NoneType, None):
        _require(value is None, value, kind)
        return None
    _require(kind in _SCALARS and _is_plain(value, kind), value, kind)
    return value


def _decode_scalar(data: Any, kind: Any) -> Any:
    if kind is float:
        if isinstance(data, str) and data in _SPECIAL:
            return _SPECIAL[data]
        _require(isinstance(data, (int, float)) and not isinstance(data, bool), data, kind)
        return float(data)
    return _encode_scalar(data, kind)


def _decode_key(data: str, kind: Any) -> Any:
    return int(data) if kind is int else decode(data, kind)


def _encode_tuple(value: Any, kind: Any) -> Any:
    _require(isinstance(value, tuple), value, kind)
    kinds = get_args(kind)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        if _is_flat(kinds[0]):
            return _encode_columns(value, kinds[0])
        return [encode(item, kinds[0]) for item in value]
    _require(len(value) == len(kinds), value, kind)
    return [encode(item, each) for item, each in zip(value, kinds, strict=True)]


def _decode_tuple(data: Any, kind: Any) -> tuple[Any, ...]:
    kinds = get_args(kind)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        if _is_flat(kinds[0]):
            return _decode_columns(data, kinds[0])
        _require(isinstance(data, list), data, kind)
        return tuple(decode(item, kinds[0]) for item in data)
    _require(isinstance(data, list) and len(data) == len(kinds), data, kind)
    return tuple(decode(item, each) for item, each in zip(data, kinds, strict=True))


def _encode_columns(rows: tuple[Any, ...], kind: Any) -> dict[str, list[Any]]:
    """Samples come by the thousand: field names are written once a batch."""
    _require(all(type(row) is kind for row in rows), rows, kind)
    return {
        f.name: [encode(getattr(row, f.name), hint) for row in rows] for f, hint in _fields(kind)
    }


def _decode_columns(data: Any, kind: Any) -> tuple[Any, ...]:
    _require(isinstance(data, dict), data, kind)
    _check_names(data, kind)
    columns = [[decode(item, hint) for item in data[f.name]] for f, hint in _fields(kind)]
    _require(len({len(column) for column in columns}) == 1, data, kind)
    return tuple(kind(*row) for row in zip(*columns, strict=True))


def _decode_record(data: Any, kind: Any) -> Any:
    _require(isinstance(data, dict), data, kind)
    _check_names(data, kind)
    return kind(**{f.name: decode(data[f.name], hint) for f, hint in _fields(kind)})


def _check_names(data: Mapping[str, Any], kind: Any) -> None:
    wanted = {f.name for f, _ in _fields(kind)}
    if data.keys() != wanted:
        odd = ", ".join(sorted(wanted ^ data.keys()))
        raise CodecError(f"{_name(kind)}: missing or unknown field: {odd}")


def _encode_union(value: Any, kind: Any) -> Any:
    if value is None and NoneType in get_args(kind):
        return None
    members = _members(kind)
    if len(members) == 1:
        return encode(value, members[0])
    for member in members:
        with suppress(CodecError):
            data = encode(value, member)
            return {TAG: _name(member), **data} if _is_record(member) else data
    raise _misfit(value, kind)


def _decode_union(data: Any, kind: Any) -> Any:
    if data is None and NoneType in get_args(kind):
        return None
    members = _members(kind)
    if len(members) == 1:
        return decode(data, members[0])
    for member in members:
        if _is_record(member):
            if isinstance(data, dict) and data.get(TAG) == _name(member):
                return decode({k: v for k, v in data.items() if k != TAG}, member)
            continue
        with suppress(CodecError):
            return decode(data, member)
    raise _misfit(data, kind)


def _is_record(kind: Any) -> bool:
    return is_dataclass(kind)


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType)


def _members(kind: Any) -> tuple[Any, ...]:
    return tuple(member for member in get_args(kind) if member is not NoneType)


@cache
def _fields(kind: Any) -> tuple[tuple[Field[Any], Any], ...]:
    hints = get_type_hints(kind)
    return tuple((f, hints[f.name]) for f in fields(kind) if f.init)


@cache
def _is_flat(kind: Any) -> bool:
    """Whether a dataclass holds only scalars, enums and None, so that rows may become columns."""
    if not _is_record(kind):
        return False
    hints = (hint for _, hint in _fields(kind))
    members = (each for hint in hints for each in (_members(hint) if _is_union(hint) else (hint,)))
    return all(
        each in _SCALARS or (isinstance(each, type) and issubclass(each, Enum)) for each in members
    )


def _is_plain(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _require(fits: bool, value: Any, kind: Any) -> None:
    if not fits:
        raise _misfit(value, kind)


def _misfit(value: Any, kind: Any) -> CodecError:
    text = repr(value)
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return CodecError(f"found {shown}, wanted {_name(kind)}")


def _name(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))
