"""What is left at one server: each fault once, by the ledger and by the names the server shows.

The ledger knows more of a fault (all its toxics, the way around it), so its account is used where
there is one. A file that others may write is read for its names only; then the server's account
counts. Pure, and it decides nothing about what must go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from chaosbandit.faults import names
from chaosbandit.faults.addresses import same_server
from chaosbandit.faults.fault import Fault
from chaosbandit.safety.ledger import Entries, Entry
from chaosbandit.toxiproxy.listing import Listing
from chaosbandit.toxiproxy.wire_format import ProxyRecord

_Maker = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Leftover:
    """A fault that is still there, or still written down."""

    fault: Fault
    file: str | None = None  # the name under which the ledger has it
    trusted: bool = True  # nobody but this user may have written that file
    seen: bool = False  # the account of it is the server's own
    shown: ProxyRecord | None = None  # its proxy
    served: bool = False  # a stand-in of ours has the address of its proxy
    late_until_s: float = 0.0  # a call of ours may take effect until then, on the monotonic clock
    ours_to_open: bool = False  # and it may close the proxy

    @property
    def believed(self) -> bool:
        """Whether what is said of it may be acted on."""
        return self.trusted or self.seen

    @property
    def foreign_toxics(self) -> list[str]:
        """What its proxy carries that is not ours."""
        carried = self.shown.toxics if self.shown is not None else ()
        return [toxic.name for toxic in carried if names.owner(toxic.name) is None]


def leftovers_at(server: str, written: Entries, listing: Listing | None) -> list[Leftover]:
    """All of ours at `server`; without a listing only what the ledger tells of."""
    here = [entry for entry in written.entries if same_server(entry.fault.server, server)]
    found = [Leftover(entry.fault, entry.fault.name) for entry in here if entry.trusted]
    others = [entry for entry in written.entries if not (entry.trusted and entry in here)]
    files = {item.path.stem for item in written.damaged}
    for fault in listing.faults() if listing is not None else ():
        found += [_by_server(one, others, files) for one in _uncovered(fault, found)]
    known = {leftover.file for leftover in found}
    for entry in here:
        if not entry.trusted and entry.fault.name not in known:
            bare = replace(entry.fault, check=None, bypass=None)
            found.append(Leftover(bare, entry.fault.name, trusted=False))
    return [_as_shown(leftover, listing) for leftover in found]


def _uncovered(fault: Fault, found: Iterable[Leftover]) -> list[Fault]:
    """What of `fault` no other leftover undoes along with its own: all, a part or nothing."""
    known = [leftover.fault for leftover in found if leftover.fault.proxy == fault.proxy]
    if not fault.toxics:
        return [] if any(_undoes(other, fault) for other in known) else [fault]
    covered = frozenset[str]().union(*(other.toxic_names for other in known))
    left = tuple(toxic for toxic in fault.toxics if toxic.name not in covered)
    return [replace(fault, name=left[0].name, toxics=left)] if left else []


def _undoes(known: Fault, bare: Fault) -> bool:
    """Whether undoing `known` does away with a path, a lease or a stand-in."""
    if bare.owned:
        return known.name == bare.name
    return not known.owned and _maker(known) == _maker(bare)


def _maker(fault: Fault) -> _Maker:
    """Who made it, for which proxy and until when: faults alike in this share one stand-in."""
    return fault.proxy, fault.run, fault.expires_epoch_s


def _by_server(fault: Fault, others: Iterable[Entry], files: set[str]) -> Leftover:
    """With what the ledger knows of it under another URL, as in containers; else as it is shown."""
    for entry in others:
        known = entry.fault
        if not _is_same(known, fault):
            continue
        if not entry.trusted:
            return Leftover(fault, known.name, trusted=False, seen=True)
        if (known.listen, known.upstream) == (fault.listen, fault.upstream):
            return Leftover(replace(known, server=fault.server), known.name)
    file = next((name for name in (fault.name, *fault.toxic_names) if name in files), None)
    return Leftover(fault, file, seen=True)


def _is_same(known: Fault, shown: Fault) -> bool:
    if known.proxy != shown.proxy:
        return False
    if shown.toxics:
        return shown.toxic_names <= known.toxic_names
    return _undoes(known, shown)


def _as_shown(leftover: Leftover, listing: Listing | None) -> Leftover:
    """With its proxy, and whether a stand-in serves the address of that."""
    if listing is None:
        return leftover
    stand_ins = [own for own in listing.faults() if not (own.owned or own.toxics)]
    served = any(_maker(own) == _maker(leftover.fault) for own in stand_ins)
    return replace(leftover, shown=listing.proxies.get(leftover.fault.proxy), served=served)
