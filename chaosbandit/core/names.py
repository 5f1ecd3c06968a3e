"""The names of the proxies we own: who made them, until when, and what they stand in for.

    cb.<run>.<expiry>.<n>.<original>[.own]   a fault
    cb-lease.<run>.<expiry>                  a claim: never enabled, hurts nobody, says who is here

A name must be enough to clean up with no shared state, so run, expiry and the operator's own proxy
are readable from it. This module knows nothing of servers; it only writes and reads text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(
    r"cb\.(?P<run>[a-z0-9]{6,16})\.(?P<expiry>0|[1-9][0-9]{0,11})\.(?P<n>0|[1-9][0-9]{0,8})"
    r"\.(?P<original>[A-Za-z0-9_-]+)(?P<own>\.own)?",
    re.ASCII,
)
_LEASE = re.compile(r"cb-lease\.(?P<run>[a-z0-9]{6,16})\.(?P<expiry>0|[1-9][0-9]{0,11})", re.ASCII)
SWEEPER = "sweeper"  # stands as run in the lease of a `clean --watch`


@dataclass(frozen=True, slots=True)
class ParsedName:
    """What the name of one of our proxies says."""

    run: str
    expires_epoch_s: int
    n: int
    original: str
    stands_in: bool = True  # False: beside the operator's proxy, so there is nothing to restore

    @property
    def restores(self) -> str | None:
        """The operator's proxy that must come back when ours goes, if any."""
        return self.original if self.stands_in else None


def fault_name(
    run: str, expires_epoch_s: int, n: int, original: str, *, stands_in: bool = True
) -> str:
    """`cb.<run>.<expiry>.<n>.<original>`, the name of fault number `n` of a run.

    With `stands_in` False, `.own` is appended: the proxy is wholly ours (topology `edge`), and who
    cleans up from the name alone must not create `<original>` in its place.

    Raises:
        ValueError: the parts would give a name that `parse_name` could not read back.
    """
    name = f"cb.{run}.{expires_epoch_s}.{n}.{original}{'' if stands_in else '.own'}"
    if parse_name(name) != ParsedName(run, expires_epoch_s, n, original, stands_in):
        raise ValueError(
            f"no proxy name can be made of {name!r}: wanted a run of 6-16 characters a-z and 0-9, "
            "whole numbers from 0, and an original of letters, digits, - and _"
        )
    return name


def parse_name(name: str) -> ParsedName | None:
    """The parts of one of our names, or None where the proxy is not ours."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return ParsedName(
        run=match["run"],
        expires_epoch_s=int(match["expiry"]),
        n=int(match["n"]),
        original=match["original"],
        stands_in=match["own"] is None,
    )


@dataclass(frozen=True, slots=True)
class ParsedLease:
    """What the name of a lease says."""

    run: str
    expires_epoch_s: int


def lease_name(run: str, expires_epoch_s: int) -> str:
    """`cb-lease.<run>.<expiry>`.

    Raises:
        ValueError: the parts would give a name that `parse_lease` could not read back.
    """
    name = f"cb-lease.{run}.{expires_epoch_s}"
    if parse_lease(name) != ParsedLease(run, expires_epoch_s):
        raise ValueError(
            f"no lease can be named {name!r}: wanted a run of 6-16 characters a-z and 0-9 and a "
            "whole number from 0"
        )
    return name


def parse_lease(name: str) -> ParsedLease | None:
    """The parts of a lease's name, or None where it is none."""
    match = _LEASE.fullmatch(name)
    return None if match is None else ParsedLease(match["run"], int(match["expiry"]))


def owner(name: str) -> str | None:
    """The run that a proxy of ours belongs to, or None where it is not ours."""
    found = parse_name(name) or parse_lease(name)
    return None if found is None else found.run
