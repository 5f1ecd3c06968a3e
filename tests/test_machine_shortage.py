"""Whose trouble an error of connecting is."""

from __future__ import annotations

import errno
import socket

import pytest

from chaosbandit.machine_shortage import is_shortage
from tests.without_descriptors import starved

FULL = "[Errno 24] Too many open files"
REFUSED = "[Errno 111] Connect call failed ('::1', 80, 0, 0)"
NO_PORT = "[Errno 99] Cannot assign requested address"


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (OSError(errno.EMFILE, "Too many open files"), True),
        (OSError(errno.ENFILE, "Too many open files in system"), True),
        (OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"), True),
        (OSError(errno.ENOBUFS, "No buffer space available"), True),
        (OSError(f"Multiple exceptions: {REFUSED}, {NO_PORT}"), errno.EADDRNOTAVAIL == 99),
        (OSError(f"Multiple exceptions: {FULL}, {REFUSED}"), True),
        (socket.gaierror(socket.EAI_SYSTEM, "System error"), True),
        (socket.gaierror(socket.EAI_MEMORY, "Memory allocation failure"), True),
        (OSError(errno.ECONNREFUSED, "Connection refused"), False),
        (OSError(errno.EHOSTUNREACH, "No route to host"), False),
        (OSError(f"Multiple exceptions: {REFUSED}, [Errno 113] Connect call failed"), False),
        (OSError("what has no number"), False),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), False),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), False),
    ],
)
def test_a_shortage_is_ours_and_a_refusal_is_not(error: OSError, ours: bool) -> None:
    assert is_shortage(error) == ours


def test_a_look_up_without_a_descriptor_is_ours_however_it_is_told() -> None:
    """It cannot read its files, and says that the name is unknown or that it should try again."""
    code = (
        "import socket\n"
        "from chaosbandit.machine_shortage import is_shortage\n"
        "errors = [socket.gaierror(each, '') for each in (socket.EAI_NONAME, socket.EAI_AGAIN)]\n"
        "before = [is_shortage(error) for error in errors]\n"
        "use_up_descriptors()\n"
        "print(before, [is_shortage(error) for error in errors])\n"
    )
    assert starved(code).stdout == "[False, False] [True, True]\n"
