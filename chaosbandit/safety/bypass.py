"""The operator's own way around a proxy that cannot be repaired: a URL to POST to, or a command.

It is their last resort and may do anything, so it gets the facts and a deadline, never a shell.
What comes of it is told in a phrase, for it is called where nothing may be raised any more.
Standard library only, since the watchdog uses it.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress

from chaosbandit.faults.fault import Fault
from chaosbandit.toxiproxy.calls import status_of

_TAKE_BACK = "take it back when the proxy is well again"


def run_bypass(fault: Fault, why: str, within_s: float) -> str:
    """Use the bypass of `fault` once; what came of it, as a clause."""
    bypass, facts = fault.bypass, _facts(fault, why)
    try:
        if bypass is None:
            return "no bypass is configured"
        if isinstance(bypass, str):
            return _posted(bypass, facts, within_s)
        return _executed(bypass, facts, within_s)
    except Exception as error:  # the caller still has commands to print and a code to exit with
        shown = bypass if isinstance(bypass, str) else shlex.join(bypass or ())
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        return f"the bypass `{shown}` failed: {reason}"


def _facts(fault: Fault, why: str) -> dict[str, str]:
    return {
        "fault": fault.name,
        "proxy": fault.proxy,
        "listen": fault.listen,
        "upstream": fault.upstream,
        "server": fault.server,
        "why": why,
    }


def _posted(url: str, facts: Mapping[str, str], within_s: float) -> str:
    status = status_of("POST", url, within_s, dict(facts))
    if 200 <= status < 300:
        return f"the bypass POST {url} was answered with {status}: {_TAKE_BACK}"
    return f"the bypass POST {url} failed: it was answered with {status}, wanted 2xx"


def _executed(command: tuple[str, ...], facts: Mapping[str, str], within_s: float) -> str:
    shown = shlex.join(command)
    environment = {f"CHAOSBANDIT_{name.upper()}": value for name, value in facts.items()}
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C at our terminal is not meant for it
    )
    try:
        status = process.wait(within_s)
    except subprocess.TimeoutExpired:
        _end_all_of(process)
        return f"the bypass `{shown}` failed: killed, since it did not end within {within_s:g} s"
    if status != 0:
        return f"the bypass `{shown}` failed: it ended with status {status}, wanted 0"
    return f"the bypass `{shown}` ended with status 0: {_TAKE_BACK}"


def _end_all_of(process: subprocess.Popen[bytes]) -> None:
    """Kill the command and what it has started, which shares its session."""
    with suppress(ProcessLookupError):  # it ended this instant
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
