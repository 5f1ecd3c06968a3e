"""Which `Host` a server on a loopback address answers to, against DNS rebinding.

A page in a browser can have its own name resolve to 127.0.0.1; its requests still carry that name.
Pure text: knows nothing of sockets.
"""

from __future__ import annotations

import ipaddress


def is_loopback(address: str) -> bool:
    """Return whether an address is one that only this machine reaches."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def is_of_this_machine(host: str, own_name: str) -> bool:
    """Return whether a `Host`, with or without port, names a loopback address or `own_name`."""
    name, bracket, _ = host.removeprefix("[").partition("]")
    if not bracket:
        name = host.partition(":")[0]
    name = name.lower().removesuffix(".")
    return (
        name in ("localhost", own_name.lower()) or name.endswith(".localhost") or is_loopback(name)
    )


def refusal(host: str) -> str:
    """Return the sentence for a `Host` that is refused."""
    return (
        f"Host {host!r} not allowed: listening on a loopback address, this server answers to "
        "localhost, 127.0.0.1 and [::1]; call it so, or start it with -host and that name\n"
    )
