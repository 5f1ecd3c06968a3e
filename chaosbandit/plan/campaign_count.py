"""How many campaigns are simulated: as many as were asked for, or as the time allows.

In time, the campaigns of the scenario come first, until their means are narrow; what is left goes
to the looks at what could be changed. A campaign that has begun is always counted, also a long
one: else dear campaigns would be missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chaosbandit.plan.advice import LOOKED_AT
from chaosbandit.plan.campaigns import Cost
from chaosbandit.plan.intervals import narrow

MOST_CAMPAIGNS = 500
LEAST_CAMPAIGNS, LEAST_LOOKED_AT = 20, 5  # however long they take
FIRST_S, FIRST_LEAST = 3.5, 8  # what is known so far is shown then, from so many campaigns on
CAMPAIGNS_S, END_S = 10.0, 15.0  # nothing begins later; what has begun may take some seconds
NARROW = 0.15  # of the means of time and bad requests
LOOKS = 6  # at changed scenarios, at most


class Pace:
    """When enough is simulated, and how much of it is done."""

    def __init__(self, now_s: Callable[[], float], asked: int | None) -> None:
        self._now_s, self._asked = now_s, asked  # seconds since the command began
        self._looks, self._until_s, self._done = 0, CAMPAIGNS_S, 0.0
        self.simulated = 0

    @property
    def numbers(self) -> range:
        """The campaigns of the scenario, at most."""
        return range(self._asked or MOST_CAMPAIGNS)

    @property
    def first(self) -> bool:
        """Whether what is known so far is due."""
        return self._now_s() >= FIRST_S

    @property
    def done(self) -> float:
        """The share of all that is behind us, 0..1; never falls, and may jump at the end."""
        if self._asked is None:
            now = self._now_s() / END_S
        else:
            now = self.simulated / (self._asked + LOOKS * LOOKED_AT)
        self._done = max(self._done, min(now, 1.0))
        return self._done

    def more(self, costs: Sequence[Cost]) -> bool:
        """Whether another campaign of the scenario begins."""
        self.simulated += 1
        if self._asked is not None or len(costs) < LEAST_CAMPAIGNS:
            return True
        return self._now_s() < CAMPAIGNS_S and not (
            narrow([cost.duration_s for cost in costs], NARROW)
            and narrow([cost.bad_requests for cost in costs], NARROW)
        )

    def look(self) -> None:
        """One more look begins: it has its part of the time that is left."""
        now_s = self._now_s()
        self._until_s = now_s + max(0.0, END_S - now_s) / max(1, LOOKS - self._looks)
        self._looks += 1

    def look_on(self, costs: Sequence[Cost]) -> bool:
        """Whether this look goes on with another campaign."""
        self.simulated += 1
        if self._asked is not None or len(costs) < LEAST_LOOKED_AT:
            return True
        return self._now_s() < self._until_s
