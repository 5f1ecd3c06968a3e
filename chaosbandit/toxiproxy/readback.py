"""Whether the proxy a server shows is the fault that was asked for, to the last attribute.

A server that accepts a toxic need not have kept it, and without its dose a healthy verdict is
worthless. Compares records only; knows no server.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from chaosbandit.core.model import Fault, Toxic
from chaosbandit.toxiproxy.preflight import same_address
from chaosbandit.toxiproxy.wire import ProxyRecord, ToxicRecord


async def mismatches(found: ProxyRecord | None, fault: Fault) -> list[str]:
    """How the server's own account differs from the fault that was asked for."""
    if found is None:
        return ["the server does not show it"]
    problems = []
    if found.name != fault.name:
        problems.append(f"reads back name {found.name}")
    if not found.enabled:
        problems.append("reads back disabled")
    if found.upstream != fault.upstream:
        problems.append(f"reads back upstream {found.upstream}, wanted {fault.upstream}")
    port = found.listen.rpartition(":")[2]
    if fault.restores is None:
        if not port.isdigit() or port == "0":
            problems.append(f"reads back listen {found.listen}, wanted a port that was bound")
    elif not await same_address(found.listen, fault.listen):
        problems.append(f"reads back listen {found.listen}, wanted {fault.listen}")
    shown, wanted = _shown(found.toxics), _wanted(fault.toxics)
    if shown != wanted:
        problems.append(f"reads back toxics {shown}, wanted {wanted}")
    return problems


def _shown(toxics: Iterable[ToxicRecord]) -> list[tuple[object, ...]]:
    return [_essence(t.name, t.type, t.direction, t.attributes, t.toxicity) for t in toxics]


def _wanted(toxics: Iterable[Toxic]) -> list[tuple[object, ...]]:
    upstream_first = sorted(toxics, key=lambda toxic: toxic.stream != "upstream")
    return [_essence(t.name, t.type, t.stream, t.attributes, t.toxicity) for t in upstream_first]


def _essence(
    name: str, type_: str, stream: str, attributes: Mapping[str, int], toxicity: float
) -> tuple[object, ...]:
    """A toxic in comparable form: servers fill in zeros, and keep toxicity as a 32-bit float."""
    given = {key: value for key, value in attributes.items() if value}
    single = struct.unpack("f", struct.pack("f", toxicity))[0]
    return (name, type_, stream, dict(sorted(given.items())), single)
