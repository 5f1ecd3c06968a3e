"""The watchdog process: it undoes a run's faults when the run no longer can.

Run as a file, `python -I -S watchdog.py <socket fd> <ttl_s> <log file> <lock file>...`, in a
session of its own. The lock files are the run's and go when nobody holds them any more.
It must start fast and survive whatever kills the run, so it never imports the package proper, only
the standard library and files of `faults`, `toxiproxy` and this folder that need nothing else.

Lines of JSON on the socket, each about one fault:

    arm {fault, ledger}                       it may be put on its server from now on     -> ack
    rests {name, rests}                       whether no call about it is on the wire
    late {fault, ledger, for_s, closes}       gone, but a call may arrive for so long     -> ack
    undo {name, why, bypassed}                the run could not; whether it used the bypass
    disarm {name}                             gone, verified                              -> ack
    beat {}                                   the run goes on

The end of the stream means the run is gone; silence longer than the ttl, that it is stuck.
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chaosbandit.safety.watchdog_one_fault import ArmedFault

_TICK_S = 1.0
_READ_BYTES = 65536


class Watchdog:
    """What it knows of the run, and the loop that waits for the worst.

    The loop never waits for a server: each fault is undone in a thread of its own, so the run is
    heard and answered all the time.
    """

    def __init__(self, run: socket.socket, ttl_s: float, log: Path) -> None:
        self._run = run
        self._ttl_s = ttl_s
        self._log = log
        self._armed: dict[str, ArmedFault] = {}
        self._heard_s = time.monotonic()
        self._unread = b""

    def watch(self) -> bool:
        """Serve the run until it is gone; True when nothing of it is left."""
        while True:
            wait_s = self._wait_s()
            planned_s = time.monotonic() + wait_s
            readable = select.select([self._run], [], [], wait_s)[0]
            if readable and not self._listen():
                return self.undo_all("the run is gone")
            now_s = time.monotonic()
            if not readable and now_s > planned_s + _TICK_S:
                self._heard_s = now_s  # we were stopped ourselves: their silence proves nothing
            self._look_at_clocks(now_s)

    def undo_all(self, why: str) -> bool:
        """Undo every armed fault from now on, all at once; True when none of them is left."""
        from chaosbandit.toxiproxy.undo import Way

        hurting_first = sorted(self._armed.values(), key=lambda armed: not armed.fault.toxics)
        for armed in hurting_first:
            if not armed.only_looks:
                armed.undo(why, Way.CUT)
        gone = [armed.wait() for armed in hurting_first]
        return all(gone)

    def _wait_s(self) -> float:
        now_s = time.monotonic()
        due_s = [self._due_s(armed) for armed in self._armed.values()]
        return max(0.0, min([_TICK_S, *(at_s - now_s for at_s in due_s)]))

    def _look_at_clocks(self, now_s: float) -> None:
        from chaosbandit.toxiproxy.undo import Way

        silent = now_s >= self._heard_s + self._ttl_s
        for armed in self._armed.values():
            if now_s < self._due_s(armed):
                continue
            if silent:
                armed.undo(f"nothing heard from the run for {self._ttl_s:g} s", Way.CUT)
            else:
                armed.undo("the fault has outlived its time", Way.QUIET)

    def _due_s(self, armed: ArmedFault) -> float:
        """When `armed` must be undone if nothing more is heard.

        It stays armed afterwards: a run that was only stuck may wake up and still inject what it
        was told to be guarded. So what was undone before the last word of the run does not count.
        """
        if armed.busy() or armed.only_looks:
            return math.inf
        if armed.undone_s >= armed.expires_s:
            return math.inf  # nobody may inject it any more, and the run's end undoes it again
        silent_s = self._heard_s + self._ttl_s if armed.undone_s < self._heard_s else math.inf
        return min(silent_s, armed.expires_s)

    def _listen(self) -> bool:
        """Take what the run says; False when it will never say more."""
        try:
            data = self._run.recv(_READ_BYTES)
        except ConnectionError:
            return False
        if not data:
            return False
        self._heard_s = time.monotonic()
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))
        return True

    def _obey(self, message: dict[str, Any]) -> None:
        from chaosbandit.toxiproxy.undo import Way

        named = self._armed.get(message.get("name", ""))
        match message["do"]:
            case "arm":
                self._answer(self._arm(message).fault.name)
            case "late":
                armed = self._armed.get(message["fault"]["name"]) or self._arm(message)
                armed.look(time.monotonic() + message["for_s"], closes=message["closes"])
                self._answer(armed.fault.name)
            case "disarm":
                self._stop(message["name"])
                self._answer(message["name"])
            case "rests" if named is not None:
                named.rests = message["rests"]
            case "undo" if named is not None:
                named.undo(message["why"], Way.CUT, bypassed=message["bypassed"])

    def _arm(self, message: dict[str, Any]) -> ArmedFault:
        from chaosbandit.safety.ledger import fault_from_json, hide_of
        from chaosbandit.safety.watchdog_one_fault import ArmedFault

        fault = fault_from_json(message["fault"])
        hide_of(message["fault"])
        self._stop(fault.name)
        self._armed[fault.name] = ArmedFault(fault, Path(message["ledger"]), self.note)
        return self._armed[fault.name]

    def _stop(self, name: str) -> None:
        armed = self._armed.pop(name, None)
        if armed is not None:
            armed.stop()

    def _answer(self, name: str) -> None:
        with suppress(OSError):  # the run is gone; the next read says so
            self._run.sendall(json.dumps({"ack": name}).encode() + b"\n")

    def note(self, text: str) -> None:
        """Append to the log file, which exists only if there was something to say."""
        from chaosbandit.hidden_values import masked
        from chaosbandit.safety.owned_files import open_ours

        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        with suppress(OSError):  # nowhere left to say it; the exit code remains
            with os.fdopen(open_ours(self._log, flags), "a", encoding="utf-8") as file:
                file.write(f"{moment} watchdog {os.getpid()}: {masked(text)}\n")


def _stand_in_for_packages() -> None:
    """Let files of the package be imported by name without running the packages' own code."""
    root = Path(__file__).resolve().parents[1]
    for part in ("", "faults", "safety", "toxiproxy"):
        package = ModuleType(".".join(filter(None, ("chaosbandit", part))))
        package.__path__ = [str(root / part)]
        sys.modules[package.__name__] = package


def main(descriptor: int, ttl_s: float, log: Path, locks: Sequence[Path]) -> int:
    """Watch the run at the other end of `descriptor`; 0 when nothing of it is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    low = os.dup(descriptor)  # select() takes numbers below 1024 only, and the run's may be higher
    os.close(descriptor)
    with socket.socket(fileno=low) as run:
        watchdog = Watchdog(run, ttl_s, log)
        try:
            with suppress(OSError):  # the run is gone already; the first read says so
                run.sendall(json.dumps({"ready": os.getpid()}).encode() + b"\n")
            _stand_in_for_packages()
            import chaosbandit.safety.watchdog_one_fault  # noqa: F401  now: there is no time later
            from chaosbandit.safety.lock_files import remove_unlocked

            clean = watchdog.watch()
            for lock in locks:
                remove_unlocked(lock)
            return 0 if clean else 1
        except Exception:
            watchdog.note(f"failed:\n{traceback.format_exc()}")
            return 0 if watchdog.undo_all("the watchdog itself failed") else 1


if __name__ == "__main__":
    log_file, *lock_files = map(Path, sys.argv[3:])
    status = main(int(sys.argv[1]), float(sys.argv[2]), log_file, lock_files)
    os._exit(status)  # threads still waiting for a name server must not keep us here
