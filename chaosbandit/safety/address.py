"""What listen texts of Toxiproxy mean, and whether something accepts there.

Listen addresses are those of the Toxiproxy host, which need not be this one. Standard library only.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

_WILDCARDS = frozenset({"", "0.0.0.0", "::"})


def same_address(one: str, other: str) -> bool:
    """Whether two listen texts mean one address: `localhost:1`, `127.0.0.1:1`; `:1`, `[::]:1`."""
    return _parts(one) == _parts(other)


def accepts(listen: str, server_url: str, within_s: float = 2.0) -> bool | None:
    """Whether a TCP connection to `listen` succeeds; None where that cannot be seen from here."""
    address = _reachable(listen, server_url)
    if address is None:
        return None
    try:
        socket.create_connection(address, timeout=within_s).close()
    except OSError:
        return False
    return True


def host_of(server_url: str) -> str:
    """The host in a server's URL."""
    return urlsplit(server_url).hostname or ""


def is_loopback(host: str) -> bool:
    """Whether `host` is this host itself."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _reachable(listen: str, server_url: str) -> tuple[str, int] | None:
    host, port = _parts(listen)
    server = host_of(server_url)
    if host == "*":
        host = server
    elif is_loopback(host) and not is_loopback(server):
        return None  # the loopback of another host
    return (host, int(port)) if port.isdecimal() else None


def _parts(listen: str) -> tuple[str, str]:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if host in _WILDCARDS:
        return "*", port
    return ("127.0.0.1" if host == "localhost" else host), port
