"""The registry of policies: what decides where the next samples go, and what all of them share.

A policy is pure: it reads a `Campaign` and answers with a `Decision`. Each lives in a file of its
name and registers itself there; the file is imported when the policy is first asked for. Installed
packages add more by the entry points `chaosbandit.policies`, which are read when a name asked for
is none of ours.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Protocol, TypeVar

from numpy.random import Generator

from chaosbandit.core.climb import Climb
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Cause, Decision, Stop
from chaosbandit.core.scenario import GATE
from chaosbandit.errors import UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class Policy(Protocol):
    """Where to sample next, or that enough is known."""

    name: str

    def decide(self, climb: Climb, rng: Generator) -> Decision:
        """The next batch, or the end; the same campaign and generator give the same answer."""
        ...


GROUP = "chaosbandit.policies"  # of entry points: name = "module:policy", a class or an instance

_registry: dict[str, Policy] = {}
_AnyPolicy = TypeVar("_AnyPolicy", bound=type[Policy])


def register(kind: _AnyPolicy) -> _AnyPolicy:
    """Class decorator: make a policy known under its `name`; ours cannot be taken over."""
    module, name = kind.__module__, kind.name
    if name in _ours() and module != f"{__name__}.{name}":
        found = f"{module}.{kind.__qualname__} is called {name!r}, as a policy of chaosbandit is"
        raise UsageError(found, do="give it a name of its own")
    _registry[name] = kind()
    return kind


def names() -> tuple[str, ...]:
    """The policies there are: ours and installed ones, without importing any."""
    return tuple(sorted({*_ours(), *_registry, *_installed()}))


def known(name: str) -> bool:
    """Whether there is such a policy; looks at installed packages only where none of ours is."""
    return name in _ours() or name in _registry or name in _installed()


def policy(name: str) -> Policy:
    """The policy of that name."""
    if not known(name):
        raise UsageError(repr(name), wanted=f"one of: {', '.join(names())}", where="search.policy")
    if name in _ours() and name not in _registry:
        importlib.import_module(f"{__name__}.{name}")
    return _registry[name] if name in _registry else _plugin(name)


@cache
def _ours() -> frozenset[str]:
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return frozenset(name for name in modules if not name.startswith("_"))


@cache
def _installed() -> dict[str, tuple[EntryPoint, ...]]:
    """Entry points by name; looking through all installed packages takes a while, so once."""
    from importlib.metadata import entry_points  # not needed where a policy of ours is asked for

    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=GROUP):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


@cache
def _plugin(name: str) -> Policy:
    """The policy that an installed package offers under that name."""
    point, *others = _installed()[name]
    said = f"search.policy {name!r}, which {_package(point)} offers as {point.value!r}"
    if others:
        also = ", ".join(_package(other) for other in others)
        raise UsageError(f"{said}, is offered by {also} as well", do="uninstall all but one")
    remedy = "repair, update or uninstall that package, or choose another policy"
    try:
        found = point.load()
        made = found() if isinstance(found, type) else found
    except Exception as error:  # whatever a stranger's module raises
        why = f"{type(error).__name__}: {error}"
        raise UsageError(f"{said}, cannot be loaded ({why})", do=remedy) from error
    if not callable(getattr(made, "decide", None)):
        raise UsageError(f"{said}, has no method `decide(climb, rng)`", do=remedy)
    own = getattr(made, "name", None)
    if own != name:
        raise UsageError(f"name {own!r}", wanted=f"{name!r} in both places", do=remedy, where=said)
    loaded: Policy = made
    return loaded


def _package(point: EntryPoint) -> str:
    """Which distribution an entry point belongs to."""
    dist = point.dist
    return f"{dist.name} {dist.version}" if dist and dist.name else "an unnamed package"


def highest_arm(severities: Sequence[float], limit: float) -> int:
    """The highest arm at or under a severity; -1 when there is none."""
    return bisect_right(severities, limit * (1 + 1e-9)) - 1


def within_reach(severities: Sequence[float], held: int, factor: float) -> int:
    """The highest arm within a factor of one that held, or the next one."""
    return max(highest_arm(severities, severities[held] * factor), held + 1)


def top_arm(climb: Climb) -> int:
    """The highest arm that may be exposed; -1 when there is none: a gate needs none above it."""
    limit, bound = climb.cap, gate_arm(climb)
    top = highest_arm(climb.ladder.severities, math.inf if limit is None else limit)
    return top if bound is None else min(top, bound)


def whole_blocks(climb: Climb, samples: int) -> int:
    """At least so many, in whole blocks, and not beyond search.max_samples; a cut block may lose.

    Requests in flight count as sent. Less than one where nothing may be sent any more.
    """
    block, limit = climb.certificate.block, climb.search.max_samples
    samples = -(-samples // block) * block
    sent = climb.spent_samples + climb.unresolved
    return samples if limit is None else min(samples, limit - sent)


def ended(climb: Climb) -> Stop | None:
    """Why no further sample is needed, or can help; None to go on."""
    ladder, search, top = climb.ladder, climb.search, top_arm(climb)
    if top < 0:
        limit = ladder.text(climb.cap or 0.0)
        why = f"guardrails.max_severity: found {limit}, wanted at least {_at(ladder, 0)}"
        return Stop(why, cause=Cause.CAPPED)
    if climb.certificate.empty:
        why = "no breaking point fits what was seen; is the response monotone, the target steady?"
        return Stop(f"assumptions failed: {why}", cause=Cause.ASSUMPTIONS)
    answer = _answer(climb, top)
    if answer is not None:
        return answer
    sent = climb.spent_samples + climb.unresolved
    if search.max_samples is not None and sent >= search.max_samples:
        return Stop(f"search.max_samples ({search.max_samples}) are spent", cause=Cause.SAMPLES)
    return None


def _answer(climb: Climb, top: int) -> Stop | None:
    """What is certified, if that is all that was asked."""
    ladder = climb.ladder
    held, broke, closed = climb.claimed
    bound = gate_arm(climb)
    if bound is not None:
        if held is not None and held >= bound:
            return Stop(f"the gate holds: held at {_at(ladder, held)}", True, Cause.GATE_DECIDED)
        if broke is not None and broke <= bound:  # `scenario` makes the gate an arm
            return Stop(f"the gate fails: broke at {_at(ladder, broke)}", True, Cause.GATE_DECIDED)
    if closed and held is not None and broke is not None:
        why = f"held at {_at(ladder, held)}, broke at {_at(ladder, broke)}"
        return Stop(why, True, Cause.BRACKETED)
    if held is not None and held >= top:
        whole = top == len(ladder.severities) - 1
        beyond = "the ladder's end" if whole else "what the guardrails allow"
        why = f"held at the cap of {_at(ladder, top)}: the breaking point is above {beyond}"
        return Stop(why, True, Cause.HELD_AT_CAP)
    if broke == 0:
        why = f"broke at {_at(ladder, 0)}, the mildest severity: the breaking point is below"
        return Stop(why, True, Cause.BROKE_AT_MILDEST)
    return None


def gate_arm(climb: Climb) -> int | None:
    """Where `search.stop: gate` looks: the mildest arm at or above what is required; else None."""
    bound = climb.scenario.require.get(climb.ladder.name)
    if climb.search.stop != GATE or bound is None:
        return None
    severities = climb.ladder.severities
    at = bisect_left(severities, bound * (1 - 1e-9))
    return min(at, len(severities) - 1)


def _at(ladder: Ladder, arm: int) -> str:
    return ladder.text(ladder.severities[arm])
