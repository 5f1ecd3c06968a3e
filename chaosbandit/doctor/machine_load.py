"""Whether this machine is busy just now: then slowness says little about what it could do.

A check that fails by being too slow is eased to a warning while it is so.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from chaosbandit.doctor.findings import Finding, Level

LOOK_S = 0.2
BUSY = 0.4  # of what all processors could do
_STAT = Path("/proc/stat")
_IDLE = 3  # the fourth number; waiting for a disk is the fifth, and counts as busy
_DO = "repeat it when less else runs here: slow and busy cannot be told apart now"


def is_busy() -> bool:
    """Watch the processors for a moment; blocks for `LOOK_S`."""
    if os.getloadavg()[0] > (os.cpu_count() or 1):  # it was, within the last minute
        return True
    before = _ticks()
    if not before:
        return False
    time.sleep(LOOK_S)
    passed = [after - former for after, former in zip(_ticks(), before, strict=True)]
    return sum(passed) > 0 and 1 - passed[_IDLE] / sum(passed) > BUSY


def eased(finding: Finding) -> Finding:
    """The same as a warning that says why it is no more than that."""
    found = f"{finding.found}, while this machine is busy"
    return replace(finding, level=Level.WARN, found=found, do=_DO)


def _ticks() -> list[int]:
    """What the processors did since the start, by kind; nothing where Linux does not say so."""
    try:
        first = _STAT.read_text().split("\n", 1)[0].split()
    except OSError:
        return []
    return [int(number) for number in first[1:9]]  # guests' time is in the first ones already
