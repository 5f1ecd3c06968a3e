"""The run's end of the watchdog: starting the process, talking to it, and knowing that it lives.

Blocking calls, each with a deadline; the guard runs them in threads. It knows nothing of ledgers
and servers beyond passing them on.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaosbandit.errors import HarnessError
from chaosbandit.faults.fault import Fault
from chaosbandit.safety.forked_children import keep_from_children
from chaosbandit.safety.ledger import fault_to_json

_BEAT_S = 0.4
_TOUCHED_S = 1.5  # a run silent for longer is stuck, or as good as stuck
_READ_BYTES = 65536
_PROGRAM = Path(__file__).with_name("watchdog.py")


class WatchdogLink:
    """A started watchdog process that has said it is ready.

    Raises:
        HarnessError: it did not start within `start_s`.
    """

    def __init__(
        self, log: Path, ttl_s: float, start_s: float, ack_s: float, locks: Sequence[Path] = ()
    ) -> None:
        self._ack_s = ack_s
        self._turn = threading.Lock()  # of a question and its answer
        self._sending = threading.Lock()
        self._unread = b""
        self._broken = False
        self._ended = threading.Event()
        self._touched_s = time.monotonic()
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)  # nobody waits for a watchdog that does not read
        keep_from_children(self._socket)
        with theirs:
            self._process = self._started(theirs.fileno(), ttl_s, log, locks)
        try:
            self.pid = int(self._answer(start_s)["ready"])
        except (OSError, ValueError, KeyError) as error:
            self.close(0.0)
            raise HarnessError(
                f"the watchdog process was not ready within {start_s:g} s ({_in_words(error)}); "
                f"nothing is injected without it. See {log} and run `chaosbandit doctor`"
            ) from error
        threading.Thread(target=self._beat, daemon=True, name="watchdog-heartbeat").start()

    def arm(self, fault: Fault, ledger: Path) -> None:
        """Have the watchdog take charge of `fault`, before it is injected, or anew.

        Raises:
            HarnessError: it did not acknowledge in time.
        """
        content = {"fault": fault_to_json(fault), "ledger": str(ledger)}
        self._ask({"do": "arm", **content}, fault.name)

    def late(self, fault: Fault, ledger: Path, for_s: float, *, closes: bool) -> None:
        """The fault is gone, but a call about it may still arrive; `closes`: and close its proxy.

        Raises:
            HarnessError: it did not acknowledge in time.
        """
        content = {"fault": fault_to_json(fault), "ledger": str(ledger)}
        self._ask({"do": "late", **content, "for_s": for_s, "closes": closes}, fault.name)

    def disarm(self, name: str) -> None:
        """Release the fault `name`, which is gone.

        Raises:
            HarnessError: it did not acknowledge in time.
        """
        self._ask({"do": "disarm", "name": name}, name)

    def rests(self, name: str, rests: bool) -> None:
        """Say whether no call about the fault is on the wire; at once, and never raises."""
        self._tell({"do": "rests", "name": name, "rests": rests})

    def undo(self, name: str, why: str, *, bypassed: bool) -> None:
        """Have the watchdog undo what the run could not; at once, and never raises."""
        self._tell({"do": "undo", "name": name, "why": why, "bypassed": bypassed})

    def touch(self) -> None:
        """Say that the run itself, not only this process, goes on; beats stop without it."""
        self._touched_s = time.monotonic()

    def alive(self) -> bool:
        """Whether the process runs and has answered everything so far."""
        return not self._broken and self._process.poll() is None

    def close(self, wait_s: float) -> None:
        """Let go: with nothing armed it leaves at once, otherwise it stays to undo what is."""
        self._ended.set()
        self._broken = True
        self._socket.close()
        try:
            self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            # It has work to do. Somebody must still reap it, and without keeping this process.
            threading.Thread(target=self._process.wait, daemon=True).start()

    def _started(
        self, descriptor: int, ttl_s: float, log: Path, locks: Sequence[Path]
    ) -> subprocess.Popen[bytes]:
        arguments = [str(_PROGRAM), str(descriptor), str(ttl_s), str(log), *map(str, locks)]
        try:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", *arguments],
                pass_fds=(descriptor,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        except OSError as error:
            self._socket.close()
            raise HarnessError(
                f"the watchdog process could not be started with {sys.executable!r} ({error}); "
                "nothing is injected without it"
            ) from error

    def _ask(self, message: dict[str, Any], name: str) -> None:
        try:
            with self._turn:
                self._send(message)
                reply = self._answer(self._ack_s)
            if reply != {"ack": name}:
                raise ValueError(f"it answered {reply}")
        except (OSError, ValueError) as error:
            self._broken = True
            self._socket.close()  # a late answer would be taken for the next one's
            raise HarnessError(
                f"the watchdog (process {self.pid}) did not acknowledge `{message['do']}` of "
                f"{name}: {_in_words(error)}; nothing is injected without it"
            ) from error

    def _tell(self, message: dict[str, Any]) -> None:
        try:
            self._send(message)
        except OSError:
            self._broken = True

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode() + b"\n"
        with self._sending:
            if self._broken:
                raise OSError("its connection is closed")
            if self._socket.send(data) != len(data):
                raise OSError("it no longer reads")

    def _answer(self, within_s: float) -> dict[str, Any]:
        give_up_s = time.monotonic() + within_s
        readable = select.poll()
        readable.register(self._socket, select.POLLIN)
        while b"\n" not in self._unread:
            left_s = give_up_s - time.monotonic()
            if left_s <= 0 or not readable.poll(left_s * 1000):
                raise TimeoutError
            data = self._socket.recv(_READ_BYTES)
            if not data:
                raise OSError("it has ended")
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        reply = json.loads(line)
        if not isinstance(reply, dict):
            raise ValueError(f"it answered {reply!r}")
        return reply

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT_S) and not self._broken:
            if time.monotonic() - self._touched_s <= _TOUCHED_S:
                self._tell({"do": "beat"})
            # Otherwise a thread lives on in a run that is stuck: its beats would be a lie.


def _in_words(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or repr(error)
