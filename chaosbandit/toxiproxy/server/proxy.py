"""One proxy: its listener, the toxics configured on it and the connections through it.

Everything here but waiting for an upstream is synchronous, so a change is complete before the next
one starts and none can wait for a client. Knows nothing of the API.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from functools import partial

from chaosbandit.machine_shortage import is_shortage
from chaosbandit.toxiproxy.server.dialling import begun, dialled, established
from chaosbandit.toxiproxy.server.file_descriptors import Descriptors
from chaosbandit.toxiproxy.server.listening import (
    Address,
    AddressError,
    bound_address,
    listening_socket,
)
from chaosbandit.toxiproxy.server.random_draws import Draws
from chaosbandit.toxiproxy.server.relay import Connection
from chaosbandit.toxiproxy.wire_format import STREAMS, ProxyRecord, ToxicRecord

DIAL_TIMEOUT_S = 30.0
"""The real server has no such limit, and lets a hanging upstream block all clients of its proxy."""

_ACCEPTS_AT_ONCE = 64
_TURNS_TO_BEGIN = 10
_PAUSE_WITHOUT_SOCKETS_S = 0.1


class Proxy:
    """A proxy, stopped until `start`; toxics may come and go in either state."""

    def __init__(self, wanted: ProxyRecord, seed: int, descriptors: Descriptors) -> None:
        self.name = wanted.name
        self.listen = wanted.listen
        self.upstream = wanted.upstream
        self._seed = seed
        self._descriptors = descriptors
        self._listener: socket.socket | None = None
        self._chains: dict[str, list[ToxicRecord]] = {stream: [] for stream in STREAMS}
        self._accepted = 0
        self._connections: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()

    @property
    def enabled(self) -> bool:
        """Whether it listens."""
        return self._listener is not None

    @property
    def quiet(self) -> bool:
        """Whether no connection is open or opening."""
        return not (self._connections or self._opening)

    @property
    def toxics(self) -> tuple[ToxicRecord, ...]:
        """The toxics, upstream ones first, each in chain order."""
        return tuple(toxic for stream in STREAMS for toxic in self._chains[stream])

    def record(self) -> ProxyRecord:
        """Return the proxy as a server shows it."""
        return ProxyRecord(self.name, self.listen, self.upstream, self.enabled, self.toxics)

    def differs(self, listen: Address, upstream: str) -> bool:
        """Return whether these addresses are others than the proxy's."""
        return self.listen != str(listen) or self.upstream != upstream

    # Listening.

    def start(self, address: Address) -> None:
        """Listen; no-op if it does already.

        Raises:
            AddressError: not there, or there is no descriptor left for it.
        """
        if self._listener is not None:
            return
        if not self._descriptors.take(self):
            raise AddressError(f"{address}: socket: {os.strerror(errno.EMFILE).lower()}")
        try:
            self._listener = listening_socket(address)
        except AddressError:
            self._descriptors.give(self)
            raise
        self.listen = str(bound_address(self._listener))
        asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def stop(self) -> None:
        """Close the listener and both sockets of every connection at once."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
            self._descriptors.give(self)
        for task in self._opening:
            task.cancel()
        for connection in [*self._connections]:
            connection.abort()

    def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                if not self._descriptors.left:
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                client, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no file descriptors left: let some connections end first
                self._descriptors.shortages += 1
                loop.remove_reader(listener)
                loop.call_later(_PAUSE_WITHOUT_SOCKETS_S, self._accept_again, listener)
                return
            self._accepted += 1
            client.setblocking(False)
            self._dial(client, self._accepted)

    def _accept_again(self, listener: socket.socket) -> None:
        if listener is self._listener:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _dial(self, client: socket.socket, number: int) -> None:
        connection = Connection(self._ended)
        self._descriptors.take(connection)
        try:
            dialling = begun(self.upstream)
        except OSError as error:  # the client sees its connection closed, as by the real server
            self._note_shortage(error)
            self._descriptors.give(connection)
            client.close()
            return
        if dialling is not None and dialling[1]:
            self._begin(connection, client, dialling[0], number)
            return
        opening = self._open(connection, client, number, dialling and dialling[0])
        task = asyncio.get_running_loop().create_task(opening)
        self._opening.add(task)
        task.add_done_callback(partial(self._opened, connection))

    def _opened(self, connection: Connection, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        if connection not in self._connections:
            self._descriptors.give(connection)

    def _ended(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._descriptors.give(connection)

    async def _open(
        self,
        connection: Connection,
        client: socket.socket,
        number: int,
        dialling: socket.socket | None,
    ) -> None:
        with contextlib.ExitStack() as undo:
            undo.callback(client.close)
            if dialling is not None:
                undo.callback(dialling.close)
            try:
                async with asyncio.timeout(DIAL_TIMEOUT_S):
                    server = await (established(dialling) if dialling else dialled(self.upstream))
            except (OSError, OverflowError, ValueError, AddressError) as error:
                self._note_shortage(error)
                return
            undo.pop_all()
        self._begin(connection, client, server, number)

    def _begin(
        self, connection: Connection, client: socket.socket, server: socket.socket, number: int
    ) -> None:
        self._connections.add(connection)
        connection.begin(client, server, self._chains, Draws(self._seed, self.name, number))

    def _note_shortage(self, error: Exception) -> None:
        self._descriptors.shortages += isinstance(error, OSError) and is_shortage(error)

    async def begin_accepted(self) -> None:
        """Let connections begin whose upstream has just accepted them; waits for nothing else.

        To their two ends they are open, so a change of toxics has to find them.
        """
        for _ in range(_TURNS_TO_BEGIN):
            if self._opening:
                await asyncio.sleep(0)

    # Toxics.

    def toxic(self, name: str) -> ToxicRecord | None:
        """Return the toxic of this name, whichever its direction."""
        return next((toxic for toxic in self.toxics if toxic.name == name), None)

    def add_toxic(self, toxic: ToxicRecord) -> None:
        """Put a toxic at the end of its direction's chain, also in live connections."""
        self._chains[toxic.direction].append(toxic)
        for connection in [*self._connections]:
            connection.link(toxic.direction).add(toxic)

    def update_toxic(self, toxic: ToxicRecord) -> None:
        """Replace the toxic of the same name in its place, also in live connections."""
        chain = self._chains[toxic.direction]
        chain[:] = [toxic if old.name == toxic.name else old for old in chain]
        for connection in [*self._connections]:
            connection.link(toxic.direction).update(toxic)

    def remove_toxic(self, toxic: ToxicRecord) -> None:
        """Take a toxic away, also from live connections."""
        self._chains[toxic.direction].remove(toxic)
        for connection in [*self._connections]:
            connection.link(toxic.direction).remove(toxic.name)
