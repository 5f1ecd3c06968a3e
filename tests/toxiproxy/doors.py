"""An operator's proxy in front of an echo service, and a way to its API that delivers late."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.faults.names import Kind, written
from chaosbandit.faults.undo_steps import Call, Step, Wait, proxy_path
from chaosbandit.toxiproxy.calls import Calls

PROXY = "inventory"
RUN = "run001"
PATIENCE_S = 10.0
DOSES: Mapping[str, dict[str, int]] = {
    "latency": {"latency": 300, "jitter": 50},
    "bandwidth": {"rate": 20},
    "slicer": {"average_size": 100, "size_variation": 10, "delay": 1000},
    "timeout": {"timeout": 0},
    "reset_peer": {"timeout": 200},
    "limit_data": {"bytes": 10**6},
    "slow_close": {"delay": 500},
}


@dataclass(slots=True)
class Echo:
    """A service that returns what it gets; it counts whom it meets and who has gone."""

    listener: socket.socket
    met: int = 0
    left: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def address(self) -> str:
        host, port = self.listener.getsockname()
        return f"{host}:{port}"

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._echo, args=(client,), daemon=True).start()

    def _echo(self, client: socket.socket) -> None:
        with self._lock:
            self.met += 1
        with client, contextlib.suppress(OSError):
            while data := client.recv(65536):
                client.sendall(data)
        with self._lock:
            self.left += 1


@dataclass(frozen=True, slots=True)
class Door:
    """Clients connect to `listen`, where the proxy `inventory` leads to an echo service."""

    url: str
    listen: str
    echo: Echo

    def toxic(self, n: int = 1, type: str = "latency", *, expires: int = 0) -> Toxic:
        """One of ours, on no proxy yet."""
        name = written(Kind.TOXIC, RUN, expires or int(time.time()) + 300, n=n)
        return Toxic(type, DOSES[type], name=name)

    def fault(self, *toxics: Toxic, proxy: str = PROXY, listen: str = "") -> Fault:
        """A fault on a proxy; one latency toxic unless said."""
        toxics = toxics or (self.toxic(),)
        return Fault(
            run=RUN,
            server=self.url,
            name=toxics[0].name,
            proxy=proxy,
            listen=listen or self.listen,
            upstream=self.echo.address,
            expires_epoch_s=int(toxics[0].name.split(".")[2]),
            toxics=toxics,
            owned=proxy != PROXY,
        )

    def call(self, method: str, path: str, body: object = None, *wanted: int) -> Any:
        """One API call that must succeed; its body."""
        with closing(Calls(self.url)) as calls:
            reply = calls.call(method, path, body, within_s=PATIENCE_S)
        assert reply.status in (wanted or (200, 201, 204)), reply
        return reply.record()

    def show(self, name: str = PROXY) -> dict[str, Any]:
        """A proxy as the server shows it; empty where there is none."""
        found: dict[str, Any] = self.call("GET", proxy_path(name), None, 200, 404)
        return found if "enabled" in found else {}

    def names(self) -> list[str]:
        """All proxies."""
        return sorted(self.call("GET", "/proxies"))

    def put(self, fault: Fault) -> Fault:
        """Add its toxics, and its proxy where that is ours."""
        if fault.owned:
            place = {"name": fault.proxy, "listen": fault.listen, "upstream": fault.upstream}
            self.call("POST", "/proxies", place)
        for toxic in fault.toxics:
            self.add(toxic.name, toxic.type, dict(toxic.attributes), fault.proxy)
        return fault

    def add(self, name: str, type: str, attributes: Mapping[str, int], proxy: str = PROXY) -> None:
        body = {"name": name, "type": type, "attributes": dict(attributes)}
        self.call("POST", f"{proxy_path(proxy)}/toxics", body)

    def connect(self) -> socket.socket:
        """A connection through the path."""
        host, _, port = self.listen.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=PATIENCE_S)

    def serves(self, within_s: float = 1.0) -> bool:
        """Whether a new connection gets its byte back in time."""
        with contextlib.suppress(OSError), self.connect() as client:
            client.settimeout(within_s)
            client.sendall(b"x")
            return client.recv(1) == b"x"
        return False

    def is_normal(self) -> bool:
        """Whether the operator's proxy alone is there, as it was, clean and fast."""
        shown = self.show()
        place = (shown.get("listen"), shown.get("upstream"), shown.get("enabled"))
        clean = place == (self.listen, self.echo.address, True) and shown["toxics"] == []
        return clean and self.names() == [PROXY] and self.serves()


def carry_out(door: Door, plan: tuple[Step, ...] | list[Step]) -> None:
    """Steps as somebody else carries them out, who is killed after the last."""
    with closing(Calls(door.url)) as calls:
        for step in plan:
            if isinstance(step, Wait):
                time.sleep(step.duration_s)
                continue
            reply = calls.call(step.method, step.path, step.body, PATIENCE_S)
            assert reply.status in step.good, (step, reply)


@contextlib.contextmanager
def door(url: str) -> Iterator[Door]:
    """Have the operator's proxy on the server at `url`."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        echo = Echo(listener)
        thread = threading.Thread(target=echo.serve, daemon=True)
        thread.start()
        found = Door(url, f"127.0.0.1:{free_port()}", echo)
        place = {"name": PROXY, "listen": found.listen, "upstream": echo.address}
        found.call("POST", "/proxies", place)
        try:
            yield found
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def is_call(call: Call) -> Callable[[bytes], bool]:
    """Whether a request is that step."""
    start = f"{call.method} {call.path} HTTP".encode()
    body = b"" if call.body is None else json.dumps(call.body).encode()
    return lambda request: request.startswith(start) and request.endswith(body)


@dataclass(slots=True)
class Relay:
    """The way to an API; it writes down the requests, and delivers the first of a kind late."""

    upstream: tuple[str, int]
    is_late: Callable[[bytes], bool]
    late_s: float
    url: str = ""
    requests: list[str] = field(default_factory=list)
    delivered: threading.Event = field(default_factory=threading.Event)  # and answered
    _taken: bool = False

    def accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.create_connection(self.upstream) as server:
            answered = threading.Event()
            back = threading.Thread(target=_copy, args=(server, client, answered), daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while data := _request(client):
                    self.requests.append(data.partition(b" HTTP")[0].decode())
                    late = not self._taken and self.is_late(data)
                    if late:
                        self._taken = True
                        time.sleep(self.late_s)
                    answered.clear()
                    server.sendall(data)
                    if late and answered.wait(PATIENCE_S):
                        self.delivered.set()
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_WR)
            back.join(PATIENCE_S)


def _request(client: socket.socket) -> bytes:
    """A whole request; head and body are sent apart."""
    data = client.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    while data and len(body) < int(length or 0):
        more = client.recv(65536)
        data, body = data + more, body + more
    return data


def _copy(source: socket.socket, target: socket.socket, answered: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            answered.set()
            with contextlib.suppress(OSError):  # it may have given up
                target.sendall(data)


@contextlib.contextmanager
def relay(url: str, is_late: Callable[[bytes], bool], late_s: float) -> Iterator[Relay]:
    """A way to the API at `url` on which one call is delivered late."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    found = Relay((host, int(port)), is_late, late_s)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        found.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=found.accept, args=(listener,), daemon=True)
        thread.start()
        try:
            yield found
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
