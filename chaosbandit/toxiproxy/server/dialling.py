"""Connecting to an upstream: at once where its address is a number, which it mostly is.

Knows nothing of proxies.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
from functools import lru_cache

from chaosbandit.toxiproxy.server.listening import AddressError, split_address

_STANDS = (0, errno.EISCONN)
_ON_ITS_WAY = (errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK)

Place = tuple[socket.AddressFamily, tuple[str, int]]


def begun(upstream: str) -> tuple[socket.socket, bool] | None:
    """A connection under way, and whether it stands already, as on loopback; None for a name.

    Raises:
        OSError: refused, or nothing left to connect with.
    """
    place = _numeric(upstream)
    if place is None:
        return None
    family, address = place
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    failure = sock.connect_ex(address)
    if failure in _ON_ITS_WAY:
        failure = sock.connect_ex(address)  # asks how it went
    if failure in _STANDS:
        return sock, True
    if failure in _ON_ITS_WAY:
        return sock, False
    sock.close()
    raise OSError(failure, os.strerror(failure))


async def dialled(upstream: str) -> socket.socket:
    """A connection to the first address of a host that takes it.

    Raises:
        OSError, AddressError, ValueError, OverflowError: there is none.
    """
    host, port = split_address(upstream)
    loop = asyncio.get_running_loop()
    last = OSError(errno.EADDRNOTAVAIL, "the name has no address")
    for family, kind, _, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise last


async def established(sock: socket.socket) -> socket.socket:
    """The connection, once it stands; whoever gives up waiting closes it.

    Raises:
        OSError: it did not come to be.
    """
    loop = asyncio.get_running_loop()
    decided = asyncio.Event()
    loop.add_writer(sock, decided.set)
    try:
        await decided.wait()
    finally:
        loop.remove_writer(sock)
    failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if failure:
        raise OSError(failure, os.strerror(failure))
    return sock


@lru_cache(maxsize=64)
def _numeric(upstream: str) -> Place | None:
    try:
        host, port = split_address(upstream)
        version = ipaddress.ip_address(host).version
    except (AddressError, ValueError):
        return None
    if "%" in host:  # a scope, which only a look-up turns into a number
        return None
    return (socket.AF_INET if version == 4 else socket.AF_INET6), (host, port)
