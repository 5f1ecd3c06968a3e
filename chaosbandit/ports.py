"""The protocols the engine needs from the world; adapters and the simulator implement them.

Every call may hang or fail in real life: adapters put a deadline on each and raise the leaves of
`errors.HarnessError`. A failing target is not an error but a `Sample`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from chaosbandit.core.campaign import Campaign, Event
from chaosbandit.core.model import Fault, Health, Route, Sample, Variant


class Clock(Protocol):
    """Time as the run sees it."""

    def now_s(self) -> float:
        """Seconds on a monotonic clock."""
        ...

    def epoch_s(self) -> float:
        """Seconds since 1970, for expiry and reports only."""
        ...

    async def sleep(self, duration_s: float) -> None:
        """Wait."""
        ...


class Signal(Enum):
    """What a feed says instead of a route."""

    SKIP = "skip"  # leave this slot empty
    END = "end"  # send nothing more; what is in flight is still awaited


Feed = Callable[[int], Route | Signal]
"""Asked at each slot, with its `seq`, what to send; slots are 1/rate apart, fixed beforehand."""


class Prober(Protocol):
    """Open-loop sender of requests."""

    def stream(
        self, feed: Feed, rate_per_s: float, via: Mapping[Route, str]
    ) -> AsyncGenerator[Sample]:
        """Send what `feed` asks for, a slot each 1/rate_per_s; yield samples as they complete.

        `via` maps a route to the `host:port` its TCP connections go to instead of the URL's own
        (a missing route: the URL's own address). Ends when the feed said END and every request
        sent has an outcome. The order of yielding is the order of completion. `Sample.seq` is the
        slot number, which grows over the whole run.
        """
        ...

    def look_at(self, proxy: str) -> None:
        """From the next stream on the route CHECK asks the dependency behind this proxy."""
        ...

    def health(self) -> Health:
        """Of the last stream: scheduling lag, own CPU share, requests it could not send."""
        ...


@dataclass(frozen=True, slots=True)
class Injected:
    """A variant in place; `address` is where the canary route must connect (edge), or None."""

    address: str | None = None


class Injector(Protocol):
    """Puts variants in place and takes them away, verified."""

    async def preflight(self) -> str:
        """Check server and proxies; returns the server's version.

        Raises:
            ToxiproxyError: not reachable, wrong version, proxy missing or disabled, foreign toxics.
        """
        ...

    def plan(self, variant: Variant | None, n: int, expires_epoch_s: int) -> Fault | None:
        """The fault to write down before `inject`, number `n` of this run; asks no server.

        `None` as variant asks for severity 0: in `edge` a clean proxy of ours, in `canary` nothing
        (returns None), since the operator's own proxy is that path.
        """
        ...

    def inject(self, fault: Fault) -> AbstractAsyncContextManager[Injected]:
        """Make disabled, add toxics, enable, read back, compare; leaving removes and verifies.

        Raises:
            ToxiproxyError: the server refused, hung or reads back something else (on entering).
            CleanupError: removal could not be confirmed (on leaving).
        """
        ...


class Safety(Protocol):
    """Writes faults down before they exist and makes sure they end."""

    def guard(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        """On entering the fault is on disk (fsync) and the watchdog has acknowledged it.

        On leaving without an exception, or with any but CleanupError, it is struck out: by then the
        injector has verified that it is gone.
        """
        ...


class KillSwitch(Protocol):
    """Lets people outside of the run end it: a file or a URL that says freeze."""

    async def pulled(self) -> str | None:
        """Why nothing may be injected now, or None; what cannot be asked counts as pulled."""
        ...

    async def wait(self) -> str:
        """Look every second; returns why, as soon as it is pulled."""
        ...


class Sink(Protocol):
    """Hears every event of a run, in order, before the engine acts on it."""

    def accept(self, event: Event, campaign: Campaign) -> None:
        """`campaign` already includes `event`. Must not raise for reasons of presentation."""
        ...
