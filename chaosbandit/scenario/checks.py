"""What the sections of a scenario must have in common; each check says what it needs to look at.

A section that was refused for itself is not looked at again, so nobody reads about the same mistake
twice. Quoted values come from the file's own text through `shown`, never from a variable's value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from chaosbandit.core.slo import SLO, ErrorBudget
from chaosbandit.scenario.shape import Document, ErrorsLadderKeys, LadderKeys
from chaosbandit.scenario.spelling import Amount, did_you_mean
from chaosbandit.scenario.tree import Path

NAMED = 10  # names a message lists

Shown = Callable[[Path], str]


@dataclass(frozen=True, slots=True)
class Finding:
    """Where something else was wanted, and what."""

    path: Path
    wanted: str
    key: bool = False  # the key itself is at fault


Check = Callable[[Document, Shown], Iterator[Finding]]


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


def _errors_are_drawn_afresh(document: Document, shown: Shown) -> Iterator[Finding]:
    why = (
        "connections that are drawn die and the others survive in the pool, so the fault fades "
        "while it is measured"
    )
    topology = document.topology
    for index, ladder in enumerate(document.ladders):
        if not isinstance(ladder, ErrorsLadderKeys):
            continue
        if not topology.allows_errors:
            wanted = (
                f"`latency` in `{topology.name}`; `errors` needs `edge`: behind a service's pool "
                f"{why}"
            )
            yield Finding(("ladders", index, "toxic"), wanted)
        elif document.traffic.connections != "per-request":
            wanted = f"`per-request` with a ladder of errors: with kept connections {why}"
            yield Finding(("traffic", "connections"), wanted)


def _severity_is_on_ladder(document: Document, shown: Shown) -> Iterator[Finding]:
    path, amount = ("guardrails", "max_severity"), document.guardrails.max_severity
    if amount is None:
        return
    meant = [(n, one) for n, one in enumerate(document.ladders) if one.toxic == amount.kind]
    if not meant:
        yield Finding(path, _unit(document.ladders[0].toxic))
    elif any(amount.value < ladder.mild for _, ladder in meant) or all(
        amount.value > ladder.harsh for _, ladder in meant
    ):
        spans = " and of ".join(_span(shown, index) for index, _ in meant)
        yield Finding(path, f"a severity of the ladder: {spans}")
    elif amount.kind == "latency" and not round(amount.value * 1000, 6).is_integer():
        yield Finding(path, "whole milliseconds")


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
        elif gate.kind != ladder.toxic:
            yield Finding(path, _unit(ladder.toxic))
        elif not ladder.mild <= gate.value < _harshest(ladder, cap):
            span = _span(shown, known.index(name))
            wanted = f"a gate the search can answer: {span}, below `to` and `max_severity`"
            yield Finding(path, wanted)


def _bounds_below_timeout(document: Document, shown: Shown) -> Iterator[Finding]:
    for index, slo in enumerate(document.slos):
        bound_s = slo.good.latency_s
        if bound_s is not None and bound_s >= document.traffic.timeout:
            wanted = (
                f"a latency bound below traffic.timeout ({shown(('traffic', 'timeout'))}): "
                "slower answers are never seen"
            )
            yield Finding(("slos", index, "good"), wanted)


def _budget_leaves_something(document: Document, shown: Shown) -> Iterator[Finding]:
    keys = document.budget
    budget = ErrorBudget(keys.window, keys.requests, keys.spend)
    for index, keys_of_slo in enumerate(document.slos):
        slo = SLO(keys_of_slo.name, keys_of_slo.good, keys_of_slo.objective)
        if budget.allowed(slo) > 0:
            continue
        requests, spend = shown(("budget", "requests")), shown(("budget", "spend"))
        objective = shown(("slos", index, "objective"))
        product = keys.requests * slo.bad_ratio * keys.spend
        wanted = (
            f"room for one bad sample of slos[{index}]: requests {requests} x (1 - objective "
            f"{objective}) x spend {spend} is {product:.2g}, less than 1"
        )
        yield Finding(("budget", "requests"), wanted)


def _exposure_outlives_warmup(document: Document, shown: Shown) -> Iterator[Finding]:
    timing, traffic = document.timing, document.traffic
    by_count_s = timing.warmup_samples / traffic.rate
    warmup_s = max(timing.warmup, by_count_s)
    if warmup_s + traffic.timeout < document.guardrails.max_exposure:
        return
    first = "warmup" if timing.warmup >= by_count_s else "warmup_samples at traffic.rate"
    yield Finding(
        ("guardrails", "max_exposure"),
        f"more than the warm-up ({first}) and one traffic.timeout together, or nothing is measured",
    )


def _span(shown: Shown, ladder: int) -> str:
    return f"{shown(('ladders', ladder, 'from'))} to {shown(('ladders', ladder, 'to'))}"


def _unit(toxic: str) -> str:
    return "a duration, as the ladder's" if toxic == "latency" else "a share, as the ladder's"


def _harshest(ladder: LadderKeys, cap: Amount | None) -> float:
    return min(ladder.harsh, cap.value) if cap and cap.kind == ladder.toxic else ladder.harsh


def _names(known: Sequence[str]) -> Iterator[Path]:
    return (("ladders", index, "name") for index in range(len(known)))


CHECKS: dict[Check, tuple[str, ...]] = {
    _proxies_are_wired: ("topology", "proxies"),
    _control_is_another: ("topology", "traffic"),
    _listens_once: ("proxies",),
    _names_once: ("slos", "ladders"),
    _ladders_share_proxy: ("topology", "ladders"),
    _ladder_has_proxy: ("ladders", "proxies"),
    _errors_are_drawn_afresh: ("topology", "traffic", "ladders"),
    _severity_is_on_ladder: ("ladders", "guardrails"),
    _gates_can_be_answered: ("ladders", "guardrails", "require"),
    _bounds_below_timeout: ("slos", "traffic"),
    _budget_leaves_something: ("slos", "budget"),
    _exposure_outlives_warmup: ("guardrails", "timing", "traffic"),
}
