"""The registry of policies: what decides where the next samples go.

A policy is pure: it reads a `Campaign` and answers with a `Decision`. Each lives in a file of its
name and registers itself there; the file is imported when the policy is first asked for.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Protocol, TypeVar

from numpy.random import Generator

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.model import Decision
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
