"""Addresses to listen on, resolved and bound as Toxiproxy does, with its error texts.

What an address without a host means is for the caller to say; all interfaces are, as for Go, those
of IPv4 and IPv6 in one socket where the machine has both. Knows nothing of proxies.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
from dataclasses import dataclass
from typing import Any

THIS_MACHINE = "127.0.0.1"
EVERYWHERE = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
RESOLVE_TIMEOUT_S = 5.0

_BACKLOG = 1024
_NUMBER = re.compile("[+-]?[0-9]*")


class AddressError(Exception):
    """An address that names nothing or cannot be listened on; the text is Go's."""


@dataclass(frozen=True, slots=True)
class Address:
    """A resolved TCP address; `str` gives it as Go writes it."""

    family: socket.AddressFamily
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def split_address(text: str) -> tuple[str, int]:
    """Split `host:port`, where a host with colons stands in brackets."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        raise AddressError(f"address {text}: missing port in address")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise AddressError(f"address {text}: too many colons in address")
    return host, _port(port)


async def resolve(text: str, no_host: str = THIS_MACHINE) -> Address:
    """Return the one address that a text names, IPv4 where there is a choice."""
    host, port = split_address(text) if text else ("", 0)
    host = host or no_host
    if host == "0.0.0.0":
        host = EVERYWHERE
    if _is_short_ipv4(host):
        raise AddressError(f"lookup {host}: no such host")
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise AddressError(f"lookup {host}: i/o timeout") from None
    except (socket.gaierror, ValueError):
        raise AddressError(f"lookup {host}: no such host") from None
    except OSError as error:  # this machine's trouble: no descriptors left, for instance
        raise AddressError(f"lookup {host}: {_reason(error)}") from None
    family, _, _, _, place = min(found, key=_is_not_ipv4)
    return Address(family, str(place[0]), int(place[1]))


def listening_socket(address: Address) -> socket.socket:
    """Return a socket that listens there, without blocking."""
    try:
        sock = socket.socket(address.family, socket.SOCK_STREAM)
    except OSError as error:
        raise AddressError(f"{address}: socket: {_reason(error)}") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.host == EVERYWHERE == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setblocking(False)
        sock.bind((address.host, address.port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise AddressError(f"{address}: bind: {_reason(error)}") from None
    return sock


def bound_address(sock: socket.socket) -> Address:
    """Return where a socket really listens."""
    host, port, *_ = sock.getsockname()
    return Address(socket.AddressFamily(sock.family), host, port)


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)


def _port(text: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        try:
            return socket.getservbyname(text.lower(), "tcp")
        except (OSError, ValueError):
            raise AddressError(f"lookup tcp/{text}: unknown port") from None
    digits = text.lstrip("+-0")
    if len(digits) > 5 or int(digits or 0) > 65535 or (digits and text.startswith("-")):
        raise AddressError(f"address {text}: invalid port")
    return int(digits or 0)


def _is_short_ipv4(host: str) -> bool:
    """Whether only the C library takes it for an address: `127.1`, `0x7f000001`."""
    with contextlib.suppress(OSError, ValueError):
        return socket.inet_ntoa(socket.inet_aton(host)) != host
    return False


def _is_not_ipv4(found: tuple[Any, ...]) -> bool:
    return bool(found[0] != socket.AF_INET)
