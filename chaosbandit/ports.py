"""The protocols the engine needs from the world; adapters and the simulator implement them.

Every call may hang or fail in real life: adapters put a deadline on each and raise the leaves of
`errors.HarnessError`. A failing target is not an error but a `Sample`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.events import Event
from chaosbandit.core.model import Health, Route, Sample, Variant
from chaosbandit.errors import CleanupError, Trouble
from chaosbandit.faults.fault import Fault, Late


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


@dataclass(slots=True)
class Injected:
    """A variant in effect."""

    read_back: Callable[[], Awaitable[Sequence[str]]]
    """How the server's own account differs by now from what was put on; raises ToxiproxyError."""

    nobody_gave_up: bool = False
    """Set before leaving: no client can have left data behind in the toxics."""


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What undoing has done and met in a run so far."""

    cuts: int = 0  # times that the operator's proxy had to be closed, with all its connections
    connections_cut: int | None = 0  # by us; None: they could not be counted
    others: Trouble | None = None  # what others did to the operator's proxy, and the remedy
    replaced: tuple[str, ...] = ()  # the operator's proxies that had to be deleted and made anew
    watched: str | None = None  # what is looked after until when, since a call went unanswered


class Injector(Protocol):
    """Puts variants on a living path and takes them off, verified."""

    async def preflight(self) -> str:
        """Check server and proxies; returns the server's version.

        Raises:
            ToxiproxyError: not reachable, wrong version, proxy missing or disabled, foreign toxics.
        """
        ...

    def paths(self) -> AbstractAsyncContextManager[Mapping[Route, str]]:
        """Around a run: the `host:port` that routes must connect to, where the paths are ours.

        Raises:
            ToxiproxyError: they could not be made.
            CleanupError: removal could not be confirmed (on leaving).
        """
        ...

    def plan(self, variant: Variant) -> Fault:
        """The fault that is to be recorded before `inject`; asks no server."""
        ...

    def inject(self, fault: Fault) -> AbstractAsyncContextManager[Injected]:
        """Written down and watched, put on (or updated), read back; leaving ends its effect.

        Raises:
            ToxiproxyError: the server refused, hung or reads back something else (on entering).
            CleanupError: the end of its effect could not be confirmed (on leaving).
        """
        ...

    async def take_off(self) -> None:
        """Take off what still stands without effect, so that nothing of ours is on the path.

        Raises:
            CleanupError: that could not be confirmed.
        """
        ...

    async def short(self) -> str | None:
        """What the server lacked since the last variant was put on, if it lacked anything.

        Requests through it were slow or failed for that then; never raises.
        """
        ...

    def aftermath(self) -> Aftermath:
        """What undoing has done and met so far."""
        ...


class Safety(Protocol):
    """Writes faults down before they exist and makes sure they end; the injector calls it."""

    async def arm(self, fault: Fault) -> None:
        """Return when the fault is on disk (fsync) and the watchdog has acknowledged it.

        Before any call to the server about it, and again, under the same name, whenever its toxics
        are about to change. From now on calls about it may be on the wire.

        Raises:
            HarnessError: it cannot be guarded, or the run no longer has what it claimed.
        """
        ...

    def resting(self, fault: Fault, rests: bool) -> None:
        """Tell the watchdog whether no call about the fault is on the wire; never raises."""
        ...

    async def strike(self, fault: Fault, late: Late | None = None) -> None:
        """The fault was verified as gone: it is struck out, and watched no more.

        With `late`, a call that may still arrive, it stays written and watched until then.

        Raises:
            HarnessError: the ledger cannot be written to.
        """
        ...

    async def failed(self, fault: Fault, error: CleanupError) -> CleanupError:
        """The fault was not confirmed as gone: it stays written, and the watchdog undoes it.

        The operator's bypass is used once. Returns the error to raise, which also says who goes on.
        """
        ...

    def watched(self) -> str | None:
        """What is looked after until when though it is gone, in a sentence."""
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
