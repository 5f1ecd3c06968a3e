"""A run's lease at a Toxiproxy server: a disabled proxy whose name says who works here until when.

    create our own, disabled --> look who else is here --> nobody: ours until its time, renew it
                                                      \\-> somebody: take ours away, say who

It keeps runs of different hosts off each other's target. It never enables anything, and leaves the
writing down and the watching to its owner; blocking calls, each with a deadline.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from chaosbandit.errors import HarnessError, TargetError, ToxiproxyError, Trouble
from chaosbandit.faults.addresses import is_one_place, place, same_address
from chaosbandit.faults.fault import Fault
from chaosbandit.faults.names import HONOURED_S, Kind, parse, written
from chaosbandit.faults.undo_steps import proxy_path
from chaosbandit.foreign_text import said
from chaosbandit.toxiproxy.calls import CALL_S, Calls, Reply, UnansweredError
from chaosbandit.toxiproxy.listing import StrangeError, all_proxies, claimed, one_proxy
from chaosbandit.toxiproxy.round_trip import SLOWEST_S, is_too_slow, measured_s
from chaosbandit.toxiproxy.undo import NotUndoneError, undo
from chaosbandit.toxiproxy.wire_format import ProxyRecord

DURATION_S = 60.0
NOWHERE = "127.0.0.1:0"
_TAKE_S = 8.0
_LEAVE_S = 6.0  # a server that only hiccups is well again by then
_LEAST_S = 0.2
_AGAIN_S = 0.5  # between two looks at a rival that started when we did
_LOOKS = 5
_SHOWN = 100  # characters of what a server says
_LONG_GONE_S = 5.0  # clocks differ: a lease that has just expired may still be renewed


@dataclass(frozen=True, slots=True)
class Claim:
    """What a run wants for itself: a target, and the listen addresses it works on, if any.

    The lease at the server names the first of them; the locks on this host cover them all.
    """

    server: str  # URL of the Toxiproxy API
    target: str  # host:port the traffic goes to
    listen: str | None  # None: our own proxies only (topology `edge`)
    until_epoch_s: int  # the run ends at the latest then
    also: tuple[str, ...] = ()  # further listen addresses
    dies_with_run: bool = False  # the server is embedded in the run


@dataclass(frozen=True, slots=True)
class Rival:
    """Another run's lease on what we want."""

    run: str
    what: str
    expires_epoch_s: int


class Lease:
    """The lease of `run` on `claim`.

    `write` is called before a lease exists on the server, `rests` when no call that makes it is on
    the wire any more, `strike` after it is confirmed as gone.

    Raises:
        ValueError: the server's URL is not one we can talk to.
    """

    def __init__(
        self,
        run: str,
        claim: Claim,
        *,
        write: Callable[[Fault], None],
        rests: Callable[[Fault], None],
        strike: Callable[[Fault], None],
        duration_s: float = DURATION_S,
    ) -> None:
        self._run = run
        self._claim = claim
        self._write = write
        self._rests = rests
        self._strike = strike
        self._duration_s = duration_s
        self._calls = Calls(claim.server)
        self._made: dict[str, Fault] = {}  # all that may exist on the server
        self._held: Fault | None = None
        self._pending: Fault | None = None  # asked for, and not known whether it exists
        self._taken: Trouble | None = None  # by whom, for good
        self._trouble = "it was never taken"
        self._turn = threading.Lock()

    def refuse_slow(self) -> None:
        """Return only if the server answers soon enough for whatever is put on it to come off.

        Raises:
            ToxiproxyError: it does not, or not at all.
        """
        with self._turn:
            try:
                calls_s = measured_s(self._calls)
            except UnansweredError as error:
                raise ToxiproxyError(self._no_lease(error)) from error
            if is_too_slow(calls_s):
                raise ToxiproxyError(
                    f"up to {max(calls_s):.2g} s for a call, so nothing was injected",
                    where=f"Toxiproxy at {self._calls.url}",
                    wanted=f"{SLOWEST_S:g} s or less, in which a fault still comes off in time",
                    do="run nearer to it, without a tunnel or port forward, or see what its host "
                    "is busy with",
                )

    def claim(self) -> None:
        """Take the lease.

        Raises:
            TargetError: another run has it.
            HarnessError: it could not be written down, or the server did not do it.
        """
        with self._turn:
            self._take(time.monotonic() + _TAKE_S)

    renew = claim  # a new one first, then the old one goes; taken anew where the old one is lost

    def confirm(self) -> None:
        """Return only if the server shows the lease; one that is gone is taken anew.

        Raises:
            HarnessError: as `claim`.
        """
        with self._turn:
            give_up_s = time.monotonic() + _TAKE_S
            if self._taken is not None or not self._is_there(give_up_s):
                self._take(give_up_s)

    def lost(self) -> str | None:
        """Why the run no longer has its target for itself, or None while it has."""
        if self._taken is not None:
            return str(self._taken)
        held = self._held
        if held is not None and time.time() < held.expires_epoch_s:
            return None
        return (
            f"the lease of run {self._run} on {self._claim.target} at {self._calls.url} has "
            f"ended and could not be had again: {self._trouble}"
        )

    def release(self) -> None:
        """Delete it; what cannot be confirmed as gone stays written down and watched."""
        with self._turn:
            self._held = self._pending = None
            self._trouble = "it was given back"
            give_up_s = time.monotonic() + _LEAVE_S
            for fault in list(self._made.values()):
                self._undo(fault, give_up_s)
            self._calls.close()

    def leave(self) -> None:
        """Close the connection; whatever there is stays written down and watched."""
        self._calls.close()

    def _take(self, give_up_s: float) -> None:
        if self._taken is not None:
            raise TargetError(self._taken)
        try:
            fault = self._create(give_up_s)
            if not self._went_on(give_up_s):
                self._contest(give_up_s)
        except TargetError as error:
            trouble = error.trouble
            if self._held is not None:
                found = f"run {self._run} lost its lease meanwhile: {trouble.found}"
                self._taken = trouble = replace(trouble, found=found)
            for made in list(self._made.values()):
                self._undo(made, give_up_s)
            self._held = self._pending = None
            self._calls.close()
            raise TargetError(trouble) from error
        except (UnansweredError, StrangeError) as error:
            self._trouble = error.briefly if isinstance(error, UnansweredError) else str(error)
            raise ToxiproxyError(self._no_lease(error)) from error
        except HarnessError as error:
            self._trouble = str(error)
            raise
        self._held, self._pending = fault, None
        with suppress(UnansweredError, HarnessError):  # they end by themselves, or next time
            for old in [made for made in self._made.values() if made != fault]:
                self._drop(old, give_up_s)

    def _create(self, give_up_s: float) -> Fault:
        """The next lease, on the server; one that was asked for in vain is asked for again."""
        fault, is_new = self._pending, False
        if fault is None or fault.expires_epoch_s - time.time() < self._duration_s / 2:
            fault, is_new = self._next(), True
            self._write(fault)
            self._made[fault.name] = self._pending = fault
        claim = f"{self._claim.target} {self._claim.listen or ''}".strip()
        body = {"name": fault.name, "listen": NOWHERE, "upstream": claim, "enabled": False}
        try:
            reply = self._call("POST", "/proxies", give_up_s, body)
        except UnansweredError as error:
            if is_new and error.refused:  # nobody heard of it
                self._pending = None
                self._forget(fault)
            raise
        if reply.status not in (201, 409):  # 409: an earlier call got through; the name is ours
            raise ToxiproxyError(
                f"{reply.said()} from {self._calls.url}",
                wanted=f"a lease on {self._claim.target}",
            )
        if not self._may_still_come(fault):
            self._rests(fault)
        return fault

    def _next(self) -> Fault:
        expires = math.ceil(time.time() + self._duration_s)
        if self._made:
            expires = max(expires, 1 + max(made.expires_epoch_s for made in self._made.values()))
        name = written(Kind.LEASE, self._run, expires)
        return Fault(
            run=self._run,
            server=self._claim.server,
            name=name,
            proxy=name,
            listen=NOWHERE,  # it never listens, so whoever undoes it need not look there
            upstream=self._claim.target,
            expires_epoch_s=expires,
            owned=True,
            dies_with_run=self._claim.dies_with_run,
        )

    def _went_on(self, give_up_s: float) -> bool:
        """Whether the one before was still there, unexpired: then nobody got in between."""
        held = self._held
        if held is None or time.time() >= held.expires_epoch_s:
            return False
        return self._drop(held, give_up_s)

    def _contest(self, give_up_s: float) -> None:
        """Raise if another run was here first.

        Whoever creates first and looks then is seen by all who come later. Of two that started at
        once, and so see each other, the run with the greater name yields at once, the other waits
        for that; who comes later still sees us, and is no concern of ours.
        """
        waited_for: set[str] | None = None
        for look in range(_LOOKS):
            rivals = {rival.run: rival for rival in self._rivals(give_up_s)}
            if waited_for is not None:
                rivals = {run: rival for run, rival in rivals.items() if run in waited_for}
            if not rivals:
                return
            if min(rivals) < self._run or look == _LOOKS - 1:
                raise TargetError(self._refusal(rivals[min(rivals)]))
            waited_for = set(rivals)
            time.sleep(_AGAIN_S)

    def _rivals(self, give_up_s: float) -> list[Rival]:
        """Other runs' leases on what we want; those long expired are deleted in passing.

        One that claims more time than any run takes is nobody's.
        """
        rivals = []
        for name, shown in all_proxies(self._calls, _within_s(give_up_s)).proxies.items():
            lease = parse(name)
            if lease is None or lease.kind is not Kind.LEASE or lease.run == self._run:
                continue
            left_s = lease.expires_epoch_s - time.time()
            what = self._both_want(shown)
            if left_s < -_LONG_GONE_S:
                self._call("DELETE", proxy_path(name), give_up_s)
            elif what is not None and 0 < left_s <= HONOURED_S:
                rivals.append(Rival(lease.run, what, lease.expires_epoch_s))
        return rivals

    def _both_want(self, shown: ProxyRecord) -> str | None:
        target, listen = claimed(shown)
        if place(target) == place(self._claim.target):
            return f"the target {said(target, _SHOWN)}"
        ours = self._claim.listen
        if ours is not None and is_one_place(ours) and same_address(listen, ours):
            return f"the proxy address {said(listen, _SHOWN)}"
        return None

    def _no_lease(self, error: UnansweredError | StrangeError) -> Trouble:
        where = f"Toxiproxy at {self._calls.url}"
        if isinstance(error, StrangeError):
            return Trouble(f"{where} did not say who works there: {error}")
        if error.refused:
            do = "see whether a Toxiproxy server is running there"
            return Trouble(f"{where} cannot be reached ({error.briefly})", do=do)
        return Trouble(
            f"{where} did not answer when a lease on {self._claim.target} was wanted "
            f"({error.briefly}): it hangs or is frozen",
            do="see that it answers, or restart it",
        )

    def _refusal(self, rival: Rival) -> Trouble:
        url = self._calls.url
        return Trouble(
            f"run {rival.run} holds a lease on {rival.what} at {url} until "
            f"{moment(rival.expires_epoch_s)} (renewed while it lives)",
            do=f"wait for it or stop it; if it is dead, run `chaosbandit clean --run {rival.run} "
            f"--toxiproxy {url}`, or wait",
        )

    def _is_there(self, give_up_s: float) -> bool:
        held = self._held
        if held is None or held.expires_epoch_s - time.time() < self._duration_s / 3:
            return False
        try:
            return one_proxy(self._calls, held.name, _within_s(give_up_s)) is not None
        except (UnansweredError, StrangeError):
            return False  # taking it again fails likewise, and says so

    def _drop(self, fault: Fault, give_up_s: float) -> bool:
        """Delete one that is no longer needed; whether it was there."""
        reply = self._call("DELETE", proxy_path(fault.name), give_up_s)
        if reply.status in (204, 404) and not self._may_still_come(fault):
            self._forget(fault)
        return reply.status == 204

    def _may_still_come(self, fault: Fault) -> bool:
        """Whether a call that nobody answered may make it, or make it again."""
        return self._calls.unanswered(proxy_path(fault.name)) is not None

    def _undo(self, fault: Fault, give_up_s: float) -> None:
        """Take one away; what may come again goes on being written down and watched."""
        left_s = max(give_up_s - time.monotonic(), _LEAST_S)
        with suppress(NotUndoneError, HarnessError):
            if undo(fault, self._calls, left_s).late is None:
                self._forget(fault)

    def _forget(self, fault: Fault) -> None:
        self._strike(fault)
        del self._made[fault.name]

    def _call(self, method: str, path: str, give_up_s: float, body: object = None) -> Reply:
        return self._calls.call(method, path, body, _within_s(give_up_s))


def _within_s(give_up_s: float) -> float:
    return max(min(CALL_S, give_up_s - time.monotonic()), 0.0)


def moment(epoch_s: float) -> str:
    """`22:03:10Z (in 41 s)`."""
    clock = time.strftime("%H:%M:%SZ", time.gmtime(epoch_s))
    return f"{clock} (in {max(0.0, epoch_s - time.time()):.0f} s)"
