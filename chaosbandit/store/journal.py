"""The journal: append-only JSON Lines of a run's events, the only truth about it.

Every event is one line, written before the engine acts on it. This module knows files; what events
mean is `core.campaign`'s business. What `${VARIABLES}` held (names, addresses, secrets in a reason)
is written as `${NAME}`.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.events import Event, ExposureStarted, Stopped
from chaosbandit.errors import HarnessError, UsageError
from chaosbandit.hidden_values import masked_json
from chaosbandit.store.event_line import NotJsonError, event_of, line_of, prepare

_MUST_SURVIVE = (ExposureStarted, Stopped)  # on disk, not just on its way, before we go on
_log = logging.getLogger(__name__)


def default_folder(environ: Mapping[str, str]) -> Path:
    """`runs` in `$XDG_STATE_HOME/chaosbandit`, or in `~/.local/state/chaosbandit`."""
    state = environ.get("XDG_STATE_HOME", "")
    base = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    return base / "chaosbandit" / "runs"


def file_name(name: str, run: str, epoch_s: float) -> str:
    """`20260131T120000Z-<name>-<run>.jsonl`, so that a folder sorts by time."""
    time = datetime.fromtimestamp(epoch_s, UTC).strftime("%Y%m%dT%H%M%SZ")
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:80] or "run"
    return f"{time}-{plain}-{run}.jsonl"


class Journal:
    """Sink that writes each event down as it happens; a half-written line is taken back.

    Raises:
        HarnessError: the file cannot be created, or (from `accept`) written: what cannot be
            recorded must not be injected.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = 0
        prepare()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._file: int | None = os.open(path, flags, 0o600)
            _sync_folder(path.parent)
        except OSError as error:
            raise _unwritable(path, error) from error

    def accept(self, event: Event, campaign: Campaign) -> None:
        """Append one event; an exposure's start and the end of the run are forced to the disk."""
        assert self._file is not None, "the journal is closed after the last event"
        line = masked_json(line_of(event).decode()).encode()
        try:
            if os.fstat(self._file).st_nlink == 0:
                raise FileNotFoundError("it was deleted during the run")
            self._append(line)
            if isinstance(event, _MUST_SURVIVE):
                os.fsync(self._file)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def close(self) -> None:
        """Release the file; closing twice is harmless."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _append(self, line: bytes) -> None:
        assert self._file is not None
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            os.ftruncate(self._file, self._size)  # later lines must not grow on half a line
            raise
        self._size += len(line)


def read(path: Path, warn: Callable[[str], None] = _log.warning) -> list[Event]:
    """All events of a journal; a torn last line (the run was killed) is only told to `warn`.

    Raises:
        UsageError: no such file, another format version, or a line that is no event.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UsageError(f"cannot read the journal {path}: {error.strerror or error}") from error
    events: list[Event] = []
    for number, line in enumerate(lines, start=1):
        if not line and number == len(lines):
            break
        try:
            events.append(event_of(line, f"{path}:{number}"))
        except NotJsonError as error:
            if any(lines[number:]):
                raise UsageError(
                    f"{path}:{number}: found a line that is not JSON, wanted an event; "
                    "the journal was changed after it was written"
                ) from error
            warn(f"{path}:{number}: the last line is torn ({len(line)} bytes) and was left out")
            break
    return events


def _sync_folder(folder: Path) -> None:
    """Make the new file's name survive a crash, not only its content."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unwritable(path: Path, error: OSError) -> HarnessError:
    return HarnessError(
        f"cannot write the journal {path}: {error.strerror or error}. Nothing is injected that "
        "cannot be recorded: free some space, or name another folder for journals"
    )
