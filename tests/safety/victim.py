"""A run to be killed: guards a fault, injects it step by step, and stops at a given point.

Started as a process by the tests: `victim.py <ledger> <url> <listen> <upstream> <point> <expires
in s> [stuck]`. Says `at <point> <watchdog pid> <fault>` and then waits for its end; with `stuck`
its event loop stands still meanwhile, as in a run that hangs while its threads live on.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from chaosbandit.safety.guard import RunGuard
from chaosbandit.safety.ledger import FaultLedger
from tests.operator_path import OperatorPath, injection


async def _run(
    ledger: Path, path: OperatorPath, point: str, expires_in_s: float, stuck: bool
) -> None:
    fault = path.fault(expires_in_s=expires_in_s)
    faults = FaultLedger(ledger)

    async def reached(state: str) -> None:
        if state == point:
            sys.stdout.write(f"at {state} {pid} {fault.name}\n")
            sys.stdout.flush()
            if stuck:
                time.sleep(120)  # noqa: ASYNC251  what it is for
            await asyncio.sleep(120)

    async with RunGuard(fault.run, faults, ttl_s=1.0) as guard:
        pid = guard.watchdog_pid()
        await reached("started")
        if point == "recorded":
            faults.record(fault)
            await reached("recorded")
        async with guard.guard(fault):
            await reached("armed")
            for state, action in injection(path, fault):
                action()
                await reached(state)
        await reached("left")
    await reached("ended")


if __name__ == "__main__":
    place = OperatorPath(*sys.argv[2:5])
    is_stuck = sys.argv[7:] == ["stuck"]
    asyncio.run(_run(Path(sys.argv[1]), place, sys.argv[5], float(sys.argv[6]), is_stuck))
