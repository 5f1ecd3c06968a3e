"""The fault ledger: one small file a fault, on disk before the fault exists and until it is gone.

Any process may read it after a crash, so a damaged file is reported and never in the way. It knows
nothing of servers; a lock file a run tells whether that run is still alive. What `${VARIABLES}`
held stands here, for this user alone: undoing needs real addresses. Beside it stand the variables'
names, so that whoever reads a fault does not show it. Standard library only, since the watchdog
reads faults as they are written here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from chaosbandit.faults.fault import Bypass, Fault, Toxic
from chaosbandit.faults.names import owner
from chaosbandit.hidden_values import hide, variables_in
from chaosbandit.safety.durable_files import remove_durably, write_durably
from chaosbandit.safety.lock_files import is_locked
from chaosbandit.safety.owned_files import is_private, make_private, read_ours

_VERSION = 2
_FOUND = 60  # characters of what is wrong in a file
_FORMER = (
    "it is of chaosbandit 0.1.0: run `chaosbandit clean` of that version, or see that the server "
    "shows no proxy whose name begins with `cb.` or `cb-`, and delete the file"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One fault that was written down and not struck out.

    Only a trusted one was surely written by this user: others have neither `bypass` nor `check`.
    """

    fault: Fault
    trusted: bool = True


@dataclass(frozen=True, slots=True)
class Damaged:
    """A ledger file that cannot be read; its name may still tell which fault it was."""

    path: Path
    why: str


@dataclass(frozen=True, slots=True)
class Entries:
    """All that the ledger holds."""

    entries: tuple[Entry, ...] = ()
    damaged: tuple[Damaged, ...] = field(default=())


def state_directory(environ: Mapping[str, str]) -> Path:
    """`chaosbandit` in `$XDG_STATE_HOME`, or in `~/.local/state`."""
    state = environ.get("XDG_STATE_HOME", "")
    base = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return base / "chaosbandit"


def default_directory() -> Path:
    """Where the ledger of this user lives."""
    return state_directory(os.environ) / "faults"


class FaultLedger:
    """The faults written down in `directory` (default: `default_directory()`)."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = (directory or default_directory()).resolve()

    def path(self, name: str) -> Path:
        """The file of the fault `name`.

        Raises:
            ValueError: the name is not one of ours.
        """
        if owner(name) is None:
            raise ValueError(f"found {name!r} as a fault's name, wanted cb.<run>.<expiry>.<n>")
        return self.directory / f"{name}.json"

    def lock_path(self, run: str) -> Path:
        """The file that a living run keeps locked."""
        return self.directory / f"run-{run}.lock"

    def prepare(self) -> None:
        """Make the directory, for this user alone.

        Raises:
            OSError: it cannot be made, or others could write there.
        """
        make_private(self.directory)

    def record(self, fault: Fault) -> Path:
        """Write a fault down; when this returns it survives a crash of the host."""
        path = self.path(fault.name)
        self.prepare()
        content = {"version": _VERSION, "fault": fault_to_json(fault)}
        write_durably(path, json.dumps(content, indent=1) + "\n")
        return path

    def strike(self, name: str) -> None:
        """Strike a fault out that was verified gone; one that is not there is struck already."""
        remove_durably(self.path(name))

    def entries(self) -> Entries:
        """Every fault still written down, and every file that cannot be read."""
        entries: list[Entry] = []
        damaged: list[Damaged] = []
        private = is_private(self.directory)
        for path in sorted(self.directory.glob("cb[.-]*.json")):
            try:
                entries.append(_read(path, private))
            except FileNotFoundError:
                continue  # struck out by its owner between listing and reading
            except (OSError, ValueError, RecursionError) as error:
                damaged.append(Damaged(path, getattr(error, "strerror", None) or str(error)))
        return Entries(tuple(entries), tuple(damaged))

    def is_alive(self, run: str) -> bool:
        """Whether a process on this host holds the lock of `run`; the kernel drops it at death."""
        try:
            return is_locked(self.lock_path(run))
        except FileNotFoundError:
            return False


def fault_to_json(fault: Fault) -> dict[str, Any]:
    """A fault as plain JSON values."""
    content = asdict(fault)
    content["toxics"] = [asdict(toxic) for toxic in fault.toxics]
    if isinstance(fault.bypass, tuple):
        content["bypass"] = list(fault.bypass)
    if variables := variables_in("\n".join(_texts(fault))):
        content["variables"] = variables
    return content


def hide_of(content: Mapping[str, Any]) -> None:
    """Hide what variables held in a fault that `fault_to_json` wrote."""
    found = content.get("variables")
    for name, value in found.items() if isinstance(found, dict) else ():
        if isinstance(value, str) and re.fullmatch(r"\w{1,100}", name):
            hide(f"${{{name}}}", value, {name: value})


def fault_from_json(content: object) -> Fault:
    """The fault that `fault_to_json` wrote.

    Raises:
        ValueError: it says which field is missing or of the wrong kind.
    """
    fields = _object(content, "fault")
    texts = ("run", "server", "name", "proxy", "listen", "upstream")
    return Fault(
        **{name: _field(fields, name, str) for name in texts},
        expires_epoch_s=_field(fields, "expires_epoch_s", int),
        toxics=tuple(_toxic(_object(toxic, "toxic")) for toxic in _field(fields, "toxics", list)),
        owned=fields.get("owned") is True,
        check=_field({"check": None, **fields}, "check", str, type(None)),
        bypass=_bypass({"bypass": None, **fields}),
        dies_with_run=fields.get("dies_with_run") is True,
    )


def _texts(fault: Fault) -> tuple[str, ...]:
    """What of a fault a scenario's variables may have filled in."""
    words = (fault.bypass,) if isinstance(fault.bypass, str) else fault.bypass or ()
    return (fault.server, fault.proxy, fault.listen, fault.upstream, fault.check or "", *words)


def _bypass(fields: Mapping[str, Any]) -> Bypass | None:
    value = _field(fields, "bypass", str, list, type(None))
    if isinstance(value, list):
        return tuple(_field({"bypass": word}, "bypass", str) for word in value)
    return None if value is None else str(value)


def _toxic(fields: Mapping[str, Any]) -> Toxic:
    attributes = _object(fields.get("attributes"), "attributes")
    return Toxic(
        type=_field(fields, "type", str),
        attributes={name: _field(attributes, name, int) for name in attributes},
        stream=_field(fields, "stream", str),
        toxicity=float(_field(fields, "toxicity", int, float)),
        name=_field(fields, "name", str),
    )


def _read(path: Path, private: bool) -> Entry:
    text, ours = read_ours(path)
    content = _object(json.loads(text), "file")
    if content.get("version") == 1:
        raise ValueError(_FORMER)
    if content.get("version") != _VERSION:
        raise ValueError(f"found version {_shown(content.get('version'))}, wanted {_VERSION}")
    fault = fault_from_json(content.get("fault"))
    if f"{fault.name}.json" != path.name:
        raise ValueError(f"found fault {_shown(fault.name)}, wanted the one in the file's name")
    for name in _deleted(fault):
        if owner(name) != fault.run:
            raise ValueError(f"found {_shown(name)}, wanted only names of run {_shown(fault.run)}")
    if private and ours:
        hide_of(content["fault"])
        return Entry(fault)
    return Entry(replace(fault, bypass=None, check=None), trusted=False)


def _deleted(fault: Fault) -> list[str]:
    """All that may be deleted when this fault is undone: whoever wrote it may have wanted more."""
    return [fault.name, *fault.toxic_names, *([fault.proxy] if fault.owned else [])]


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what}: found {type(value).__name__}, wanted an object")
    return value


def _field(fields: Mapping[str, Any], name: str, *kinds: type) -> Any:
    value = fields.get(name, ...)
    if isinstance(value, bool) or not isinstance(value, kinds):
        found = "nothing" if value is ... else _shown(value)
        raise ValueError(f"{name}: found {found}, wanted {kinds[0].__name__}")
    return value


def _shown(value: object) -> str:
    return repr(value)[:_FOUND]
