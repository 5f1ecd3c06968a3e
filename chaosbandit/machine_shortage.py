"""Errors of connecting that tell of a shortage on this machine: nothing the target did.

Knows nothing of who was connecting to what.
"""

from __future__ import annotations

import errno
import os
import re
import socket

_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
_RESOLVER = frozenset({socket.EAI_SYSTEM, socket.EAI_MEMORY})  # numbers of their own
_ERRNO = re.compile(r"\[Errno (\d+)\]")


def is_shortage(error: OSError) -> bool:
    """Whether descriptors, buffers or local ports ran out, for any of a host's addresses.

    One refusal beside it says little: localhost is two addresses, and many listen on one of them.
    """
    if isinstance(error, socket.gaierror):
        return error.errno in _RESOLVER or _no_descriptor_left()
    if error.errno is not None:
        return error.errno in _ERRNOS
    # Where several addresses failed differently, asyncio and aiohappyeyeballs keep the text alone.
    return any(int(number) in _ERRNOS for number in _ERRNO.findall(str(error)))


def _no_descriptor_left() -> bool:
    """Asked where a name look-up failed: that one cannot read its files it tells in many ways."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in _ERRNOS
    return False
