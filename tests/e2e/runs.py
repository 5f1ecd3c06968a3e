"""Real runs for the tests of the command line: scenario files, child processes and what they left.

Everything a child writes down goes to a state folder of the test's own.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from chaosbandit.cli.child_processes import child

PATIENCE_S = 30.0

# The demo's path, searched coarsely so that a run takes a few seconds.
QUICK = """\
version: 1
name: quick
toxiproxy: ${CB_DEMO_TOXIPROXY}
topology: canary
proxies:
  inventory:
    upstream: ${CB_DEMO_INVENTORY}
    listen: ${CB_DEMO_LISTEN}
    check: http://${CB_DEMO_LISTEN}/stock/1
traffic:
  url: http://${CB_DEMO_CANARY}/product/{n}
  control_url: http://${CB_DEMO_CONTROL}/product/{n}
  rate: 100/s
  timeout: 2s
slos:
  - {name: availability, good: status in 2xx-3xx, objective: 90%}
  - {name: latency, good: latency <= 500ms, objective: 90%}
budget: {window: 30d, requests: 2_000_000, spend: 5%}
ladders:
  - {name: slow-inventory, proxy: inventory, toxic: latency, from: 100ms, to: 1s}
search: {confidence: 90%, resolution: 100%, hold: 1s}
guardrails: {max_exposure: 20s}
timing: {steady_samples: 40, warmup: 300ms, warmup_samples: 5, washout: 6s}
"""


def scenario_with(folder: Path, text: str = QUICK, **changes: str) -> Path:
    """A scenario file in `folder`; each change replaces the rest of the line after `key:`."""
    for key, value in changes.items():
        text, found = re.subn(rf"(?m)^(\s*){key}:.*$", rf"\g<1>{key}: {value}", text)
        assert found, f"the scenario has no key {key}"
    path = folder / "scenario.yaml"
    path.write_text(text)
    return path


@dataclass(frozen=True, slots=True)
class Ended:
    """What a finished process said."""

    code: int
    out: str
    err: str

    def told(self, code: int) -> Ended:
        """Itself, when it ended with `code` and without a traceback."""
        assert "Traceback" not in self.err + self.out, self.err + self.out
        assert (self.code, "internal error:" in self.err) == (code, False), self.err + self.out
        return self


class Command:
    """A `chaosbandit` command running as a process, its stderr read line by line."""

    def __init__(
        self, state: Path, *arguments: object, environment: Mapping[str, str] | None = None
    ) -> None:
        self.state = state
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as for a shell's background jobs
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "chaosbandit", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_STATE_HOME": str(state), **(environment or {})},
            start_new_session=True,
        )
        self._said: list[str] = []
        self._out: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read, args=pair)
            for pair in (
                (self.process.stderr, self._hear),
                (self.process.stdout, self._out.append),
            )
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.ended()

    def until(self, pattern: str) -> str:
        """Wait for a line on stderr that matches, and return it."""
        give_up_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, give_up_s - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line like {pattern!r} in:\n{self.err}") from None
            if re.search(pattern, line):
                return line

    def until_exposed(self, n: int) -> None:
        """Wait until the journal says that exposure `n` begins."""
        began = f'"type":"ExposureStarted","n":{n},'
        found = soon(
            lambda: any(began in path.read_text() for path in journals(self.state)), PATIENCE_S
        )
        assert found, f"exposure {n} did not begin:\n{self.err}"

    def send(self, number: signal.Signals) -> None:
        """Signal the process, if it is still there."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    def ended(self, within_s: float = 60.0) -> Ended:
        """Wait for the end and return what was said."""
        code = self.process.wait(within_s)
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return Ended(code, self.out, self.err)

    @property
    def out(self) -> str:
        """All of stdout so far."""
        return "".join(self._out)

    @property
    def err(self) -> str:
        """All of stderr so far."""
        return "".join(self._said)

    def _hear(self, line: str) -> None:
        self._said.append(line)
        self._lines.put(line)

    @staticmethod
    def _read(stream: IO[str], hear: Callable[[str], None]) -> None:
        with suppress(ValueError):  # closed by `ended`
            for line in stream:
                hear(line)


def chaosbandit(
    state: Path,
    *arguments: object,
    environment: Mapping[str, str] | None = None,
    within_s: float = 60.0,
) -> Ended:
    """Run one command to its end."""
    with Command(state, *arguments, environment=environment) as command:
        return command.ended(within_s)


# --- what a run leaves ----------------------------------------------------------------------------


def proxies(server: str) -> dict[str, Any]:
    """All proxies of a server as it shows them."""
    place = urlsplit(server)
    with closing(
        http.client.HTTPConnection(str(place.hostname), place.port, timeout=5.0)
    ) as connection:
        connection.request("GET", "/proxies")
        found: dict[str, Any] = json.loads(connection.getresponse().read())
    return found


def soon(true: Callable[[], bool], within_s: float = 8.0) -> bool:
    """Whether something becomes true in time."""
    give_up_s = time.monotonic() + within_s
    while not true():
        if time.monotonic() > give_up_s:
            return False
        time.sleep(0.05)
    return True


def ledger_files(state: Path) -> list[str]:
    """Faults that are still written down; the lock of a killed run is no fault."""
    return sorted(path.name for path in (state / "chaosbandit" / "faults").glob("cb[.-]*"))


def journals(state: Path) -> list[Path]:
    """The journals of the runs that used this state folder."""
    return sorted((state / "chaosbandit" / "runs").glob("*.jsonl"))


def processes_with(text: str) -> list[str]:
    """Command lines and environments of living processes that mention `text`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
            if text.encode() in command + (folder / "environ").read_bytes():
                found.append(f"{folder.name} {command.decode(errors='replace')}")
    return found


def listener(address: str) -> int:
    """The process that listens at `host:port` on this machine."""
    port = int(address.rpartition(":")[2])
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
            inodes.add(f"socket:[{fields[9]}]")
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if str(link.readlink()) in inodes:
                return int(link.parts[2])
    raise LookupError(f"nobody listens at {address}")


@contextmanager
def service(script: Path) -> Iterator[str]:
    """One of the demo's services on a free port; yields its URL."""
    command = [sys.executable, str(script), "--port", "0", "--exit-with-stdin"]
    with child(command, script.name) as url:
        yield url
