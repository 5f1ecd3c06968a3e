"""The registry of policies: what decides where the next samples go, and what all of them share.

A policy is pure: it reads a `Campaign` and answers with a `Decision`. Each lives in a file of its
name and registers itself there; the file is imported when the policy is first asked for.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from bisect import bisect_right
from collections.abc import Sequence
from typing import Protocol, TypeVar

from numpy.random import Generator

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.evidence import claimed_bracket
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Decision, Stop
from chaosbandit.errors import UsageError


class Policy(Protocol):
    """Where to sample next, or that enough is known."""

    name: str

    def decide(self, campaign: Campaign, rng: Generator) -> Decision:
        """The next batch, or the end; the same campaign and generator give the same answer."""
        ...


_registry: dict[str, Policy] = {}
_AnyPolicy = TypeVar("_AnyPolicy", bound=type[Policy])


def register(kind: _AnyPolicy) -> _AnyPolicy:
    """Class decorator: make a policy known under its `name`."""
    _registry[kind.name] = kind()
    return kind


def names() -> tuple[str, ...]:
    """The policies there are."""
    return tuple(sorted({module.name for module in pkgutil.iter_modules(__path__)} | {*_registry}))


def policy(name: str) -> Policy:
    """The policy of that name."""
    if name not in names():
        raise UsageError(f"search.policy: found {name!r}, wanted one of: {', '.join(names())}")
    if name not in _registry:
        importlib.import_module(f"{__name__}.{name}")
    return _registry[name]


def highest_arm(severities: Sequence[float], limit: float) -> int:
    """The highest arm at or under a severity; -1 when there is none."""
    return bisect_right(severities, limit * (1 + 1e-9)) - 1


def top_arm(campaign: Campaign) -> int:
    """The highest arm the guardrails allow; -1 when there is none."""
    limit = campaign.scenario.guardrails.max_severity
    return highest_arm(campaign.ladder.severities, math.inf if limit is None else limit)


def ended(campaign: Campaign) -> Stop | None:
    """Why no further sample is needed, or can help; None to go on."""
    ladder, search, top = campaign.ladder, campaign.scenario.search, top_arm(campaign)
    if top < 0:
        limit = ladder.text(campaign.scenario.guardrails.max_severity or 0.0)
        return Stop(f"guardrails.max_severity: found {limit}, wanted at least {_at(ladder, 0)}")
    if campaign.certificate.empty or campaign.one_sided.empty:
        why = "no breaking point fits what was seen; is the response monotone, the target steady?"
        return Stop(f"assumptions failed: {why}")
    low, high, closed = claimed_bracket(campaign.certificate, ladder.severities, search.resolution)
    if closed and low is not None and high is not None:
        return Stop(f"held at {_at(ladder, low)}, broke at {_at(ladder, high)}", answered=True)
    held, broke, _ = claimed_bracket(campaign.one_sided, ladder.severities, search.resolution)
    if held is not None and held >= top:
        whole = top == len(ladder.severities) - 1
        beyond = "the ladder's end" if whole else "what the guardrails allow"
        at = _at(ladder, top)
        return Stop(f"held at the cap of {at}: the breaking point is above {beyond}", answered=True)
    if broke == 0:
        at = _at(ladder, 0)
        return Stop(f"broke at {at}, the mildest severity: the breaking point is below", True)
    if search.max_samples is not None and campaign.spent_samples >= search.max_samples:
        return Stop(f"inconclusive: search.max_samples ({search.max_samples}) are spent")
    return None


def _at(ladder: Ladder, arm: int) -> str:
    return ladder.text(ladder.severities[arm])
