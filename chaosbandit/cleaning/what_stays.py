"""Which of our faults must go and which are left alone, and why: the rules of every clean-up.

Pure: what is known of runs, leases and time comes in as values.

    asked for                  goes
    nothing                    past its expiry, or of a run of this host that is dead
    --run RUN                  all of that run, even if it is alive: the operator's decision
    --expired                  past its expiry only

A path without a dose (topology `edge`) hurts nobody: past the expiry in its name it still stays as
long as its run is alive here or holds a lease on that server. A dosed one never does, and a lease
that claims more time than a lease may is nobody's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum

from chaosbandit.faults.fault import Fault
from chaosbandit.faults.names import HONOURED_S, SWEEPER, is_lease

_DAY_S = 86_400


class Life(Enum):
    """What this host knows of a run."""

    ALIVE = "alive"
    DEAD = "dead"
    ELSEWHERE = "elsewhere"  # not in the ledger here: another host's, or another user's


@dataclass(frozen=True, slots=True)
class Orders:
    """What was asked for, and when."""

    now_epoch_s: float
    run: str | None = None
    expired: bool = False
    dry_run: bool = False

    def concern(self, run: str) -> bool:
        """Whether anything of `run` is to be looked at."""
        return self.run is None or self.run == run


def is_honoured(lease: Fault, now_epoch_s: float) -> bool:
    """Whether it is a lease in force."""
    left_s = lease.expires_epoch_s - now_epoch_s
    return is_lease(lease.name) and 0 < left_s <= HONOURED_S


def is_on_duty(fault: Fault, now_epoch_s: float) -> bool:
    """Whether it is the lease of a sweeper at work, which is no leftover and no run's."""
    return fault.run == SWEEPER and is_honoured(fault, now_epoch_s)


def reason_to_stay(
    fault: Fault, *, dosed: bool, life: Life, lease_end_epoch_s: int, orders: Orders
) -> str | None:
    """The reason to leave `fault` alone, or None if it must go.

    `lease_end_epoch_s` is when the last honoured lease of its run on its server ends, 0 without.
    """
    if fault.expires_epoch_s <= orders.now_epoch_s:
        return _kept_path(fault, dosed, life, lease_end_epoch_s, orders)
    if is_lease(fault.name) and not is_honoured(fault, orders.now_epoch_s):
        return None
    until = _until(fault.expires_epoch_s, orders.now_epoch_s)
    if orders.expired:
        return f"it lives until {until}, and only expired faults were asked for"
    if fault.run == orders.run:
        return None
    if life is Life.ALIVE:
        return f"run {fault.run} is alive; name it with --run to take its faults away"
    if life is Life.ELSEWHERE:
        return (
            f"run {fault.run} is not in the ledger here and may be alive on another host until "
            f"{until}; name it with --run to take its faults away"
        )
    return None


def _kept_path(
    fault: Fault, dosed: bool, life: Life, lease_end_epoch_s: int, orders: Orders
) -> str | None:
    named = fault.run == orders.run and not orders.expired
    is_path = fault.owned and not fault.toxics and not is_lease(fault.name)
    if named or dosed or not is_path or life is Life.DEAD:
        return None
    if life is Life.ALIVE:
        return f"it has no dose, and run {fault.run} is alive"
    if lease_end_epoch_s > orders.now_epoch_s:
        until = _until(lease_end_epoch_s, orders.now_epoch_s)
        return f"it has no dose, and run {fault.run} holds a lease on this server until {until}"
    return None


def _until(epoch_s: float, now_epoch_s: float) -> str:
    left_s = epoch_s - now_epoch_s
    moment = "%H:%M:%SZ" if left_s < _DAY_S else "%Y-%m-%dT%H:%M:%SZ"
    return f"{time.strftime(moment, time.gmtime(epoch_s))} (in {left_s:.0f} s)"
