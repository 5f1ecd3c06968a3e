"""One stream between a kernel socket pair and an owner who writes down what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator

from chaosbandit.toxiproxy.server.stream import Stream

PATIENCE_S = 10.0
LARGE = bytes(range(256)) * 40_000  # 10 MB: more than any kernel takes at once


class Owner:
    def __init__(self, sock: socket.socket) -> None:
        self.told: list[str] = []
        self.data = b""
        self.stream = Stream(sock, self)

    def received(self, data: bytes) -> None:
        self.data += data

    def ended(self) -> None:
        self.told.append("ended")

    def full(self) -> None:
        self.told.append("full")

    def drained(self) -> None:
        self.told.append("drained")

    def lost(self) -> None:
        self.told.append("lost")


@contextlib.contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Ours, without blocking, and the other end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    ours.setblocking(False)
    other.settimeout(PATIENCE_S)
    with ours, other:
        yield ours, other


def play(script: Callable[[Owner, socket.socket], Awaitable[None]]) -> Owner:
    async def run() -> Owner:
        with connected() as (ours, other):
            owner = Owner(ours)
            await script(owner, other)
            owner.stream.abort()
            await until(lambda: owner.told[-1:] == ["lost"])
            assert ours.fileno() == -1
            return owner

    return asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  the kernel sets no event
            await asyncio.sleep(0.001)


def test_reads_from_the_start_to_the_end() -> None:
    async def script(owner: Owner, other: socket.socket) -> None:
        other.sendall(b"before")
        await asyncio.sleep(0.02)
        assert owner.data == b""
        owner.stream.start()
        await until(lambda: owner.data == b"before")
        owner.stream.pause(True)
        other.sendall(b" after")
        other.shutdown(socket.SHUT_WR)
        await asyncio.sleep(0.02)
        assert (owner.data, owner.told) == (b"before", [])
        owner.stream.pause(False)
        await until(lambda: bool(owner.told))
        owner.stream.pause(True)
        owner.stream.pause(False)  # the end is told once
        owner.stream.write(b"still open")
        assert other.recv(100) == b"still open"

    owner = play(script)
    assert (owner.data, owner.told) == (b"before after", ["ended", "lost"])


def test_finishes_after_what_waits_has_left() -> None:
    async def script(owner: Owner, other: socket.socket) -> None:
        owner.stream.start()
        owner.stream.write(LARGE)
        assert owner.told == ["full"]
        owner.stream.finish()
        other.sendall(b"heard meanwhile")
        await until(lambda: owner.data == b"heard meanwhile")
        assert owner.told == ["full"]
        received = await asyncio.to_thread(_all_of, other)
        assert received == LARGE
        await until(lambda: "lost" in owner.told)
        owner.stream.write(b"dropped")

    assert play(script).told == ["full", "lost"]


def test_a_slow_reader_is_told_of_twice() -> None:
    async def script(owner: Owner, other: socket.socket) -> None:
        owner.stream.write(LARGE)
        owner.stream.write(b".")
        reading = asyncio.create_task(asyncio.to_thread(_count, other, len(LARGE) + 1))
        assert await reading == LARGE + b"."
        await until(lambda: len(owner.told) == 2)

    assert play(script).told == ["full", "drained", "lost"]


def test_a_reset_is_a_loss_and_told_once() -> None:
    async def script(owner: Owner, other: socket.socket) -> None:
        owner.stream.start()
        owner.stream.write(LARGE)
        other.close()  # with unread input: a reset
        await until(lambda: "lost" in owner.told)

    assert play(script).told == ["full", "lost"]


def test_a_close_can_be_made_a_reset() -> None:
    async def script(owner: Owner, other: socket.socket) -> None:
        owner.stream.reset_on_close()
        owner.stream.finish()
        await until(lambda: owner.told == ["lost"])
        try:
            assert other.recv(1) == b"never"
        except ConnectionResetError:
            owner.told.insert(0, "reset")

    assert play(script).told == ["reset", "lost"]


def _all_of(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(1 << 20), b""))


def _count(sock: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        data += sock.recv(1 << 20)
    return bytes(data)
