"""HTTP connections on which nothing can outlast a deadline: name look-up, connect, send, read.

The ordinary time-out of a socket starts anew with every dripping byte. Standard library only.
"""

from __future__ import annotations

import http.client
import math
import select
import socket
import time
from typing import Any

from chaosbandit.deadline_thread import within

Address = tuple[int, Any]  # family, and what connect() takes


class DeadlineSocket(socket.socket):
    """A socket whose time-out shrinks; the ordinary one starts anew with every dripping byte."""

    give_up_s: float = math.inf

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive within what is left; TimeoutError when nothing is."""
        self.settimeout(left_s(self.give_up_s))
        return super().recv_into(buffer, nbytes, flags)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send within what is left; TimeoutError when nothing is."""
        self.settimeout(left_s(self.give_up_s))
        super().sendall(data, flags)


class Connection(http.client.HTTPConnection):
    """An HTTP connection over a deadline socket to one of `addresses`."""

    addresses: tuple[Address, ...] = ()
    give_up_s: float = math.inf
    kept = False  # it has been idle, so the server may have closed it

    def connect(self) -> None:
        """To the first of the addresses that answers."""
        self.sock = _connected(self.addresses, self.give_up_s)

    def set_deadline(self, give_up_s: float) -> None:
        """The time on the monotonic clock at which all waiting ends."""
        self.give_up_s = give_up_s
        if isinstance(self.sock, DeadlineSocket):
            self.sock.give_up_s = give_up_s

    def is_stale(self) -> bool:
        """Whether it is closed, or readable though nothing was asked: the server closes it."""
        if self.sock is None:
            return True
        readable = select.poll()  # select() knows descriptors below 1024 only
        readable.register(self.sock, select.POLLIN)
        return bool(readable.poll(0))


def left_s(give_up_s: float) -> float:
    """Seconds until then; TimeoutError when there are none."""
    left_s = give_up_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return min(left_s, 3600.0)


def resolved(host: str, port: int, give_up_s: float) -> tuple[Address, ...]:
    """The addresses of `host`; names are looked up in a thread, since that call has no time-out."""

    def look_up(flags: int) -> tuple[Address, ...]:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
        return tuple((int(family), address) for family, _, _, _, address in answers)

    try:
        return look_up(socket.AI_NUMERICHOST)
    except OSError:
        return within(left_s(give_up_s), lambda: look_up(0))


def _connected(addresses: tuple[Address, ...], give_up_s: float) -> DeadlineSocket:
    last: OSError = OSError("the name has no address")
    for tried, (family, address) in enumerate(addresses):
        sock = DeadlineSocket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(left_s(give_up_s) / (len(addresses) - tried))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            last = error
        else:
            sock.give_up_s = give_up_s
            return sock
    raise last
