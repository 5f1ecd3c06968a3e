"""`demo --crash`: an engine killed in mid-fault, and how soon users are well again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from chaosbandit.cli.demo_services import Stage, standing
from chaosbandit.cli.interrupts import interruptible
from chaosbandit.cli.output import show
from chaosbandit.cli.wiring import RunOptions
from chaosbandit.core.model import Outcome, Route, Sample
from chaosbandit.errors import CleanupError, Exit, HarnessError
from chaosbandit.faults.fault import Fault
from chaosbandit.ports import Signal
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.toxiproxy.calls import LATE_S, Calls, UnansweredError
from chaosbandit.toxiproxy.listing import StrangeError, all_proxies
from chaosbandit.traffic.clock import SystemClock
from chaosbandit.traffic.prober import OpenLoopProber

USERS_PER_S = 100.0  # requests of the pretended users in `--crash`
FELT_S = 0.050  # a fault counts as felt when users' requests take this much longer
CRASH_LIMIT_S = 60.0
WATCHDOG_S = 10.0
ENGINE_S = 15.0  # longest wait for an interrupted engine
CALM = 20  # normal answers in a row that end the wait for recovery


def crash(options: RunOptions, server: str | None) -> int:
    """Kill an engine in mid-fault and print how soon a user's request was normal again."""
    with standing(server, options.seed) as stage:
        return _time_crash(stage, replace(options, own_server=server is None))


def _time_crash(stage: Stage, options: RunOptions) -> int:
    """Start `run` as a child, SIGKILL it while users feel a fault, time their recovery."""
    with tempfile.TemporaryDirectory(prefix="chaosbandit-") as folder:
        command = [sys.executable, "-m", "chaosbandit", "run", str(stage.scenario_file), "--quiet"]
        command += ["--journal", str(options.journal or folder), *(["--yes"] * options.yes)]
        if options.seed is not None:
            command += ["--seed", str(options.seed)]
        engine = subprocess.Popen(
            command,
            env={**os.environ, **stage.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            recovery_s = interruptible(lambda _: _watch_users(stage, engine))
        finally:
            _end(engine)
    _await_clean(stage.server)
    looks_on = _looked_for(stage.server)
    if options.as_json:
        show(json.dumps({"schema": 1, "recovery_s": round(recovery_s, 4)}) + "\n", as_json=True)
    else:
        show(
            f"The engine was killed with SIGKILL in mid-fault; {recovery_s * 1000:.0f} ms later a "
            f"user's request was answered normally, and every one after it.\n{_told(looks_on)}"
        )
    if not options.own_server:
        _await_watchdog(stage.server)
    return Exit.ANSWERED


def _end(engine: subprocess.Popen[bytes]) -> None:
    """When we were interrupted it still runs, and cleans up better than its watchdog does."""
    engine.terminate()
    try:
        engine.wait(ENGINE_S)
    except subprocess.TimeoutExpired:
        engine.kill()
        engine.wait()


def _await_clean(server: str) -> None:
    """Wait until the server shows nothing of ours.

    Raises:
        CleanupError: it does, for too long after the kill.
    """
    give_up_s = time.monotonic() + WATCHDOG_S
    with closing(Calls(server)) as calls:
        while (found := _ours(calls)) is not None:
            if time.monotonic() > give_up_s:
                raise CleanupError(
                    f"{found} {WATCHDOG_S:g} s after the kill",
                    [f"chaosbandit clean --toxiproxy {server}"],
                )
            time.sleep(0.02)


def _ours(calls: Calls) -> str | None:
    """What of ours the server still shows, in words; None for nothing."""
    try:
        shown = all_proxies(calls).faults()
    except (UnansweredError, StrangeError) as error:
        return f"the server does not show what is left ({error})"
    return f"the server still shows {shown[0].name}" if shown else None


def _looked_for(server: str) -> list[Fault]:
    """Of what the watchdog has undone: what it still looks for, since a call may arrive late."""
    entries = FaultLedger().entries().entries
    return [entry.fault for entry in entries if entry.fault.server == server]


def _told(looks_on: Sequence[Fault]) -> str:
    if not looks_on:
        return ""
    until = time.strftime("%H:%M:%SZ", time.gmtime(time.time() + LATE_S))
    return (
        f"A call was on its way when it was killed: until {until} at the latest its watchdog looks "
        "whether that arrives after all.\n"
    )


def _await_watchdog(server: str) -> None:
    """Wait for it, where it would take the demo's going for a late call and mend its proxy."""
    give_up_s = time.monotonic() + LATE_S + WATCHDOG_S
    while any(not fault.owned for fault in _looked_for(server)) and time.monotonic() < give_up_s:
        time.sleep(0.1)


async def _watch_users(stage: Stage, engine: subprocess.Popen[bytes]) -> float:
    """Seconds from the kill to the end of the first of only normal answers."""
    scenario, clock = stage.loaded().scenario, SystemClock()
    users = _Users(clock, engine)
    async with OpenLoopProber(scenario.traffic, {}, clock) as prober:
        stream = prober.stream(users.feed, USERS_PER_S, {})
        async for sample in stream:
            users.receive(sample)
    return users.recovery_s()


class _Users:
    """Watches users' requests, kills the engine when they feel a fault, times recovery."""

    def __init__(self, clock: SystemClock, engine: subprocess.Popen[bytes]) -> None:
        self._clock, self._engine = clock, engine
        self._began_s = clock.now_s()
        self._killed_s: float | None = None
        self._slow_in_a_row = 0
        self._after: list[Sample] = []

    def feed(self, seq: int) -> Route | Signal:
        """Requests go out until recovery is certain, or the time is over."""
        if self._clock.now_s() - self._began_s > CRASH_LIMIT_S:
            return Signal.END
        if self._killed_s is None and self._engine.poll() is not None:
            return Signal.END
        newest = sorted(self._after, key=lambda sample: sample.seq)[-CALM:]
        recovered = len(newest) == CALM and all(map(_normal, newest))
        return Signal.END if recovered else Route.CANARY

    def receive(self, sample: Sample) -> None:
        """Three slow answers in a row are a felt fault: kill."""
        if self._killed_s is not None:
            if sample.intended_s > self._killed_s:
                self._after.append(sample)
            return
        self._slow_in_a_row = 0 if _normal(sample) else self._slow_in_a_row + 1
        if self._slow_in_a_row >= 3:
            os.kill(self._engine.pid, signal.SIGKILL)
            self._killed_s = self._clock.now_s()

    def recovery_s(self) -> float:
        """Seconds from the kill until only normal answers came.

        Raises:
            HarnessError: no fault was felt, or users did not recover in time.
        """
        if self._killed_s is None:
            raise HarnessError("the engine ended before users felt a fault; nothing to time")
        ordered = sorted(self._after, key=lambda sample: sample.seq)
        if len(ordered) < CALM or not all(map(_normal, ordered[-CALM:])):
            raise HarnessError(
                f"users were not well again {CRASH_LIMIT_S:g} s after the start; run `chaosbandit "
                "clean` and look at the proxy"
            )
        first = next(
            n for n in range(len(ordered)) if all(_normal(sample) for sample in ordered[n:])
        )
        return ordered[first].intended_s + ordered[first].latency_s - self._killed_s


def _normal(sample: Sample) -> bool:
    return sample.outcome is Outcome.RESPONSE and sample.latency_s < FELT_S and sample.status == 200
