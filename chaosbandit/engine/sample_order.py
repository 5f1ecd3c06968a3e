"""Which route the next slot serves, and the order in which finished samples become evidence.

Bad samples finish last because they hang until the time-out, so evidence taken in order of
completion lies: each route's samples are released in order of intended start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from chaosbandit.core.model import Route, Sample

Ticket = TypeVar("Ticket")


class Mix:
    """Interleaves routes evenly by their weights: always the one that is furthest behind."""

    def __init__(self, weights: Mapping[Route, float]) -> None:
        total = sum(weights.values())
        self._shares = {route: weight / total for route, weight in weights.items() if weight > 0}
        self._credit = dict.fromkeys(self._shares, 0.0)

    def next(self) -> Route:
        """The route of the next slot."""
        for route, share in self._shares.items():
            self._credit[route] += share
        route = max(self._credit, key=lambda candidate: self._credit[candidate])
        self._credit[route] -= 1.0
        return route


@dataclass(slots=True)
class SendOrder(Generic[Ticket]):
    """Holds finished samples back until all earlier ones of their route are finished."""

    _sent: dict[Route, deque[int]] = field(default_factory=dict)
    _tickets: dict[int, Ticket] = field(default_factory=dict)
    _done: dict[int, Sample] = field(default_factory=dict)

    def sent(self, seq: int, route: Route, ticket: Ticket) -> None:
        """Note that `seq` goes out now on this route."""
        self._sent.setdefault(route, deque()).append(seq)
        self._tickets[seq] = ticket

    def done(self, sample: Sample) -> list[tuple[Ticket, Sample]]:
        """The samples that `sample` lets through, in order of intended start."""
        self._done[sample.seq] = sample
        waiting, released = self._sent[sample.route], []
        while waiting and waiting[0] in self._done:
            seq = waiting.popleft()
            released.append((self._tickets.pop(seq), self._done.pop(seq)))
        return released

    def unresolved(self, route: Route) -> int:
        """Sent on this route and not yet released."""
        return len(self._sent.get(route, ()))

    def rest(self) -> list[tuple[Ticket, Sample]]:
        """Let go of finished samples held back when a stream was cut, in order of intended start;
        what stays unresolved has no outcome."""
        left = [(self._tickets.pop(seq), self._done[seq]) for seq in sorted(self._done)]
        for route, waiting in self._sent.items():
            self._sent[route] = deque(seq for seq in waiting if seq not in self._done)
        self._done.clear()
        return left
