"""The text of a scenario file, whatever stands at its path: a file, a pipe, a device, a folder.

No more is read than a scenario may be long, and only a pipe is waited for. It knows no YAML.
"""

from __future__ import annotations

import os
import re
import select
from pathlib import Path
from time import monotonic

from chaosbandit.errors import Problem, ScenarioError

LARGEST = 256 * 1024  # bytes
UNOPENED_S = 0.3  # how long a pipe may wait to be opened by its writer
SILENT_S = 10.0  # and its writer may take, which decrypts the file for instance

_ENOUGH = LARGEST + 4  # to see that it is too long, whatever its last character
_LINE = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what ends one for YAML


def text_of(path: Path) -> str:
    """The UTF-8 text of a file; of one that is too long, as much as shows that.

    Raises:
        ScenarioError: it cannot be read, or is no UTF-8.
    """
    try:
        raw = _bytes_of(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise _refused(path, f"no readable file ({reason})", "a scenario file") from None
    if raw.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        raise _refused(path, "UTF-16 or UTF-32", "UTF-8 text")
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        if len(raw) > LARGEST:  # may be cut inside a character: the size is what is wrong
            return raw.decode(errors="replace")
        before = raw[: error.start].decode()
        found = f"the byte 0x{raw[error.start]:02x}"
        raise _refused(path, found, "UTF-8 text", line_and_column(before)) from None


def line_and_column(before: str) -> tuple[int, int]:
    """Where what follows this text stands, from 1, with lines as YAML counts them."""
    lines = _LINE.split(before)
    return len(lines), len(lines[-1]) + 1


def _bytes_of(path: Path) -> bytes:
    # O_NONBLOCK: opening a pipe that nobody writes into would never end.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        return _read(descriptor)
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> bytes:
    poll, end_s, raw = select.poll(), monotonic() + SILENT_S, b""
    poll.register(descriptor, select.POLLIN)
    while len(raw) < _ENOUGH:
        poll.poll(UNOPENED_S * 1000)
        try:
            piece = os.read(descriptor, _ENOUGH - len(raw))
        except BlockingIOError:  # somebody has it open and is silent
            piece = None
        if piece == b"":
            break
        raw += piece or b""
        if monotonic() > end_s:
            raise TimeoutError(0, f"it did not end within {SILENT_S:.0f} s")
    return raw


def _refused(path: Path, found: str, wanted: str, place: tuple[int, int] = (1, 1)) -> ScenarioError:
    return ScenarioError([Problem(str(path), *place, "scenario", found, wanted)])
