"""The targets of requests, read as the real server's router reads them.

Paths are decoded, and one with doubled slashes or dots is answered with the place it means. Pure
text: knows nothing of what is there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

_TARGET = re.compile(
    r"(?P<site>[A-Za-z][A-Za-z0-9+.-]*://[^/?]*|(?=/|\*$))"
    r"(?P<path>(?:[^?%]|%[0-9A-Fa-f]{2})*)(?P<query>\?.*)?"
)
_UNQUOTED = "/$&+,:;=@"


@dataclass(frozen=True, slots=True)
class Target:
    """A decoded path; if it is not as short as it could be, where the short one is."""

    path: str
    moved_to: str | None = None


def read_target(text: str) -> Target | None:
    """Return the target a text names, or None if it names none."""
    found = _TARGET.fullmatch(text)
    if found is None:
        return None
    path = unquote_to_bytes(found["path"])
    short = _shortened(path)
    moved_to = found["site"] + quote(short, _UNQUOTED) + (found["query"] or "")
    return Target(path.decode(errors="replace"), None if short == path else moved_to)


def _shortened(path: bytes) -> bytes:
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    end = b"/" if parts and path.endswith(b"/") else b""
    return b"/" + b"/".join(parts) + end
