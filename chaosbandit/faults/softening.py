"""How each type of toxic comes off a living proxy (measured on Toxiproxy 2.12.0).

Under traffic that gives up, a plain DELETE of a toxic that holds data freezes the server; of one
that holds none it does not. So data is let go first, where a toxic has a form without effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from chaosbandit.faults.fault import Toxic

_SOFT: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {"latency": {"latency": 0, "jitter": 0}, "slicer": {"delay": 0}}
)
_HOLDS_NOTHING = frozenset({"limit_data", "slow_close", "noop"})
_CUTS = frozenset({"timeout", "reset_peer"})  # their removal closes connections by nature
_EMPTIED_S = 0.2
_SLOW_S = 2.0  # bandwidth and slicer: nobody knows how much is inside


def soft_form(toxic: Toxic) -> Mapping[str, int] | None:
    """The attributes to update it to before it is deleted; None where it has no such form."""
    return _SOFT.get(toxic.type)


def is_soft(toxic: Toxic) -> bool:
    """Whether it holds nothing as it is, so that a plain DELETE harms nobody."""
    form = soft_form(toxic)
    if form is None:
        return toxic.type in _HOLDS_NOTHING
    return all(toxic.attributes.get(key, 0) == value for key, value in form.items())


def may_be_quiet(toxics: Iterable[Toxic], *, nobody_gave_up: bool) -> bool:
    """Whether they may come off without the proxy being closed first."""
    return all(
        soft_form(toxic) is not None or is_soft(toxic) or (nobody_gave_up and _is_patient(toxic))
        for toxic in toxics
    )


def emptied_s(toxics: Iterable[Toxic]) -> float:
    """How long after its proxy was closed nothing is inside any more."""
    return max(map(_emptied_s, toxics), default=_EMPTIED_S)


def let_go_s(toxics: Iterable[Toxic]) -> float:
    """How long after the last request nothing of it is inside, where they come off softened.

    Softening freezes the server, too, if it meets data of clients that have just given up: 4 of 8
    times at 25/s after 0.2 s in a latency of 0.8 s, when it was not waited for.
    """
    toxics = tuple(toxics)
    softened = all(soft_form(toxic) is not None for toxic in toxics)
    return emptied_s(toxics) if toxics and softened else 0.0


def _is_patient(toxic: Toxic) -> bool:
    return toxic.type not in _CUTS


def _emptied_s(toxic: Toxic) -> float:
    given = toxic.attributes
    if toxic.type == "latency":
        return (given.get("latency", 0) + given.get("jitter", 0)) / 1000 + _EMPTIED_S
    if toxic.type == "reset_peer":
        return given.get("timeout", 0) / 1000 + _EMPTIED_S
    return _SLOW_S if toxic.type in ("bandwidth", "slicer") else _EMPTIED_S
