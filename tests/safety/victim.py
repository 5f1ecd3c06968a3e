"""A run to be killed: guards a fault, injects it step by step, and stops at a given point.

Started as a process by the tests: `victim.py <ledger> <url> <listen> <upstream> <point> <expires
in s> [stuck] [calling]`. Says `at <point> <watchdog pid> <fault>` and then waits for its end; with
`stuck` its event loop stands still meanwhile, as in a run that hangs while its threads live on;
with `calling` it has said that a call is on the wire.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection
from pathlib import Path

from chaosbandit.safety.guard import RunGuard
from chaosbandit.safety.ledger import FaultLedger
from tests.safety.watched_path import WatchedPath, injection
from tests.waiting import wait_to_be_killed


async def _run(
    ledger: Path, path: WatchedPath, point: str, expires_in_s: float, how: Collection[str]
) -> None:
    fault = path.fault(expires_in_s=expires_in_s)
    faults = FaultLedger(ledger)

    async def reached(state: str) -> None:
        if state == point:
            sys.stdout.write(f"at {state} {pid} {fault.name}\n")
            sys.stdout.flush()
            if "stuck" in how:
                wait_to_be_killed()  # nothing else runs in this loop
            await asyncio.Event().wait()

    async with RunGuard(fault.run, faults, ttl_s=1.0) as guard:
        pid = guard.watchdog_pid()
        await reached("started")
        if point == "recorded":
            faults.record(fault)
            await reached("recorded")
        await guard.arm(fault)
        guard.resting(fault, "calling" not in how)
        await reached("armed")
        for state, action in injection(path, fault):
            guard.resting(fault, False)
            action()
            guard.resting(fault, "calling" not in how)
            await reached(state)
        await guard.strike(fault)
        await reached("left")
    await reached("ended")


if __name__ == "__main__":
    place = WatchedPath(*sys.argv[2:5])
    asyncio.run(_run(Path(sys.argv[1]), place, sys.argv[5], float(sys.argv[6]), sys.argv[7:]))
