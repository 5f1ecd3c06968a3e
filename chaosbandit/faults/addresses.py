"""What `host:port` texts mean, whether two mean one address, and whether something accepts there.

Listen addresses are those of the Toxiproxy host, which need not be this one. Names are resolved as
this machine sees them, in a thread with a deadline, since that call has none of its own.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from functools import lru_cache
from urllib.parse import urlsplit

from chaosbandit.deadline_thread import within

_WILDCARDS = frozenset({"", "0.0.0.0", "::"})
_RESOLVE_S = 2.0
_KEPT_S = 30.0


def same_address(one: str, other: str) -> bool:
    """Whether two `host:port` texts mean one: `localhost:1`, `127.0.0.1:1`; `:1`, `[::]:1`."""
    (host, port), (other_host, other_port) = parts(one), parts(other)
    if port != other_port:
        return False
    return host == other_host or bool(_addresses(host) & _addresses(other_host))


def same_server(one: str, other: str) -> bool:
    """Whether two URLs lead to one server's API."""
    try:
        (host, path), (other_host, other_path) = _server(one), _server(other)
    except ValueError:
        return one == other
    return path == other_path and same_address(host, other_host)


def is_known(host: str) -> bool:
    """Whether this machine can resolve `host`."""
    return bool(_addresses(host.strip("[]").lower()))


def accepts(listen: str, server_url: str, within_s: float = 2.0) -> bool | None:
    """Whether a TCP connection to `listen` succeeds; None where that cannot be seen from here."""
    address = _reachable(listen, server_url)
    if address is None:
        return None
    host, port = address
    return any(_connects(found, port, within_s) for found in sorted(_addresses(host)))


def host_of(server_url: str) -> str:
    """The host in a server's URL."""
    return urlsplit(server_url).hostname or ""


def is_loopback(host: str) -> bool:
    """Whether `host` is this host itself."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def place(address: str) -> str:
    """One spelling of `host:port`, the same for all on this host, for the names of locks."""
    host, port = parts(address)
    return f"{'localhost' if is_loopback(host) else host}:{port}"


def is_one_place(listen: str) -> bool:
    """Whether `listen` names a port; with port 0 everybody gets one of their own."""
    return listen.rpartition(":")[2] != "0"


def parts(address: str) -> tuple[str, str]:
    """(host, port) of `host:port`; every spelling of "all addresses" is `*`."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]").lower()
    if host in _WILDCARDS:
        return "*", port
    return ("127.0.0.1" if host == "localhost" else host), port


def _server(url: str) -> tuple[str, str]:
    split = urlsplit(url)
    return f"{split.hostname}:{split.port or 80}", split.path.rstrip("/")


def _reachable(listen: str, server_url: str) -> tuple[str, int] | None:
    host, port = parts(listen)
    server = host_of(server_url)
    if host == "*":
        host = server
    elif is_loopback(host) and not is_loopback(server):
        return None  # the loopback of another host
    return (host, int(port)) if port.isdecimal() else None


def _connects(host: str, port: int, within_s: float) -> bool:
    try:
        socket.create_connection((host, port), timeout=within_s).close()
    except (OSError, OverflowError):
        return False
    return True


def _addresses(host: str) -> frozenset[str]:
    """What a host means: itself where it is an address, else what the resolver says of it."""
    try:
        return frozenset({str(ipaddress.ip_address(host))})
    except ValueError:
        return frozenset() if host == "*" else _resolved(host, int(time.monotonic() / _KEPT_S))


@lru_cache(maxsize=64)
def _resolved(host: str, _period: int) -> frozenset[str]:
    try:
        answers = within(
            _RESOLVE_S, lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        )
    except (OSError, UnicodeError):  # among them TimeoutError
        return frozenset()
    return frozenset(str(address[0]) for *_, address in answers)
