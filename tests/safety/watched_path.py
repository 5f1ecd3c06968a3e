"""An operator's proxy on a Toxiproxy server, an echo service behind it, and faults put on it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from chaosbandit.faults.fault import Fault
from chaosbandit.faults.names import Kind, written
from chaosbandit.faults.undo_steps import toxic_path
from tests.operator_path import ORIGINAL as ORIGINAL  # for the tests beside it
from tests.operator_path import OperatorPath, echo_service
from tests.operator_path import free_port as free_port  # for the tests beside it


@dataclass(frozen=True, slots=True)
class WatchedPath(OperatorPath):
    """With what a run has beside it, and with steps at which runs are killed."""

    dose_s: ClassVar[float] = 1.5

    def path_of_ours(self, *, run: str = "run001", expires_in_s: float = 300.0) -> Fault:
        """A proxy of our own beside the operator's."""
        expires = int(time.time() + expires_in_s)
        name = written(Kind.PATH, run, expires, n=7)
        listen = f"127.0.0.1:{free_port()}"
        return Fault(run, self.url, name, name, listen, self.upstream, expires, owned=True)

    def make(self, fault: Fault) -> int:
        """Create the proxy of ours that a fault names."""
        body = {"name": fault.proxy, "listen": fault.listen, "upstream": fault.upstream}
        return self.call("POST", "/proxies", body)

    def inject(self, fault: Fault, until: str = "dosed") -> None:
        """Put `fault` in place the way a run does, or only the steps up to `until`."""
        for step, action in injection(self, fault):
            action()
            if step == until:
                return


def injection(path: WatchedPath, fault: Fault) -> list[tuple[str, Callable[[], int]]]:
    """The steps of an injection and of its end, each with the name of the state it leads to."""
    toxic = fault.toxics[0]
    ours = toxic_path(fault.proxy, toxic.name)
    soft = {"attributes": {"latency": 0, "jitter": 0}}
    return [
        ("dosed", lambda: path.add(toxic, fault.proxy)),
        ("softened", lambda: path.call("POST", ours, soft)),
        ("deleted", lambda: path.call("DELETE", ours)),
    ]


@contextlib.contextmanager
def watched_path(url: str) -> Iterator[WatchedPath]:
    """Have the operator's proxy on the server at `url`, with an echo service behind it."""
    with echo_service() as upstream:
        path = WatchedPath(url, f"127.0.0.1:{free_port()}", upstream)
        body = {"name": ORIGINAL, "listen": path.listen, "upstream": upstream}
        assert path.call("POST", "/proxies", body) == 201
        yield path


def nowhere() -> WatchedPath:
    """A path of a server that is not there."""
    server = f"http://127.0.0.1:{free_port()}"
    return WatchedPath(server, f"127.0.0.1:{free_port()}", "127.0.0.1:1")


def lonely(n: int = 1) -> Fault:
    """A path of ours at a server that is not there, so that undoing it is quick."""
    return replace(nowhere().path_of_ours(), name=written(Kind.PATH, "run001", 4_000_000_000, n=n),
                   proxy=written(Kind.PATH, "run001", 4_000_000_000, n=n))  # fmt: skip
