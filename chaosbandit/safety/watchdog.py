"""The watchdog process: it undoes a run's faults when the run no longer can.

Run as a file, `python -I -S watchdog.py <socket fd> <ttl_s> <log file> <lock file>...`, in a
session of its own. The lock files are the run's and go when nobody holds them any more.
It must start fast and survive whatever kills the run, so it never imports the package proper, only
the standard library and the few files beside it that need nothing else.

Lines of JSON on the socket: `arm` and `disarm` are answered by `ack` (or `refused`), `beat` is not.
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
    from chaosbandit.safety.armed import Armed

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
        self._armed: dict[str, Armed] = {}
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
        for armed in self._armed.values():
            armed.undo(why)
        undone = [armed.wait() for armed in self._armed.values()]
        return all(undone)

    def _wait_s(self) -> float:
        now_s = time.monotonic()
        due_s = [self._due_s(armed) for armed in self._armed.values()]
        return max(0.0, min([_TICK_S, *(at_s - now_s for at_s in due_s)]))

    def _look_at_clocks(self, now_s: float) -> None:
        silent = now_s >= self._heard_s + self._ttl_s
        why = f"nothing heard from the run for {self._ttl_s:g} s"
        for armed in self._armed.values():
            if now_s >= self._due_s(armed):
                armed.undo(why if silent else "the fault has outlived its time")

    def _due_s(self, armed: Armed) -> float:
        """When `armed` must be undone if nothing more is heard.

        It stays armed afterwards: a run that was only stuck may wake up and still inject what it
        was told to be guarded. So what was undone before the last word of the run does not count.
        """
        if armed.busy():
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
        if message["do"] == "arm":
            self._arm(message)
        elif message["do"] == "disarm":
            armed = self._armed.pop(message["name"], None)
            if armed is not None:
                armed.stop()
            self._answer({"ack": message["name"]})

    def _arm(self, message: dict[str, Any]) -> None:
        from chaosbandit.safety.armed import Armed
        from chaosbandit.safety.restore import Remedy

        fault = message["fault"]
        bypass = fault["bypass"]
        left_s = fault["expires_epoch_s"] - time.time()
        if _hurts_nobody(fault):
            left_s = math.inf  # it lives as long as its run, which beats and holds a lease
        if left_s <= 0:
            self._answer({"refused": fault["name"], "why": "its expiry is in the past"})
            return
        remedy = Remedy(
            server=fault["server"],
            name=fault["name"],
            listen=fault["listen"],
            upstream=fault["upstream"],
            restores=fault["restores"],
            toxics=tuple(message["toxics"]),
            server_dies_with_run=message["server_dies_with_run"],
            check=fault["check"],
            bypass=tuple(bypass) if isinstance(bypass, list) else bypass,
        )
        before = self._armed.pop(remedy.name, None)
        if before is not None:
            before.stop()
        expires_s = time.monotonic() + left_s
        self._armed[remedy.name] = Armed(remedy, Path(message["ledger"]), expires_s, self.note)
        self._answer({"ack": remedy.name})

    def _answer(self, message: dict[str, Any]) -> None:
        try:
            self._run.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return  # the run is gone; the next read says so

    def note(self, text: str) -> None:
        """Append to the log file, which exists only if there was something to say."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(f"{moment} watchdog {os.getpid()}: {text}\n")
        except OSError:
            return  # nowhere left to say it; the exit code remains


def _hurts_nobody(fault: dict[str, Any]) -> bool:
    """Whether it is a path without a dose beside the operator's proxy, and no lease."""
    from chaosbandit.core.names import parse_lease

    return not (fault["toxics"] or fault["restores"] or parse_lease(fault["name"]))


def _stand_in_for_packages() -> None:
    """Let the files beside this one be imported by name without running the packages' own code."""
    here = Path(__file__).resolve().parent
    root = here.parent
    parts = {"chaosbandit": root, "chaosbandit.core": root / "core", "chaosbandit.safety": here}
    for name, path in parts.items():
        package = ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package


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
            import chaosbandit.safety.armed  # noqa: F401  loaded now: there is no time later
            from chaosbandit.safety.durable import remove_unlocked

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
