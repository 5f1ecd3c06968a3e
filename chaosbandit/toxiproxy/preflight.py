"""Whether a Toxiproxy server is in a state in which a run may touch it, and stays so meanwhile.

Compares what a server shows with what a scenario or a fault says and answers in sentences; changes
nothing and asks no server itself.
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Iterable, Mapping

from chaosbandit.core.scenario import Proxy
from chaosbandit.faults import names
from chaosbandit.faults.addresses import is_known, parts, same_address
from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.faults.names import Kind
from chaosbandit.foreign_text import said
from chaosbandit.toxiproxy.wire_format import ProxyRecord, ToxicRecord

_EVERYWHERE = "*"


def unresolvable(proxy: Proxy) -> list[str]:
    """Why the upstream of a path of ours could not be reached, if so."""
    host = proxy.upstream.rpartition(":")[0]
    if parts(proxy.upstream)[0] == _EVERYWHERE or is_known(host):
        return []
    return [f"the upstream {proxy.upstream} of {proxy.name} cannot be resolved; correct it"]


def occupied(
    wanted: Proxy, listed: Mapping[str, ProxyRecord], run: str, now_epoch_s: float
) -> list[str]:
    """What a run, this one or another, has on the operator's proxy or in its place."""
    found = listed.get(wanted.name)
    ours = [toxic.name for toxic in found.toxics] if found is not None else []
    ours += [name for name in listed if _stands_in(name, wanted.name)]
    return [
        _held(name, parsed, wanted, run, now_epoch_s)
        for name in ours
        if (parsed := names.parse(name)) is not None
    ]


def departures(found: ProxyRecord | None, wanted: Proxy, ours: Collection[str] = ()) -> list[str]:
    """How the operator's proxy differs from what it should be, toxics named in `ours` apart."""
    if found is None:
        return [
            f"there is no proxy {wanted.name}; create it with listen {wanted.listen} and upstream "
            f"{wanted.upstream}, or correct its name in the scenario"
        ]
    sentences = []
    if not found.enabled:
        sentences.append(f"{wanted.name} is disabled; enable it")
    if wanted.listen is not None and not same_address(found.listen, wanted.listen):
        sentences.append(f"{wanted.name} listens on {said(found.listen)}, wanted {wanted.listen}")
    if not same_address(found.upstream, wanted.upstream):
        sentences.append(f"{wanted.name} leads to {said(found.upstream)}, wanted {wanted.upstream}")
    foreign = [toxic.name for toxic in found.toxics if toxic.name not in ours]
    if foreign:
        sentences.append(
            f"{wanted.name} carries toxics that are not ours: {said(', '.join(foreign))}; remove "
            "them"
        )
    return sentences


def changes(found: ProxyRecord | None, fault: Fault) -> list[str]:
    """How the server's own account differs from the fault that was put on, to the last attribute.

    A server that accepts a toxic need not have kept it, and others may edit what is there: without
    its dose a healthy verdict is worthless, and a closed path breaks without any.
    """
    if found is None:
        return [f"proxy {fault.proxy} is gone"]
    sentences = []
    if not found.enabled:
        sentences.append(f"proxy {fault.proxy} is disabled")
    for what, shown, wanted in (
        ("listens on", found.listen, fault.listen),
        ("leads to", found.upstream, fault.upstream),
    ):
        if not same_address(shown, wanted):
            sentences.append(f"proxy {fault.proxy} {what} {shown}, wanted {wanted}")
    shown_toxics, wanted_toxics = _shown(found.toxics), _wanted(fault.toxics)
    if shown_toxics != wanted_toxics:
        sentences.append(
            f"proxy {fault.proxy} carries {_listed(shown_toxics)}, wanted {_listed(wanted_toxics)}"
        )
    return sentences


def _stands_in(name: str, proxy: str) -> bool:
    parsed = names.parse(name)
    return parsed is not None and parsed.kind is Kind.STAND_IN and parsed.proxy == proxy


def _held(name: str, parsed: names.Name, wanted: Proxy, run: str, now_epoch_s: float) -> str:
    where = "in place of" if parsed.kind is Kind.STAND_IN else "on"
    left_s = parsed.expires_epoch_s - now_epoch_s
    if parsed.run != run and left_s > 0:
        return (
            f"run {parsed.run} has {name} {where} {wanted.name} for at most {left_s:.0f} s more; "
            "wait for it, or end it and run `chaosbandit clean`"
        )
    command = "chaosbandit clean" if parsed.run == run else "chaosbandit clean --expired"
    return f"{name} is left over {where} {wanted.name}; run `{command}` first"


_Essence = tuple[str, str, str, tuple[tuple[str, int], ...], float]


def _shown(toxics: Iterable[ToxicRecord]) -> list[_Essence]:
    return [_essence(t.name, t.type, t.direction, t.attributes, t.toxicity) for t in toxics]


def _wanted(toxics: Iterable[Toxic]) -> list[_Essence]:
    upstream_first = sorted(toxics, key=lambda toxic: toxic.stream != "upstream")
    return [_essence(t.name, t.type, t.stream, t.attributes, t.toxicity) for t in upstream_first]


def _essence(
    name: str, type_: str, stream: str, attributes: Mapping[str, int], toxicity: float
) -> _Essence:
    """A toxic in comparable form: servers fill in zeros, and keep toxicity as a 32-bit float."""
    given = tuple(sorted((key, value) for key, value in attributes.items() if value))
    return (name, type_, stream, given, ctypes.c_float(toxicity).value)


def _listed(toxics: Iterable[_Essence]) -> str:
    parts = []
    for name, type_, stream, attributes, toxicity in toxics:
        given = " ".join(f"{key}={value}" for key, value in attributes) or "without effect"
        share = "" if toxicity == 1 else f" toxicity={toxicity:.4g}"
        parts.append(said(f"{name} ({type_} {stream} {given}{share})"))
    return ", ".join(parts) or "no toxic"
