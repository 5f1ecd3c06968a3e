"""How many connections a listening address of this host has, as the kernel tells; Linux only.

Counted before a proxy is closed, so users wait for it: the kernel is asked for this one port, which
takes a millisecond. Its tables, which list every socket of the host, take 20 with some thousands.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from chaosbandit.faults.addresses import host_of, is_loopback, parts

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = 1
_WITHIN_S = 0.1
_SOCK_DIAG, _BY_FAMILY, _DUMP = 4, 20, 0x301  # linux/netlink.h, linux/sock_diag.h
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, sender
_REQUEST = struct.Struct("=BBBxI")  # inet_diag_req_v2: family, protocol, extensions, states
_ID = struct.Struct("!HH44x")  # inet_diag_sockid: source port first
_SOURCE_PORT_AT = _HEADER.size + 4  # inet_diag_msg: after family, state, timer, retransmissions


def connections_to(listen: str, server_url: str) -> int | None:
    """Established connections accepted at `listen`; None where that cannot be seen from here."""
    port = parts(listen)[1]
    if not (port.isdecimal() and is_loopback(host_of(server_url))):
        return None
    try:
        return sum(_asked(family, int(port)) for family in (socket.AF_INET, socket.AF_INET6))
    except (OSError, AttributeError, struct.error):  # a kernel, or a sandbox, without it
        return _listed(int(port))


def _asked(family: int, port: int) -> int:
    """What the kernel answers for one port."""
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 1 << _ESTABLISHED) + _ID.pack(port, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.settimeout(_WITHIN_S)
        kernel.send(_HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _DUMP, 1, 0) + body)
        count = 0
        while True:
            data, at = kernel.recv(1 << 16), 0
            while at < len(data):
                length, kind, *_ = _HEADER.unpack_from(data, at)
                if kind == _DONE:
                    return count
                if kind == _ERROR or length < _HEADER.size:
                    raise OSError("the kernel does not tell")
                count += struct.unpack_from("!H", data, at + _SOURCE_PORT_AT)[0] == port
                at += (length + 3) & ~3


def _listed(port: int) -> int | None:
    """The same from the tables of all sockets."""
    try:
        found = [_accepted(table, port) for table in _TABLES if table.exists()]
        return sum(found) if found else None
    except (OSError, ValueError, IndexError):
        return None


def _accepted(table: Path, port: int) -> int:
    wanted = f":{port:04X}"
    rows = (row.split() for row in table.read_text().splitlines()[1:])
    return sum(row[1].endswith(wanted) and int(row[3], 16) == _ESTABLISHED for row in rows)
