"""This machine: versions, the folders a run writes to, open files, and whether a watchdog starts.

It touches no server. In the folders it writes one file of its own and removes it at once.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path

from chaosbandit._version import __version__
from chaosbandit.core.scenario import EMBEDDED
from chaosbandit.deadline_thread import awaited_within
from chaosbandit.doctor import open_files
from chaosbandit.doctor.findings import Finding, fail, note, ok, warn
from chaosbandit.doctor.machine_load import eased, is_busy
from chaosbandit.doctor.what_to_examine import Subject
from chaosbandit.errors import HarnessError
from chaosbandit.report.numbers_in_words import duration
from chaosbandit.safety.durable_files import remove_durably, write_durably
from chaosbandit.safety.guard import TTL_S
from chaosbandit.safety.owned_files import make_private
from chaosbandit.safety.watchdog_link import WatchdogLink

SLOW_DISK_S = 0.050
LEAST_FREE_BYTES = 100_000_000
DISK_S = 4.0
LOOK_S = 2.0  # longest for seeing whether the machine is busy
WATCHDOG_START_S = 5.0
WATCHDOG_ACK_S = 2.0
_PLACE = "make it writable for this user, or name another place in XDG_STATE_HOME"
_SHOWN = ("aiohttp", "httpx", "numpy", "scipy", "toxiproxy-python")


async def findings(subject: Subject) -> list[Finding]:
    """All that is to say of this machine."""
    traffic = subject.scenario.traffic if subject.scenario is not None else None
    found = await asyncio.gather(
        awaited_within(DISK_S, versions),
        _on_disk("ledger", subject.ledger.directory, partial(private_folder, "ledger")),
        _on_disk("journals", subject.journals, partial(folder, "journals")),
        awaited_within(WATCHDOG_START_S + WATCHDOG_ACK_S + 1.0, watchdog),
    )
    packages, ledger, journals, watched = found
    files = open_files.findings(traffic, embedded=EMBEDDED in subject.servers)
    return [packages, ledger, journals, *files, watched]


def versions() -> Finding:
    """The interpreter and the packages that measure and decide."""
    shown = [f"Python {platform.python_version()}", f"chaosbandit {__version__}"]
    missing = []
    for name in _needed():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
        else:
            shown += [f"{name} {version}"] if name in _SHOWN else []
    if missing:
        return fail(
            "versions",
            f"not installed: {', '.join(missing)}",
            "everything chaosbandit depends on",
            "install it anew: `pip install --force-reinstall chaosbandit`",
        )
    return ok("versions", ", ".join(shown))


def folder(check: str, directory: Path) -> Finding:
    """Whether a folder, or the one it will be made in, takes files, and how soon they are safe."""
    place = next(path for path in (directory, *directory.parents) if path.exists())
    probe = place.resolve() / f".doctor-{os.getpid()}-{check}"
    try:
        times_s = []
        for _ in range(3):
            began_s = time.perf_counter()
            write_durably(probe, "written by `chaosbandit doctor` to see whether it can be\n")
            times_s.append(time.perf_counter() - began_s)
        remove_durably(probe)
        free_bytes = shutil.disk_usage(place).free
    except OSError as error:
        why = error.strerror or str(error)
        return fail(check, f"{directory} cannot be written: {why}", "a folder to write to", _PLACE)
    took_s = statistics.median(times_s)
    found = f"{directory}{'' if place == directory else ' (will be made)'}"
    if free_bytes < LEAST_FREE_BYTES:
        free = f"{free_bytes / 1e6:.0f} MB free"
        return warn(check, f"{found}: {free}", "at least 100 MB", "free some space")
    if took_s > SLOW_DISK_S:
        return warn(
            check,
            f"{found}: a file is safely on disk after {duration(took_s)}",
            f"{duration(SLOW_DISK_S)} or less: every exposure waits for it",
            "put XDG_STATE_HOME on a faster disk",
        )
    free = f"{free_bytes / 1e9:,.1f} GB free"
    return ok(check, f"{found}: a file is safely on disk after {duration(took_s)}, {free}")


def private_folder(check: str, directory: Path) -> Finding:
    """The same of a folder in which nobody else may write, since what is in it is obeyed."""
    if directory.exists():  # so that nothing is made by this
        try:
            make_private(directory)
        except OSError as error:
            found, _, do = str(error).partition(": ")
            return fail(check, found, "a folder that only this user writes to", do or _PLACE)
    return folder(check, directory)


def watchdog(start_s: float = WATCHDOG_START_S) -> Finding:
    """Start a watchdog, have it acknowledge something that changes nothing, and let it leave."""
    with tempfile.TemporaryDirectory(prefix="chaosbandit-doctor-") as scratch:
        began_s = time.perf_counter()
        try:
            watch = WatchdogLink(Path(scratch) / "log", TTL_S, start_s, WATCHDOG_ACK_S)
            try:
                ready_s = time.perf_counter() - began_s
                watch.disarm("nothing")  # is not armed: it only has to answer
                acknowledged_s = time.perf_counter() - began_s - ready_s
            finally:
                watch.close(WATCHDOG_ACK_S)
        except HarnessError as error:
            found = fail(
                "watchdog",
                str(error).partition("; ")[0],
                "a watchdog: nothing is injected without it",
                "look for what keeps this user from starting processes (limits, sandbox, memory)",
            )
            late = isinstance(error.__cause__, TimeoutError)
            return eased(found) if late and is_busy() else found
        said = f"ready after {duration(ready_s)}, acknowledges in {duration(acknowledged_s)}"
        if _runs(watch.pid):
            do = f"see why process {watch.pid} does not end; it guards nothing and may be killed"
            return note("watchdog", f"{said}, but does not leave", "it to leave when let go", do)
        return ok("watchdog", said)


async def _on_disk(check: str, directory: Path, look: Callable[[Path], Finding]) -> Finding:
    try:
        return await awaited_within(DISK_S, lambda: look(directory))
    except TimeoutError:
        do = "see what keeps that file system busy, or name another place in XDG_STATE_HOME"
        found = fail(check, f"{directory} gave no answer within {DISK_S:g} s", "a disk", do)
        return eased(found) if await awaited_within(LOOK_S, is_busy) else found


def _needed() -> list[str]:
    try:
        lines = metadata.requires("chaosbandit") or []
    except metadata.PackageNotFoundError:
        return list(_SHOWN)  # run from a folder, without having been installed
    return [re.split(r"[^A-Za-z0-9._-]", line)[0] for line in lines if "extra ==" not in line]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
