"""Who holds a server or a proxy just now: what a run has in hand is not to be mended meanwhile.

What a server lists tells of all hosts' runs; where it lists nothing, the ledger tells of this
host's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from chaosbandit.faults import names
from chaosbandit.faults.addresses import is_one_place, same_address, same_server
from chaosbandit.faults.names import HONOURED_S, Kind, Name
from chaosbandit.report.numbers_in_words import duration
from chaosbandit.safety.ledger import Entries, FaultLedger
from chaosbandit.toxiproxy.listing import claimed
from chaosbandit.toxiproxy.wire_format import ProxyRecord


@dataclass(frozen=True, slots=True)
class Holders:
    """Runs of this host that have something at a server, by its ledger."""

    living: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()

    def first(self, do: str) -> str:
        """What to do, and what must be over before."""
        if not self.living:
            return do
        runs = f"run{'s' if len(self.living) > 1 else ''} {', '.join(self.living)}"
        work = "are" if len(self.living) > 1 else "is"
        return f"wait for {runs} of this host, which {work} at work there, or stop it; then {do}"


def at_server(url: str, ledger: FaultLedger, entries: Entries) -> Holders:
    """Who has something at the server, as far as this host knows."""
    faults = (entry.fault for entry in entries.entries)
    runs = sorted({fault.run for fault in faults if same_server(fault.server, url)})
    living = tuple(run for run in runs if ledger.is_alive(run))
    return Holders(living, tuple(run for run in runs if run not in living))


def on_proxy(name: str, listed: Mapping[str, ProxyRecord]) -> list[Name]:
    """What of ours is on a proxy of the operator's, or in its place, whatever its time."""
    found = listed.get(name)
    toxics = found.toxics if found is not None else ()
    ours = [parsed for toxic in toxics if (parsed := names.parse(toxic.name)) is not None]
    others = [parsed for each in listed if (parsed := names.parse(each)) is not None]
    return ours + [each for each in others if each.kind is Kind.STAND_IN and each.proxy == name]


def holder_of(proxy: ProxyRecord, listed: Mapping[str, ProxyRecord], now_epoch_s: float) -> str:
    """Who has a proxy of the operator's in hand, and until when; empty where nobody has."""
    held = [*on_proxy(proxy.name, listed), *_leases_on(proxy.listen, listed)]
    living = [name for name in held if is_in_force(name, now_epoch_s)]
    if not living:
        return ""
    last = max(living, key=lambda name: name.expires_epoch_s)
    return f"run {last.run}, which holds {proxy.name} until {moment(last.expires_epoch_s)}"


def is_in_force(name: Name, now_epoch_s: float) -> bool:
    """Whether its time is not over; a lease that claims too much is nobody's."""
    left_s = name.expires_epoch_s - now_epoch_s
    return left_s > 0 and (name.kind is not Kind.LEASE or left_s <= HONOURED_S)


def moment(epoch_s: float) -> str:
    """`22:03:10Z (in 41 s)`."""
    left_s = epoch_s - time.time()
    clock = time.strftime("%H:%M:%SZ", time.gmtime(epoch_s))
    return f"{clock} ({f'in {duration(left_s)}' if left_s > 0 else 'past'})"


def _leases_on(listen: str, listed: Mapping[str, ProxyRecord]) -> list[Name]:
    if not is_one_place(listen):
        return []
    return [
        lease
        for name, record in listed.items()
        if (lease := names.parse(name)) is not None
        and lease.kind is Kind.LEASE
        and same_address(claimed(record)[1], listen)
    ]
