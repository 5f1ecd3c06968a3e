"""The run's end of the watchdog: starting the process, talking to it, and knowing that it lives.

Blocking calls, each with a deadline; the guard runs them in threads. It knows nothing of ledgers
and servers beyond passing them on.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from chaosbandit.core.model import Fault
from chaosbandit.errors import HarnessError
from chaosbandit.safety.ledger import fault_to_json

_BEAT_S = 0.4
_TOUCHED_S = 1.5  # a run silent for longer is stuck, or as good as stuck
_READ_BYTES = 65536
_PROGRAM = Path(__file__).with_name("watchdog.py")


class _Closeable(Protocol):
    def close(self) -> None: ...


_not_for_children: weakref.WeakSet[_Closeable] = weakref.WeakSet()


def keep_from_children(closeable: _Closeable) -> None:
    """Close it in every forked child: a worker that holds our end would hide our death."""
    _not_for_children.add(closeable)


def _close_in_child() -> None:
    for closeable in list(_not_for_children):
        closeable.close()


os.register_at_fork(after_in_child=_close_in_child)


class Watch:
    """A started watchdog process that has said it is ready.

    Raises:
        HarnessError: it did not start within `start_s`.
    """

    def __init__(
        self, log: Path, ttl_s: float, start_s: float, ack_s: float, locks: Sequence[Path] = ()
    ) -> None:
        self._ack_s = ack_s
        self._turn = threading.Lock()
        self._unread = b""
        self._broken = False
        self._ended = threading.Event()
        self._touched_s = time.monotonic()
        self._socket, theirs = socket.socketpair()
        keep_from_children(self._socket)
        with theirs:
            self._process = self._started(theirs.fileno(), ttl_s, log, locks)
        try:
            self.pid = int(self._exchange(None, start_s)["ready"])
        except (OSError, ValueError, KeyError) as error:
            self.close(0.0)
            raise HarnessError(
                f"the watchdog process was not ready within {start_s:g} s ({_in_words(error)}); "
                f"nothing is injected without it. See {log} and run `chaosbandit doctor`"
            ) from error
        threading.Thread(target=self._beat, daemon=True, name="watchdog-heartbeat").start()

    def arm(self, fault: Fault, ledger: Path, *, server_dies_with_run: bool) -> None:
        """Have the watchdog take charge of `fault`, before it is injected.

        Raises:
            HarnessError: it did not acknowledge in time.
        """
        self._ask(
            {
                "do": "arm",
                "fault": fault_to_json(fault),
                "toxics": [toxic.name for toxic in fault.toxics],
                "ledger": str(ledger),
                "server_dies_with_run": server_dies_with_run,
            },
            fault.name,
        )

    def disarm(self, name: str) -> None:
        """Release the fault `name`, which is gone.

        Raises:
            HarnessError: it did not acknowledge in time.
        """
        self._ask({"do": "disarm", "name": name}, name)

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
            if self._broken:
                raise OSError("its connection is closed")
            reply = self._exchange(message, self._ack_s)
            if reply != {"ack": name}:
                raise ValueError(str(reply.get("why", f"it answered {reply}")))
        except (OSError, ValueError) as error:
            if not isinstance(error, _RefusedError):
                self._broken = True
                self._socket.close()  # a late answer would be taken for the next one's
            raise HarnessError(
                f"the watchdog (process {self.pid}) did not acknowledge `{message['do']}` of "
                f"{name}: {_in_words(error)}; nothing is injected without it"
            ) from error

    def _exchange(self, message: dict[str, Any] | None, within_s: float) -> dict[str, Any]:
        give_up_s = time.monotonic() + within_s
        with self._turn:
            if message is not None:
                self._socket.settimeout(within_s)
                self._socket.sendall(json.dumps(message).encode() + b"\n")
            while b"\n" not in self._unread:
                self._socket.settimeout(max(give_up_s - time.monotonic(), 1e-3))
                data = self._socket.recv(_READ_BYTES)
                if not data:
                    raise OSError("it has ended")
                if time.monotonic() > give_up_s:
                    raise TimeoutError
                self._unread += data
            line, _, self._unread = self._unread.partition(b"\n")
        reply = json.loads(line)
        if not isinstance(reply, dict):
            raise ValueError(f"it answered {reply!r}")
        if "refused" in reply:
            raise _RefusedError(str(reply.get("why")))
        return reply

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT_S) and not self._broken:
            if time.monotonic() - self._touched_s > _TOUCHED_S:
                continue  # a thread lives on in a run that is stuck: its beats would be a lie
            try:
                with self._turn:
                    self._socket.settimeout(self._ack_s)
                    self._socket.sendall(b'{"do": "beat"}\n')
            except OSError:
                self._broken = True


class _RefusedError(ValueError):
    """The watchdog is well but will not take this fault."""


def _in_words(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or repr(error)
