"""An operator's proxy on a Toxiproxy server, in front of an echo service, and faults put on it."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.faults.names import Kind, written
from chaosbandit.faults.undo_steps import stand_in
from tests import operator_path as bare
from tests.operator_path import ORIGINAL as ORIGINAL  # for the tests beside it
from tests.operator_path import echo_service
from tests.operator_path import free_port as free_port

DOSE_MS = 3000


@dataclass(frozen=True, slots=True)
class OperatorPath(bare.OperatorPath):
    """With faults of several toxics, and with what earlier runs leave there."""

    proxy: str = ORIGINAL

    def fault(
        self,
        n: int = 1,
        *,
        run: str = "run001",
        expires_in_s: float = 300.0,
        types: tuple[str, ...] = ("latency",),
    ) -> Fault:
        """Toxics on the operator's proxy, numbered from `n`."""
        expires = int(time.time() + expires_in_s)
        toxics = [
            Toxic(each, _ATTRIBUTES[each], name=written(Kind.TOXIC, run, expires, n=n + count))
            for count, each in enumerate(types)
        ]
        return Fault(
            run=run,
            server=self.url,
            name=toxics[0].name,
            proxy=self.proxy,
            listen=self.listen,
            upstream=self.upstream,
            expires_epoch_s=expires,
            toxics=tuple(toxics),
        )

    def create(self, name: str, *, listen: str = "127.0.0.1:0", enabled: bool = True) -> None:
        """A proxy that leads to the echo service."""
        body = {"name": name, "listen": listen, "upstream": self.upstream, "enabled": enabled}
        assert self.call("POST", "/proxies", body) == 201

    def close(self) -> None:
        """Close the operator's proxy."""
        assert self.call("POST", f"/proxies/{ORIGINAL}", {"enabled": False}) == 200

    def cut(self, fault: Fault) -> None:
        """Leave what a watchdog leaves that dies in the middle of a cut."""
        self.close()
        self.create(stand_in(fault), listen=self.listen)

    def hold(self, run: str, ends_in_s: float) -> str:
        """Have a lease on the server, as a run has it; its name."""
        name = written(Kind.LEASE, run, int(time.time() + ends_in_s))
        self.create(name, listen=self.listen, enabled=False)
        return name


_ATTRIBUTES = {
    "latency": {"latency": DOSE_MS, "jitter": 0},
    "bandwidth": {"rate": 1},
    "slow_close": {"delay": 10},
    "timeout": {"timeout": 0},
}


@contextlib.contextmanager
def operator_path(url: str) -> Iterator[OperatorPath]:
    """Have the operator's proxy on the server at `url`, with an echo service behind it."""
    with echo_service() as upstream:
        path = OperatorPath(url, f"127.0.0.1:{free_port()}", upstream)
        path.create(ORIGINAL, listen=path.listen)
        yield path


def own_path(path: OperatorPath, *, run: str = "run001", expires_in_s: float = -9.0) -> Fault:
    """A path of our own beside the operator's, made on the server."""
    expires = int(time.time() + expires_in_s)
    name = written(Kind.PATH, run, expires, n=1)
    path.create(name)
    fault = path.fault(run=run)
    return replace(
        fault,
        name=name,
        proxy=name,
        listen=path.show(name)["listen"],
        expires_epoch_s=expires,
        toxics=(),
        owned=True,
    )


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """The URL of what accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"
