"""An operator's proxy on a Toxiproxy server, an echo service behind it, and faults put on it."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.faults.names import Kind, written
from chaosbandit.faults.steps import proxy_path, toxic_path
from chaosbandit.toxiproxy.calls import Calls
from tests.operator_path import echo_service
from tests.operator_path import free_port as free_port  # for the tests beside it

DOSE_MS = 1500
ORIGINAL = "inventory"


@dataclass(frozen=True, slots=True)
class WatchedPath:
    """Clients connect to `listen`, where the proxy `inventory` leads to an echo service."""

    url: str
    listen: str
    upstream: str

    def fault(self, n: int = 1, *, run: str = "run001", expires_in_s: float = 300.0) -> Fault:
        """Latency on the operator's proxy."""
        expires = int(time.time() + expires_in_s)
        name = written(Kind.TOXIC, run, expires, n=n)
        dose = {"latency": DOSE_MS, "jitter": 0}
        return Fault(
            run=run,
            server=self.url,
            name=name,
            proxy=ORIGINAL,
            listen=self.listen,
            upstream=self.upstream,
            expires_epoch_s=expires,
            toxics=(Toxic("latency", dose, name=name),),
        )

    def path_of_ours(self, *, run: str = "run001", expires_in_s: float = 300.0) -> Fault:
        """A proxy of our own beside the operator's."""
        expires = int(time.time() + expires_in_s)
        name = written(Kind.PATH, run, expires, n=7)
        listen = f"127.0.0.1:{free_port()}"
        return Fault(run, self.url, name, name, listen, self.upstream, expires, owned=True)

    def call(self, method: str, path: str, body: object = None) -> int:
        """The status of one API call."""
        with contextlib.closing(Calls(self.url)) as calls:
            return calls.call(method, path, body, within_s=10.0).status

    def show(self, name: str = ORIGINAL) -> dict[str, object]:
        """A proxy as the server shows it; empty where there is none."""
        with contextlib.closing(Calls(self.url)) as calls:
            reply = calls.call("GET", proxy_path(name), within_s=10.0)
            return reply.record() if reply.status == 200 else {}

    def names(self) -> list[str]:
        """The names of all proxies."""
        with contextlib.closing(Calls(self.url)) as calls:
            return sorted(calls.call("GET", "/proxies", within_s=10.0).record())

    def toxics(self, name: str = ORIGINAL) -> list[str]:
        """The names of the toxics on a proxy."""
        listed = self.show(name).get("toxics")
        return [toxic["name"] for toxic in listed] if isinstance(listed, list) else []

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

    def connect(self) -> socket.socket:
        """A connection through the path."""
        host, _, port = self.listen.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=10.0)

    def echo_s(self) -> float | None:
        """How long the path takes for one byte there and back; None if closed, or beyond 1 s."""
        started_s = time.monotonic()
        try:
            with self.connect() as client:
                client.settimeout(1.0)
                client.sendall(b"x")
                if client.recv(1) != b"x":
                    return None
        except OSError:
            return None
        return time.monotonic() - started_s

    def is_normal(self) -> bool:
        """Whether the operator's proxy alone is there, clean, and the path is fast."""
        shown = self.show()
        clean = shown.get("enabled") is True and shown.get("toxics") == []
        return clean and self.names() == [ORIGINAL] and self.echo_s() is not None

    def wait_until_normal(self, within_s: float = 20.0) -> float:
        """How long it took until the path echoes fast again, as a client sees it."""
        started_s = time.monotonic()
        while self.echo_s() is None:
            assert time.monotonic() < started_s + within_s, f"still not normal: {self.names()}"
            time.sleep(0.0005)
        return time.monotonic() - started_s


def injection(path: WatchedPath, fault: Fault) -> list[tuple[str, Callable[[], int]]]:
    """The steps of an injection and of its end, each with the name of the state it leads to."""
    toxic = fault.toxics[0]
    dose = {"name": toxic.name, "type": toxic.type, "attributes": dict(toxic.attributes)}
    operators, ours = proxy_path(fault.proxy), toxic_path(fault.proxy, toxic.name)
    soft = {"attributes": {"latency": 0, "jitter": 0}}
    return [
        ("dosed", lambda: path.call("POST", f"{operators}/toxics", dose)),
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
