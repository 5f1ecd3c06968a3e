"""A connected socket on an event loop, as cheap as it can be made: asyncio's transports cost more.

Knows nothing of links: whoever owns it is told what came, and when it may write on.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Protocol

_MOST_READ_BYTES = 256 * 1024
_HIGH_BYTES = 64 * 1024
_LOW_BYTES = 16 * 1024
_KEEP_ALIVE_S = 15
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Owner(Protocol):
    """Who is told; never from inside of a call to the stream, except that it is `full`."""

    def received(self, data: bytes) -> None:
        """Bytes came."""

    def ended(self) -> None:
        """No more will come."""

    def full(self) -> None:
        """What was written waits: write no more for now."""

    def drained(self) -> None:
        """Most of it has left."""

    def lost(self) -> None:
        """The socket is closed, for whatever reason."""


class Stream:
    """One socket; reads once `start` was called, and belongs to its owner until `lost`."""

    def __init__(self, sock: socket.socket, owner: Owner) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._fd = sock.fileno()
        self._owner = owner
        self._unsent = bytearray()
        self._reading = self._paused = self._ended = False
        self._full = self._finishing = False
        self._closed = False  # nothing more is read or written
        _tune(sock)

    def start(self) -> None:
        """Begin to read."""
        self._read_or_not()

    def pause(self, paused: bool) -> None:
        """Stop or resume reading."""
        self._paused = paused
        self._read_or_not()

    def write(self, data: bytes) -> None:
        """Send, or keep what the kernel does not take; dropped after the end."""
        if self._closed:
            return
        if self._unsent:
            self._unsent += data
        else:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self.abort()
                return
            if sent == len(data):
                return
            self._unsent += memoryview(data)[sent:]
            self._loop.add_writer(self._fd, self._writable)
        if not self._full and len(self._unsent) > _HIGH_BYTES:
            self._full = True
            if not self._finishing:
                self._owner.full()

    def finish(self) -> None:
        """Close after what was written, and go on reading until then."""
        self._finishing = True
        if not self._unsent:
            self.abort()

    def abort(self) -> None:
        """Close now; what was not sent is lost. The owner is told soon."""
        if self._closed:
            return
        self._closed = True
        self._read_or_not()
        if self._unsent:
            self._unsent.clear()
            self._loop.remove_writer(self._fd)
        self._loop.call_soon(self._lost)

    def reset_on_close(self) -> None:
        """Make any close of the socket a reset."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def _read_or_not(self) -> None:
        wanted = not (self._paused or self._ended or self._closed)
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                self._loop.add_reader(self._fd, self._readable)
            else:
                self._loop.remove_reader(self._fd)

    def _readable(self) -> None:
        try:
            data = self._sock.recv(_MOST_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.abort()
            return
        if data:
            self._owner.received(data)
        else:
            self._ended = True
            self._read_or_not()
            self._owner.ended()

    def _writable(self) -> None:
        try:
            del self._unsent[: self._sock.send(self._unsent)]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.abort()
            return
        if not self._unsent:
            self._loop.remove_writer(self._fd)
            if self._finishing:
                self.abort()
                return
        if self._full and len(self._unsent) <= _LOW_BYTES:
            self._full = False
            if not self._finishing:
                self._owner.drained()

    def _lost(self) -> None:
        self._sock.close()
        self._owner.lost()


def _tune(sock: socket.socket) -> None:
    """As Go does."""
    with contextlib.suppress(OSError):  # it was reset meanwhile, which reading it tells
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_ALIVE_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEP_ALIVE_S)
