"""Servers that misbehave as told, one thread a connection."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Converse = Callable[["Guest"], None]


@dataclass(slots=True)
class Guest:
    """One connection, and the end of the test that it must not outlast."""

    socket: socket.socket
    number: int  # of the connection, from 1
    done: threading.Event
    closed: threading.Semaphore

    def request(self) -> bytes:
        """One whole request; empty when the client is gone."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.socket.recv(65536)
            if not more:
                return b""
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        while len(body) < int(length or 0):
            more = self.socket.recv(65536)
            data, body = data + more, body + more
        return data

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def drip(self, data: bytes, pause_s: float = 0.1) -> None:
        """Byte by byte."""
        for n in range(len(data)):
            self.send(data[n : n + 1])
            if self.done.wait(pause_s):
                return

    def say_no_more(self) -> None:
        """Close one half of the connection."""
        self.socket.shutdown(socket.SHUT_WR)
        self.closed.release()

    def hang(self) -> None:
        self.done.wait(30)


@dataclass(slots=True)
class Server:
    """Where it is, and what it was asked."""

    url: str
    done: threading.Event = field(default_factory=threading.Event)
    closed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    connections: int = 0


@contextlib.contextmanager
def misbehaving(converse: Converse) -> Iterator[Server]:
    """A server that has `converse` with each connection, and closes it then."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        server = Server(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def attend(client: socket.socket, number: int) -> None:
            with client, contextlib.suppress(OSError):
                converse(Guest(client, number, server.done, server.closed))
            server.closed.release()

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    server.connections += 1
                    arguments = (client, server.connections)
                    threading.Thread(target=attend, args=arguments, daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.done.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def answer(body: bytes | object = b"{}", status: str = "200 OK", *more: str) -> bytes:
    """The bytes of an HTTP answer."""
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(payload)}", *more]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + payload


def always(reply: bytes) -> Converse:
    """The same answer to each request, on kept connections."""

    def converse(guest: Guest) -> None:
        while guest.request():
            guest.send(reply)

    return converse
