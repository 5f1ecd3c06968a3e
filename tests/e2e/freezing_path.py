"""A path whose traffic can freeze Toxiproxy, runs on it, and what its users see.

The path's users are independent of the run: twenty requests a second, whatever became of the
earlier ones. What they see is the truth; nothing here asks the server whether the path is normal.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chaosbandit.cli.child_processes import child
from chaosbandit.faults.names import owner
from chaosbandit.toxiproxy.calls import Calls, Reply, UnansweredError
from tests.e2e.large_answers import GIVE_UP_S, fetch
from tests.e2e.runs import Command, processes_with, scenario_with, soon
from tests.faultpoints.outages import Middlebox
from tests.operator_path import free_port
from tests.servers import real_server_path

ORIGINAL = "bulk"
_USERS_PER_S = 20.0
_NORMAL_FOR_S = 0.3  # six requests: a run that goes on may expose again soon
SETTLED_S = GIVE_UP_S + 0.3  # what was started earlier has an outcome

# Every step of the ladder is slower than the shop is patient, so every exposure is the recipe.
SCENARIO = """\
version: 1
name: frozen
toxiproxy: ${CB_SERVER}
topology: canary
proxies:
  bulk:
    upstream: ${CB_DEPENDENCY}
    listen: ${CB_LISTEN}
    check: http://${CB_LISTEN}/bulk
traffic:
  url: http://${CB_CANARY}/page/{n}
  control_url: http://${CB_CONTROL}/page/{n}
  rate: 50/s
  timeout: 3s
slos:
  - {name: availability, good: status in 2xx-3xx, objective: 90%}
budget: {window: 30d, requests: 2_000_000, spend: 5%}
ladders:
  - {name: slow-bulk, proxy: bulk, toxic: latency, from: 1500ms, to: 3s, jitter: 33%}
search: {confidence: 90%, resolution: 100%, hold: 1s}
guardrails: {max_exposure: 20s}
timing: {steady_samples: 40, warmup: 300ms, warmup_samples: 5, washout: 6s}
"""


# The service is well at any dose, since it has a fallback; yet it gives up at each but the mildest.
FALLBACK = SCENARIO.replace("from: 1500ms, to: 3s, jitter: 33%", "from: 100ms, to: 1500ms")
IMPATIENT = ("--give-up", "0.2", "--fallback")


# --- the stage ------------------------------------------------------------------------------------


class Toxiproxy:
    """The real server, to be stopped, killed and started again at the same address."""

    def __init__(self, config: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, with_config: bool = True) -> None:
        """Start it, with the operator's proxy or empty, and wait until it answers."""
        path = real_server_path()
        assert path is not None, "no real Toxiproxy server: run .ci/toxiproxy, which builds it"
        command = [path, "-host", "127.0.0.1", "-port", str(self.port)]
        command += ["-config", str(self._config)] if with_config else []
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
        wanted = f"/proxies/{ORIGINAL}" if with_config else "/version"
        assert soon(lambda: self.status("GET", wanted) == 200), "Toxiproxy did not start"

    def stop_for(self, duration_s: float) -> None:
        """Stop the whole process, as a debugger would, and let it go on later."""
        assert self._process is not None
        pid = self._process.pid
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(duration_s, _continue, (pid,)).start()

    def kill(self) -> None:
        """End it at once; its proxies live in its memory only."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def call(self, method: str, path: str, within_s: float = 1.0) -> Reply | None:
        """One call; None without a whole answer."""
        with closing(Calls(self.url)) as calls, suppress(UnansweredError):
            return calls.call(method, path, within_s=within_s)
        return None

    def status(self, method: str, path: str, within_s: float = 1.0) -> int | None:
        """The status of one call, or None without a whole answer."""
        reply = self.call(method, path, within_s)
        return None if reply is None else reply.status

    def toxic(self) -> str | None:
        """The toxic of ours on the operator's proxy that has an effect, if there is one."""
        for toxic in self._proxy().get("toxics", ()):
            if owner(toxic["name"]) and toxic["attributes"]["latency"]:
                return str(toxic["name"])
        return None

    def ours(self) -> list[str]:
        """All that is ours there."""
        reply = self.call("GET", "/proxies")
        shown = {} if reply is None else reply.record()
        toxics = (toxic["name"] for proxy in shown.values() for toxic in proxy["toxics"])
        return [name for name in (*shown, *toxics) if owner(name)]

    def _proxy(self) -> dict[str, Any]:
        reply = self.call("GET", f"/proxies/{ORIGINAL}")
        return {} if reply is None else reply.record()


def _continue(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a user through the path."""

    started_s: float
    ok: bool


class Users:
    """Send 20 kB through `address` twenty times a second, giving up after a second or so."""

    def __init__(self, address: str, give_up_s: float) -> None:
        self._host, _, port = address.rpartition(":")
        self._port, self._give_up_s = int(port), give_up_s
        self._requests: list[Request] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send()), daemon=True)

    def __enter__(self) -> Users:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def failed(self, from_s: float, until_s: float) -> list[float]:
        """When requests were started in that time that failed."""
        found = [r.started_s for r in list(self._requests) if not r.ok]
        return sorted(start_s for start_s in found if from_s <= start_s <= until_s)

    def normal_at(self, since_s: float, until_s: float) -> float | None:
        """When, from `since_s` on, a time of 0.3 s began in which no request failed; waits for it.

        None if none had begun by `until_s`.
        """
        while True:
            known_s = time.monotonic() - SETTLED_S
            failures = self.failed(since_s, known_s)
            starts = [since_s, *failures]
            for start_s, end_s in zip(starts, [*failures, known_s], strict=True):
                if end_s - start_s >= _NORMAL_FOR_S:
                    return start_s if start_s <= until_s else None
            if known_s > until_s + _NORMAL_FOR_S:
                return None
            time.sleep(0.05)

    async def _send(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            number, began_s = 0, time.monotonic()
            while not self._ended.is_set():
                tasks.create_task(self._one(number))
                number += 1
                await asyncio.sleep(began_s + number / _USERS_PER_S - time.monotonic())

    async def _one(self, number: int) -> None:
        started_s = time.monotonic()
        abruptly = number % 2 == 0
        ok = await fetch(self._host, self._port, abruptly=abruptly, give_up_s=self._give_up_s)
        self._requests.append(Request(started_s, ok))


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything a run needs, with users on its path."""

    server: Toxiproxy
    box: Middlebox | None  # between runs and the server: what they ask of it
    users: Users
    folder: Path
    environment: Mapping[str, str]
    scenario: str

    def run(self) -> Command:
        """Start a run."""
        scenario = scenario_with(self.folder, self.scenario)
        arguments = ["run", scenario, "--seed", 1]
        return Command(self.folder, *arguments, environment=self.environment)


@contextmanager
def standing(
    scenario: str = SCENARIO,
    shop: Sequence[str] = (),
    *,
    overheard: bool = True,
    give_up_s: float = GIVE_UP_S,
) -> Iterator[Stage]:
    """A dependency, two shops, a real server with the operator's proxy, and users.

    Users give up after `give_up_s`; a longer time than any dose leaves that to the shop alone.
    Whoever kills the server must not have it `overheard`: runs are to see that nobody listens.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.callback(_end_watchdogs, folder)  # after everything else
        dependency = _service(stack, "dependency")
        listen = f"127.0.0.1:{free_port()}"
        config = folder / "toxiproxy.json"
        config.write_text(
            f'[{{"name": "{ORIGINAL}", "listen": "{listen}", "upstream": "{dependency}"}}]'
        )
        server = Toxiproxy(config)
        stack.callback(server.kill)
        server.start()
        box = stack.enter_context(Middlebox(server.url)) if overheard else None
        environment = {
            "CB_SERVER": server.url if box is None else box.url,
            "CB_DEPENDENCY": dependency,
            "CB_LISTEN": listen,
            "CB_CANARY": _service(stack, "shop", "--dependency", listen, *shop),
            "CB_CONTROL": _service(stack, "shop", "--dependency", dependency, *shop),
        }
        users = stack.enter_context(Users(listen, give_up_s))
        yield Stage(server, box, users, folder, environment, scenario)


def _service(stack: ExitStack, *arguments: str) -> str:
    command = [sys.executable, str(Path(__file__).with_name("large_answers.py")), *arguments]
    return urlsplit(stack.enter_context(child(command, arguments[0]))).netloc


def _end_watchdogs(folder: Path) -> None:
    """They go on for a while after their run; the server they look for is about to end."""
    for line in processes_with(str(folder)):
        with suppress(ProcessLookupError):
            os.kill(int(line.split()[0]), signal.SIGKILL)
