"""One connection through a proxy: two sockets and the link of each direction between them.

    client ──▶ upstream link ──▶ server
    client ◀── downstream link ◀── server

As in Toxiproxy the end of either direction ends both: when a stream has ended at its sink that
socket is closed, which ends the other direction at its source, and so on through its toxics. Knows
nothing of listeners and the API.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping, Sequence

from chaosbandit.toxiproxy.server.link import Link
from chaosbandit.toxiproxy.server.random_draws import Draws
from chaosbandit.toxiproxy.wire_format import ToxicRecord

Chains = Mapping[str, Sequence[ToxicRecord]]

_BUFFER_BYTES = 64 * 1024
_KEEP_ALIVE_S = 15
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Side(asyncio.Protocol):
    """One socket: the source of its `outgoing` link and the sink of its `incoming` one."""

    outgoing: Link
    incoming: Link
    peer: Side

    def __init__(self, lost: Callable[[], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self._lost = lost
        self._ready = False
        self._finishing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read nothing before both links are there."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=_BUFFER_BYTES)
        transport.pause_reading()
        _keep_alive(transport.get_extra_info("socket"))

    def begin(self) -> None:
        """Start reading; both links are there now."""
        self._ready = True
        if self.transport is None:
            self.outgoing.source_ended()
        else:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Into the link, or straight to the peer where no toxic stands."""
        if self.outgoing.direct:
            self.peer.write(data)
        else:
            self.outgoing.feed(data)

    def eof_received(self) -> bool:
        """What is in the link is still delivered."""
        self.outgoing.source_ended()
        return True  # asyncio would close the socket although the answer is still on its way

    def pause_writing(self) -> None:
        """The reader is slow: the link before it waits."""
        if not self._finishing:
            self.incoming.sink_paused()

    def resume_writing(self) -> None:
        """The reader caught up: the link goes on, or the connection ends."""
        if not self._finishing:
            self.incoming.sink_resumed()
        elif self.transport is not None:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """As an end of input, whatever the reason."""
        self.transport = None
        if self._ready:
            self.outgoing.source_ended()
            self.incoming.sink_resumed()
        self._lost()

    def write(self, data: bytes) -> None:
        """Send, unless the socket is gone."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def finish(self) -> None:
        """Close the socket after what was written, and go on reading until then."""
        if self.transport is None or self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size():
            self._finishing = True
            self.transport.set_write_buffer_limits(high=0)  # resume_writing comes when it is empty
        else:
            self.transport.close()

    def pause(self, paused: bool) -> None:
        """Stop or resume reading."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading() if paused else self.transport.resume_reading()

    def reset_on_close(self) -> None:
        """Make any close of the socket a reset."""
        if self.transport is not None:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


class Connection:
    """Both sides, and both links once `begin` was called."""

    def __init__(self, ended: Callable[[Connection], None]) -> None:
        self._ended = ended
        self.client = Side(self._side_lost)
        self.server = Side(self._side_lost)
        self.client.peer, self.server.peer = self.server, self.client
        self._links: dict[str, Link] = {}

    def begin(self, chains: Chains, draws: Draws) -> None:
        """Connect the sides with the toxics there are now."""
        loop = asyncio.get_running_loop()
        ends = {"upstream": (self.client, self.server), "downstream": (self.server, self.client)}
        for direction, (source, sink) in ends.items():
            pipe = _Pipe(source, sink)
            link = Link(loop, pipe, draws, chains[direction])
            source.outgoing = sink.incoming = self._links[direction] = link
        if any(link.resets for link in self._links.values()):
            self.client.reset_on_close()
            self.server.reset_on_close()
        self.client.begin()
        self.server.begin()

    def link(self, direction: str) -> Link:
        """Return the link of one direction."""
        return self._links[direction]

    def abort(self) -> None:
        """Close both sockets now; what is inside is lost."""
        for link in self._links.values():
            link.stop()
        for side in (self.client, self.server):
            if side.transport is not None:
                side.transport.abort()

    def _side_lost(self) -> None:
        if self.client.transport is None and self.server.transport is None:
            for link in self._links.values():
                link.stop()
            self._ended(self)


class _Pipe:
    def __init__(self, source: Side, sink: Side) -> None:
        self.write = sink.write
        self.finish = sink.finish
        self.pause = source.pause


def _keep_alive(sock: socket.socket) -> None:
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_ALIVE_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEP_ALIVE_S)
