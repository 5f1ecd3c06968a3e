"""An operator's proxy on a Toxiproxy server, before an echo service, and toxics put on it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.faults.names import Kind, written
from chaosbandit.faults.softening import soft_form
from chaosbandit.faults.undo_steps import proxy_path, toxic_path
from chaosbandit.toxiproxy.calls import Calls, Reply
from tests.waiting import wait_for

DOSE_S = 5.0
HARSHER_S = 6.0
ORIGINAL = "inventory"


@dataclass(frozen=True, slots=True)
class OperatorPath:
    """Clients connect to `listen`, where the proxy `inventory` leads to an echo service."""

    dose_s: ClassVar[float] = DOSE_S

    url: str
    listen: str
    upstream: str

    def fault(self, n: int = 1, *, run: str = "run001", expires_in_s: float = 300.0) -> Fault:
        """A latency toxic on the operator's proxy."""
        expires = int(time.time() + expires_in_s)
        name = written(Kind.TOXIC, run, expires, n=n)
        dose = {"latency": int(self.dose_s * 1000), "jitter": 0}
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

    def call(self, method: str, path: str, body: object = None) -> int:
        """The status of one API call."""
        return self._reply(method, path, body).status

    def show(self, name: str = ORIGINAL) -> dict[str, Any]:
        """A proxy as the server shows it; empty where there is none."""
        reply = self._reply("GET", proxy_path(name))
        return reply.record() if reply.status == 200 else {}

    def names(self) -> list[str]:
        """The names of all proxies."""
        return sorted(self._reply("GET", "/proxies").record())

    def toxics(self, name: str = ORIGINAL) -> list[str]:
        """The names of the toxics on a proxy."""
        return [toxic["name"] for toxic in self.show(name).get("toxics", ())]

    def _reply(self, method: str, path: str, body: object = None) -> Reply:
        with contextlib.closing(Calls(self.url)) as calls:
            return calls.call(method, path, body, within_s=10.0)

    def inject(self, fault: Fault, until: str = "added") -> None:
        """Put `fault` on the way a run does, and go on with it as far as `until`."""
        for step, action in injection(self, fault):
            status = action()
            assert status in (200, 201, 204), f"{step}: {status}"
            if step == until:
                return

    def add(self, toxic: Toxic, proxy: str) -> int:
        """Put a toxic on a proxy; the status."""
        body = {
            "name": toxic.name,
            "type": toxic.type,
            "stream": toxic.stream,
            "toxicity": toxic.toxicity,
            "attributes": dict(toxic.attributes),
        }
        return self.call("POST", f"{proxy_path(proxy)}/toxics", body)

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
        wait_for(lambda: self.echo_s() is not None, within_s, every_s=0.0005, told=self.names)
        return time.monotonic() - started_s


def injection(path: OperatorPath, fault: Fault) -> list[tuple[str, Callable[[], int]]]:
    """The steps of a fault's life, each with the name of the state it leads to.

    A path of our own is opened before and stands after it.
    """
    toxic = fault.toxics[0]
    place = {"name": fault.proxy, "listen": fault.listen, "upstream": fault.upstream}
    ours = toxic_path(fault.proxy, toxic.name)
    harsher = {"latency": int(HARSHER_S * 1000)}
    opened = [("opened", lambda: path.call("POST", "/proxies", place))] if fault.owned else []
    return [
        *opened,
        ("added", lambda: max(path.add(toxic, fault.proxy) for toxic in fault.toxics)),
        ("updated", lambda: path.call("POST", ours, {"attributes": harsher})),
        ("softened", lambda: path.call("POST", ours, {"attributes": soft_form(toxic)})),
        ("deleted", lambda: path.call("DELETE", ours)),
    ]


@contextlib.contextmanager
def operator_path(url: str) -> Iterator[OperatorPath]:
    """Have the operator's proxy on the server at `url`, with an echo service behind it."""
    with echo_service() as upstream:
        listen = f"127.0.0.1:{free_port()}"
        path = OperatorPath(url, listen, upstream)
        body = {"name": ORIGINAL, "listen": listen, "upstream": upstream}
        assert path.call("POST", "/proxies", body) == 201
        yield path


def beside(path: OperatorPath, fault: Fault) -> Fault:
    """The same fault on a path of our own, as in topology `edge`."""
    proxy = written(Kind.PATH, fault.run, fault.expires_epoch_s, n=77)
    return replace(fault, proxy=proxy, listen=f"127.0.0.1:{free_port()}", owned=True)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def echo_service() -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    host, port = listener.getsockname()
    thread = threading.Thread(target=_serve, args=(listener,), daemon=True)
    thread.start()
    try:
        yield f"{host}:{port}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_echo, args=(client,), daemon=True).start()


def _echo(client: socket.socket) -> None:
    with client, contextlib.suppress(OSError):
        while data := client.recv(4096):
            client.sendall(data)
