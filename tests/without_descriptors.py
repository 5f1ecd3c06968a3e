"""Code run in a process of its own that has no file descriptor left."""

from __future__ import annotations

import subprocess
import sys

_HEAD = """\
import asyncio, os, resource, sys

def use_up_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    try:
        while True:
            os.open(os.devnull, os.O_RDONLY)
    except OSError:
        pass

"""


def starved(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code that calls `use_up_descriptors()` once it has what it needs itself."""
    command = [sys.executable, "-c", _HEAD + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
