"""The names of what is ours at a server: who made it, until when, and for which proxy.

    cb.<run>.<expiry>.<n>              a toxic, on the operator's proxy or on a path of ours
    cb-path.<run>.<expiry>.<n>         a proxy of our own beside the operator's (topology `edge`)
    cb-standin.<run>.<expiry>.<proxy>  serves the address of <proxy> while that one is closed
    cb-lease.<run>.<expiry>            a disabled proxy that says who works at this server

A name must be enough to clean up with no shared state. This module only writes and reads text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

SWEEPER = "sweeper"  # stands as run in the lease of a `clean --watch`
HONOURED_S = 600  # a lease that claims more time than this is nobody's: runs renew theirs

_NAME = re.compile(
    r"(?P<kind>cb|cb-path|cb-standin|cb-lease)\.(?P<run>[a-z0-9]{6,16})"
    r"\.(?P<expiry>0|[1-9][0-9]{0,11})(?:\.(?P<rest>[A-Za-z0-9_~-]+))?",
    re.ASCII,
)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_ESCAPE = re.compile(r"~([0-9a-f]{2})", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9_-]", re.ASCII)


class Kind(StrEnum):
    """What a name of ours belongs to; the value is how it begins."""

    TOXIC = "cb"
    PATH = "cb-path"
    STAND_IN = "cb-standin"
    LEASE = "cb-lease"


@dataclass(frozen=True, slots=True)
class Name:
    """What a name of ours says; `str` of it is the name."""

    kind: Kind
    run: str
    expires_epoch_s: int
    n: int = 0  # toxics and paths: which one of the run's
    proxy: str = ""  # stand-ins: whose address they serve

    def __str__(self) -> str:
        start = f"{self.kind}.{self.run}.{self.expires_epoch_s}"
        if self.kind is Kind.LEASE:
            return start
        return f"{start}.{_escaped(self.proxy) if self.kind is Kind.STAND_IN else self.n}"


def parse(name: str) -> Name | None:
    """The parts of one of our names, or None where it is not ours."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    kind, rest = Kind(match["kind"]), match["rest"]
    run, expires = match["run"], int(match["expiry"])
    if kind is Kind.LEASE:
        return Name(kind, run, expires) if rest is None else None
    if rest is None:
        return None
    if kind is Kind.STAND_IN:
        proxy = _unescaped(rest)
        return None if proxy is None else Name(kind, run, expires, proxy=proxy)
    return Name(kind, run, expires, int(rest)) if _NUMBER.fullmatch(rest) else None


def written(kind: Kind, run: str, expires_epoch_s: int, *, n: int = 0, proxy: str = "") -> str:
    """The name of something of ours.

    Raises:
        ValueError: the parts would give a name that `parse` could not read back.
    """
    wanted = Name(kind, run, expires_epoch_s, n, proxy)
    if parse(str(wanted)) != wanted:
        raise ValueError(
            f"no name can be made of {str(wanted)!r}: wanted a run of 6-16 characters a-z and 0-9, "
            "whole numbers from 0, and for a stand-in a proxy"
        )
    return str(wanted)


def owner(name: str) -> str | None:
    """The run that something at a server belongs to, or None where it is not ours."""
    found = parse(name)
    return None if found is None else found.run


def is_lease(name: str) -> bool:
    """Whether it is the name of a lease, which disturbs nobody."""
    found = parse(name)
    return found is not None and found.kind is Kind.LEASE


def _escaped(proxy: str) -> str:
    """Any proxy's name in letters that need no quoting: all others as ~ and two hex digits."""
    parts = (c if _PLAIN.fullmatch(c) else "".join(f"~{b:02x}" for b in c.encode()) for c in proxy)
    return "".join(parts)


def _unescaped(text: str) -> str | None:
    latin = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    try:
        proxy = latin.encode("latin-1").decode()
    except UnicodeError:
        return None
    return proxy if proxy and _escaped(proxy) == text else None
