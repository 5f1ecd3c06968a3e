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
from collections.abc import Callable, Mapping, Sequence

from chaosbandit.toxiproxy.server.link import Link
from chaosbandit.toxiproxy.server.random_draws import Draws
from chaosbandit.toxiproxy.server.stream import Stream
from chaosbandit.toxiproxy.wire_format import ToxicRecord

Chains = Mapping[str, Sequence[ToxicRecord]]


class Side:
    """One socket: the source of its `outgoing` link and the sink of its `incoming` one."""

    outgoing: Link
    incoming: Link
    peer: Side

    def __init__(self, sock: socket.socket, lost: Callable[[], None]) -> None:
        self.stream = Stream(sock, self)
        self.gone = False
        self._lost = lost

    def received(self, data: bytes) -> None:
        """Into the link, or straight to the peer where no toxic stands."""
        if self.outgoing.direct:
            self.peer.stream.write(data)
        else:
            self.outgoing.feed(data)

    def ended(self) -> None:
        """What is in the link is still delivered."""
        self.outgoing.source_ended()

    def full(self) -> None:
        """The reader is slow: the link before it waits."""
        self.incoming.sink_paused()

    def drained(self) -> None:
        """The reader caught up: the link goes on."""
        self.incoming.sink_resumed()

    def lost(self) -> None:
        """As an end of input, whatever the reason."""
        self.gone = True
        self.outgoing.source_ended()
        self.incoming.sink_resumed()
        self._lost()


class Connection:
    """Nothing until `begin` was called; then both sides, and both links."""

    def __init__(self, ended: Callable[[Connection], None]) -> None:
        self._ended = ended
        self._sides: tuple[Side, ...] = ()
        self._links: dict[str, Link] = {}

    def begin(
        self,
        client_socket: socket.socket,
        server_socket: socket.socket,
        chains: Chains,
        draws: Draws,
    ) -> None:
        """Connect two sockets with the toxics there are now."""
        loop = asyncio.get_running_loop()
        client, server = Side(client_socket, self._lost), Side(server_socket, self._lost)
        client.peer, server.peer = server, client
        self._sides = client, server
        ends = (("upstream", client, server), ("downstream", server, client))
        for direction, source, sink in ends:
            link = Link(loop, _Pipe(source.stream, sink.stream), draws, chains[direction])
            source.outgoing = sink.incoming = self._links[direction] = link
        resets = any(link.resets for link in self._links.values())
        for side in self._sides:
            if resets:
                side.stream.reset_on_close()
            side.stream.start()

    def link(self, direction: str) -> Link:
        """Return the link of one direction."""
        return self._links[direction]

    def abort(self) -> None:
        """Close both sockets now; what is inside is lost."""
        self._stop()
        for side in self._sides:
            side.stream.abort()

    def _stop(self) -> None:
        for link in self._links.values():
            link.stop()

    def _lost(self) -> None:
        if all(side.gone for side in self._sides):
            self._stop()
            self._ended(self)


class _Pipe:
    def __init__(self, source: Stream, sink: Stream) -> None:
        self.write = sink.write
        self.finish = sink.finish
        self.pause = source.pause
