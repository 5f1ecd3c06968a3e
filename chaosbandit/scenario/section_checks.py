"""What the sections of a scenario must have in common; each check says what it needs to look at.

A section that was refused for itself is not looked at again, so nobody reads about the same mistake
twice. Quoted values come from the file's own text through `shown`, never from a variable's value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chaosbandit.core.scenario import BRACKET, GATE
from chaosbandit.scenario import affordable
from chaosbandit.scenario.affordable import Check
from chaosbandit.scenario.contradictions import Finding, Shown
from chaosbandit.scenario.doses import LadderKeys
from chaosbandit.scenario.file_keys import Document
from chaosbandit.scenario.quantities import Amount, did_you_mean
from chaosbandit.scenario.tree import Path

NAMED = 10  # names a message lists


def findings(document: Document, refused: set[str], shown: Shown) -> Iterator[Finding]:
    """Everything wrong between sections that are each fine for themselves."""
    for check, needed in CHECKS.items():
        if not refused.intersection(needed):
            yield from check(document, shown)


def _proxies_are_wired(document: Document, shown: Shown) -> Iterator[Finding]:
    if not document.topology.needs_listen:
        return
    for name, proxy in document.proxies.items():
        if proxy.listen is None:
            wanted = f"in `{document.topology.name}` the host:port the service is wired to"
            yield Finding(("proxies", name, "listen"), wanted)


def _control_is_another(document: Document, shown: Shown) -> Iterator[Finding]:
    if not document.topology.needs_control:
        return
    path = ("traffic", "control_url")
    if document.traffic.control_url is None:
        name = document.topology.name
        yield Finding(path, f"in `{name}` the URL of a healthy instance to compare with")
    elif document.traffic.control_url == document.traffic.url:
        yield Finding(path, "another instance than `url`: a control must not be sick itself")


def _listens_once(document: Document, shown: Shown) -> Iterator[Finding]:
    seen = set()
    for name, proxy in document.proxies.items():
        if proxy.listen is not None and proxy.listen in seen:
            yield Finding(("proxies", name, "listen"), "an address no other proxy listens on")
        seen.add(proxy.listen)


def _names_once(document: Document, shown: Shown) -> Iterator[Finding]:
    sections = {
        "slos": [slo.name for slo in document.slos],
        "ladders": [ladder.name for ladder in document.ladders],
    }
    for section, names in sections.items():
        for index, name in enumerate(names):
            if name in names[:index]:
                yield Finding((section, index, "name"), f"a name no other of {section} has")


def _ladders_share_proxy(document: Document, shown: Shown) -> Iterator[Finding]:
    topology, first = document.topology, document.ladders[0].proxy
    for index, ladder in enumerate(document.ladders):
        if topology.one_proxy and ladder.proxy != first:
            wanted = (
                f"{first}, as the first ladder: in `{topology.name}` all requests go through one "
                "proxy, that in front of the service"
            )
            yield Finding(("ladders", index, "proxy"), wanted)


def _ladder_has_proxy(document: Document, shown: Shown) -> Iterator[Finding]:
    known = tuple(document.proxies)
    for index, ladder in enumerate(document.ladders):
        if ladder.proxy not in known:
            path = ("ladders", index, "proxy")
            guess = did_you_mean(shown(path).strip("`"), known)
            some = ", ".join(known[:NAMED]) + (", ..." if len(known) > NAMED else "")
            yield Finding(path, f"one of the proxies above: {some}{guess}")


def _doses_fit_the_path(document: Document, shown: Shown) -> Iterator[Finding]:
    for index, ladder in enumerate(document.ladders):
        yield from ladder.refused(index, document.topology, document.traffic.connections)


def _severity_is_on_ladder(document: Document, shown: Shown) -> Iterator[Finding]:
    path, amount = ("guardrails", "max_severity"), document.guardrails.max_severity
    if amount is None:
        return
    meant = [(n, one) for n, one in enumerate(document.ladders) if _measures(one, amount)]
    if not meant:
        yield Finding(path, _unit(document.ladders[0]))
    elif any(amount.value < ladder.mild for _, ladder in meant) or all(
        amount.value > ladder.harsh for _, ladder in meant
    ):
        spans = " and of ".join(_span(shown, index) for index, _ in meant)
        yield Finding(path, f"a severity of the ladder: {spans}")
    else:
        inexact = (ladder.inexact(amount.value) for _, ladder in meant)
        yield from (Finding(path, wanted) for wanted in {*inexact} if wanted is not None)


def _gates_can_be_answered(document: Document, shown: Shown) -> Iterator[Finding]:
    known = tuple(ladder.name for ladder in document.ladders)
    ladders = {ladder.name: ladder for ladder in document.ladders}
    cap = document.guardrails.max_severity
    for name, gate in document.require.items():
        path = ("require", name)
        ladder = ladders.get(name)
        if ladder is None:
            guess = did_you_mean(name, tuple(shown(p).strip("`") for p in _names(known)))
            yield Finding(path, f"the name of a ladder{guess}", key=True)
        elif not _measures(ladder, gate):
            yield Finding(path, _unit(ladder))
        elif not ladder.mild <= gate.value < _harshest(ladder, cap):
            span = _span(shown, known.index(name))
            wanted = f"a gate the search can answer: {span}, below `to` and `max_severity`"
            yield Finding(path, wanted)
        elif (inexact := ladder.inexact(gate.value)) is not None:
            yield Finding(path, inexact)


def _gates_end_the_search(document: Document, shown: Shown) -> Iterator[Finding]:
    names = [ladder.name for ladder in document.ladders if ladder.name not in document.require]
    if document.search.stop == GATE and names:
        some = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
        wanted = f"{BRACKET}, or a gate in `require` for every ladder: there is none for {some}"
        yield Finding(("search", "stop"), wanted)


def _span(shown: Shown, ladder: int) -> str:
    return f"{shown(('ladders', ladder, 'from'))} to {shown(('ladders', ladder, 'to'))}"


def _measures(ladder: LadderKeys, amount: Amount) -> bool:
    return ladder.dose().unit == amount.unit


def _unit(ladder: LadderKeys) -> str:
    return f"{ladder.noun}, as the ladder's"


def _harshest(ladder: LadderKeys, cap: Amount | None) -> float:
    return min(ladder.harsh, cap.value) if cap and _measures(ladder, cap) else ladder.harsh


def _names(known: Sequence[str]) -> Iterator[Path]:
    return (("ladders", index, "name") for index in range(len(known)))


CHECKS: dict[Check, tuple[str, ...]] = {
    _proxies_are_wired: ("topology", "proxies"),
    _control_is_another: ("topology", "traffic"),
    _listens_once: ("proxies",),
    _names_once: ("slos", "ladders"),
    _ladders_share_proxy: ("topology", "ladders"),
    _ladder_has_proxy: ("ladders", "proxies"),
    _doses_fit_the_path: ("topology", "traffic", "ladders"),
    _severity_is_on_ladder: ("ladders", "guardrails"),
    _gates_can_be_answered: ("ladders", "guardrails", "require"),
    _gates_end_the_search: ("ladders", "search", "require"),
    **affordable.CHECKS,
}
