"""One event as one line of a journal: `{"v": 3, "type": ..., fields}`, strict both ways.

What is read equals what was written, floats to the last bit; infinity and not-a-number stand there
as JavaScript's constants. Unknown fields, and fields that are left out, are refused. pydantic takes
some 0.1 s to import, so it is imported only where a journal is written or read.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any, cast, get_args

from chaosbandit.core.events import Event
from chaosbandit.errors import UsageError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

VERSION = 3  # 2 was written until 0.1.0
_TYPES: dict[str, Any] = {each.__name__: each for each in get_args(Event)}
_HEAD = re.compile(rb'\{"v":%d,"type":"(\w+)",' % VERSION)  # as we write it


class NotJsonError(ValueError):
    """A line that is not JSON, or not all of it."""


def prepare() -> None:
    """Take the time to get ready now, and not when the first request of a run is on its way."""
    for kind in _TYPES.values():
        _adapter(kind)


def line_of(event: Event) -> bytes:
    """One event as its line in the journal."""
    kind: Any = type(event)
    return b'{"v":%d,"type":"%s",%s}\n' % (VERSION, kind.__name__.encode(), _fields(event, kind))


def event_of(line: bytes, place: str) -> Event:
    """The event that a line holds; `place` is where it was found.

    Raises:
        NotJsonError: it may have been cut off.
        UsageError: another format version, or no event as it is known here.
    """
    head = _HEAD.match(line)
    if head is not None and head[1].decode() in _TYPES:
        kind, body = _TYPES[head[1].decode()], b"{" + line[head.end() :]
    else:
        kind, body = _otherwise_written(line, place)
    try:
        (event,) = _adapter(kind).validate_json(b"[%s]" % body)
    except ValueError as error:  # pydantic's own is one
        raise _refused(error, f"{place}: {kind.__name__}") from error
    if body != b"{%s}" % _fields(event, kind):
        _require_all(json.loads(body), json.loads(b"{%s}" % _fields(event, kind)), place, kind)
    return cast(Event, event)


def _fields(event: Event, kind: Any) -> bytes:
    """The fields of an event as JSON, without the braces; types are checked by who reads them."""
    return bytes(_adapter(kind).dump_json((event,))[2:-2])


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """What turns events of one type into JSON and back, floats to the last bit.

    A tuple around the event is the way to configure records that know nothing of pydantic.
    """
    from pydantic import ConfigDict, TypeAdapter

    config = ConfigDict(strict=True, extra="forbid", ser_json_inf_nan="constants")
    return TypeAdapter(tuple[kind], config=config)


def _otherwise_written(line: bytes, place: str) -> tuple[Any, bytes]:
    """The type and the fields of an event that other hands have formatted, or why it is none."""
    try:
        record = json.loads(line)
    except ValueError as error:
        raise NotJsonError from error
    if not isinstance(record, dict) or "v" not in record:
        raise UsageError("no format version `v`", wanted="a journal of a run", where=place)
    version, name = record.pop("v"), record.pop("type", None)
    if version != VERSION:
        raise _other_version(version, record.get("version"), place)
    if name not in _TYPES:
        raise UsageError(f"event type {name!r}", wanted=f"one of {', '.join(_TYPES)}", where=place)
    return _TYPES[name], json.dumps(record).encode()


def _other_version(version: Any, writer: Any, place: str) -> UsageError:
    """What to do with a journal of another format; its first line says who wrote it."""
    by = f"chaosbandit {writer}" if isinstance(writer, str) else "the chaosbandit"
    why = "evidence was weighed by other rules then, so it cannot be told anew"
    do = f"run the scenario again, or read this journal with {by} that wrote it"
    if isinstance(version, int) and version > VERSION:
        why, do = "a newer chaosbandit wrote this journal", "update this one to read it"
    found = f"format version {version!r}"
    return UsageError(found, wanted=f"{VERSION}: {why}", do=do, where=place)


def _refused(error: ValueError, place: str) -> Exception:
    """Where an event does not fit its type, what was found there, and what was wanted."""
    from pydantic import ValidationError

    assert isinstance(error, ValidationError)
    errors = error.errors(include_url=False, include_context=False)
    if errors[0]["type"] == "json_invalid":
        return NotJsonError()
    # Of a union the member that fits best: the one with the fewest faults.
    closest = min(errors, key=lambda each: sum(o["loc"][:3] == each["loc"][:3] for o in errors))
    field = ".".join(map(str, closest["loc"][1:]))
    where = f"{place}: field {field}"
    match closest["type"]:
        case "missing":
            return UsageError("missing", where=where)
        case "unexpected_keyword_argument":
            return UsageError("unknown", where=where)
    wanted = closest["msg"].removeprefix("Input should be ")  # pydantic has no other word of it
    return UsageError(repr(closest["input"])[:60], wanted=wanted, where=where)


def _require_all(found: Any, wanted: Any, place: str, kind: Any, at: str = "") -> None:
    """A field that was left out must not pass for its default."""
    if isinstance(wanted, dict):
        for name in wanted:
            if name not in found:
                raise UsageError("missing", where=f"{place}: {kind.__name__}: field {at}{name}")
            _require_all(found[name], wanted[name], place, kind, f"{at}{name}.")
    elif isinstance(wanted, list):
        for number, each in enumerate(wanted):
            _require_all(found[number], each, place, kind, f"{at}{number}.")
