"""A proxy with both of its ends in the test's hands."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from typing import Any
from urllib.parse import urlsplit

PATIENCE_S = 10.0


class ProxiedPath:
    """Proxy `p` of a server, and the listening socket it leads to."""

    def __init__(self, url: str, upstream: socket.socket) -> None:
        self._place = urlsplit(url)
        self._listener = upstream
        self._open = contextlib.ExitStack()
        host, port = upstream.getsockname()
        body = {"name": "p", "listen": "127.0.0.1:0", "upstream": f"{host}:{port}"}
        self.address = self.call("POST", "/proxies", body)["listen"].split(":")

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Make one API call that must succeed, and return its decoded body."""
        api = http.client.HTTPConnection(
            str(self._place.hostname), self._place.port, timeout=PATIENCE_S
        )
        with contextlib.closing(api):
            api.request(method, path, json.dumps(body))
            response = api.getresponse()
            text = response.read()
        assert 200 <= response.status < 300, text
        return json.loads(text) if text else None

    def add(
        self,
        type: str,
        stream: str = "downstream",
        toxicity: float = 1,
        name: str = "t",
        **attributes: int,
    ) -> None:
        """Add a toxic."""
        body = {"name": name, "type": type, "stream": stream, "toxicity": toxicity}
        self.call("POST", "/proxies/p/toxics", {**body, "attributes": attributes})

    def update(self, name: str = "t", toxicity: float | None = None, **attributes: int) -> None:
        """Update a toxic."""
        body = {"attributes": attributes, "toxicity": toxicity}
        self.call("PATCH", f"/proxies/p/toxics/{name}", body)

    def remove(self, name: str = "t") -> None:
        """Remove a toxic."""
        self.call("DELETE", f"/proxies/p/toxics/{name}")

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """Return a connection's two ends: the client's and the upstream server's."""
        client = self.knock()
        server, _ = self._listener.accept()
        server.settimeout(PATIENCE_S)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client, self._open.enter_context(server)

    def knock(self) -> socket.socket:
        """Return the client's end only."""
        host, port = self.address
        client = self._open.enter_context(socket.create_connection((host, int(port)), PATIENCE_S))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def close(self) -> None:
        self._open.close()


def arrivals(sock: socket.socket, since_s: float) -> list[tuple[float, bytes]]:
    """Return what comes until the end, each with its time; the last is the end, as no bytes."""
    found: list[tuple[float, bytes]] = []
    while not found or found[-1][1]:
        data = sock.recv(65536)
        found.append((time.monotonic() - since_s, data))
    return found


def received(sock: socket.socket, count: int) -> tuple[float, bytes]:
    """Return `count` bytes, or what came before the end, and the time they took from now."""
    since_s = time.monotonic()
    data = b""
    while len(data) < count and (more := sock.recv(65536)):
        data += more
    return time.monotonic() - since_s, data


def silent(sock: socket.socket, for_s: float) -> bool:
    """Return whether nothing comes for a while, not even the end."""
    sock.settimeout(for_s)
    try:
        sock.recv(1)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(PATIENCE_S)
    return False
