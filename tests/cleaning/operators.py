"""An operator's proxy on a Toxiproxy server, in front of an echo service, and faults put on it."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.faults.names import Kind, written
from chaosbandit.faults.steps import stand_in
from tests.operator_path import echo_service
from tests.operator_path import free_port as free_port  # for the tests beside it

ORIGINAL = "inventory"
DOSE_MS = 3000


@dataclass(frozen=True, slots=True)
class OperatorPath:
    """Clients connect to `listen`, where the operator's proxy `proxy` leads to an echo service."""

    url: str
    listen: str
    upstream: str
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

    def call(self, method: str, path: str, body: object = None) -> int:
        """The status of one API call."""
        return self._answer(method, path, body)[0]

    def show(self, name: str = "") -> dict[str, Any]:
        """A proxy as the server shows it; empty where there is none."""
        status, body = self._answer("GET", f"/proxies/{name or self.proxy}", None)
        return body if status == 200 else {}

    def names(self) -> list[str]:
        """The names of all proxies."""
        return sorted(self._answer("GET", "/proxies", None)[1])

    def toxics(self, proxy: str = "") -> list[str]:
        """The names of the toxics on a proxy."""
        return [toxic["name"] for toxic in self.show(proxy)["toxics"]]

    def inject(self, fault: Fault) -> None:
        """Put the toxics of `fault` on its proxy, as a run does."""
        for toxic in fault.toxics:
            body = {
                "name": toxic.name,
                "type": toxic.type,
                "stream": toxic.stream,
                "toxicity": toxic.toxicity,
                "attributes": dict(toxic.attributes),
            }
            assert self.call("POST", f"/proxies/{fault.proxy}/toxics", body) == 200

    def create(self, name: str, *, listen: str = "127.0.0.1:0", enabled: bool = True) -> None:
        """A proxy that leads to the echo service."""
        body = {"name": name, "listen": listen, "upstream": self.upstream, "enabled": enabled}
        assert self.call("POST", "/proxies", body) == 201

    def close(self) -> None:
        """Close the operator's proxy."""
        assert self.call("POST", f"/proxies/{self.proxy}", {"enabled": False}) == 200

    def cut(self, fault: Fault) -> None:
        """Leave what a watchdog leaves that dies in the middle of a cut."""
        self.close()
        self.create(stand_in(fault), listen=self.listen)

    def hold(self, run: str, ends_in_s: float) -> str:
        """Have a lease on the server, as a run has it; its name."""
        name = written(Kind.LEASE, run, int(time.time() + ends_in_s))
        self.create(name, listen=self.listen, enabled=False)
        return name

    def echo_s(self) -> float | None:
        """How long the path takes for one byte there and back; None if closed, or beyond 1 s."""
        started_s = time.monotonic()
        host, _, port = self.listen.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=1.0) as client:
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
        return clean and self.names() == [self.proxy] and self.echo_s() is not None

    def _answer(self, method: str, path: str, body: object) -> tuple[int, dict[str, Any]]:
        place = urlsplit(self.url)
        api = http.client.HTTPConnection(str(place.hostname), place.port, timeout=10.0)
        with contextlib.closing(api):
            api.request(method, path, None if body is None else json.dumps(body))
            response = api.getresponse()
            text = response.read()
        return response.status, json.loads(text) if text else {}


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
