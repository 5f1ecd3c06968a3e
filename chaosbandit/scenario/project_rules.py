"""The project's rules: what runs may touch unasked, what never, and where people freeze them.

They stand in `chaosbandit.toml` and in two files outside of the repository, and add up. This
module reads and matches; it resolves no names: the addresses of a host are arguments.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from chaosbandit.errors import Problem, ScenarioError
from chaosbandit.scenario.addresses import freeze
from chaosbandit.scenario.host_patterns import (
    Pattern,
    led_to,
    pattern,
    read_addresses,
    spellings,
    unmapped,
)
from chaosbandit.scenario.quantities import WantedError, did_you_mean
from chaosbandit.scenario.tree import printable

FILE_NAME = "chaosbandit.toml"
MACHINE = Path("/etc/chaosbandit/rules.toml")
KEYS = ("allow", "protect", "freeze")
LARGEST = 256 * 1024  # bytes
MOST_PROBLEMS = 100  # of one file

_TO_READ = "a readable file of at most 256 kB: what cannot be read might protect something"
_TOML_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)

_Entry = TypeVar("_Entry")


@dataclass(frozen=True, slots=True)
class FreezePlace:
    """One entry of `freeze`: the absolute path of a file, or a URL."""

    text: str
    file: Path


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules in force, each knowing its file; without any, only loopback is allowed."""

    files: tuple[Path, ...] = ()
    allow: tuple[Pattern, ...] = ()
    protect: tuple[Pattern, ...] = ()
    freeze: tuple[FreezePlace, ...] = ()

    def protecting(
        self, host: str, port: int | None, addresses: Iterable[str], aliases: Iterable[str] = ()
    ) -> tuple[Pattern, str] | None:
        """The rule that forbids a host, and the name or address of it which the rule means.

        One of its names or addresses is enough; where the port is not known, any port counts.
        """
        names = [name for each in (host, *aliases) for name in spellings(each)]
        found = list(dict.fromkeys(led_to(read_addresses(host, addresses))))
        for rule in self.protect:
            if port is not None and rule.port not in (None, port):
                continue
            meant = [name for name in names if rule.names(name)]
            meant += [str(address) for address in found if rule.holds(address)]
            if meant:
                return rule, meant[0]
        return None

    def allows(self, host: str, port: int | None, addresses: Iterable[str]) -> bool:
        """Whether a host needs no `--yes`: its name is allowed, or each of its addresses is.

        Loopback always is. A host without an address leads nowhere, which harms nobody.
        """
        rules = [rule for rule in self.allow if rule.port in (None, port)]
        if all(any(rule.names(name) for rule in rules) for name in spellings(host)):
            return True
        return all(
            address.is_loopback or any(rule.holds(address) for rule in rules)
            for address in map(unmapped, read_addresses(host, addresses))
        )


def rules_for(
    scenario_path: Path | None, environ: Mapping[str, str], machine: Path = MACHINE
) -> Rules:
    """The rules of the machine, of the user and of the project a scenario file belongs to.

    Raises:
        ScenarioError: a file cannot be read or understood; that never means that it has no rules.
    """
    files = [_File(path) for path in _paths(scenario_path, environ, machine)]
    parts = [file.rules() for file in files]
    problems = [problem for file in files for problem in file.in_order()]
    if problems:
        raise ScenarioError(problems)
    return Rules(
        tuple(file.path for file in files),
        tuple(entry for part in parts for entry in part.allow),
        tuple(entry for part in parts for entry in part.protect),
        tuple(entry for part in parts for entry in part.freeze),
    )


@dataclass(slots=True)
class _File:
    """One rules file and all that is wrong with it."""

    path: Path
    source: str = ""
    problems: list[Problem] = field(default_factory=list)

    def rules(self) -> Rules:
        """Its entries; what is wrong with it goes to `problems`."""
        data = self._data()
        for key in (key for key in data if key not in KEYS):
            wanted = f"one of {', '.join(KEYS)}{did_you_mean(key, KEYS)}"
            self._refuse(key, f"`{printable(key)}`", wanted, key)
        return Rules(
            allow=self._entries(data, "allow", lambda value: pattern(value, self.path)),
            protect=self._entries(data, "protect", lambda value: pattern(value, self.path)),
            freeze=self._entries(
                data, "freeze", lambda value: FreezePlace(freeze(value), self.path)
            ),
        )

    def in_order(self) -> list[Problem]:
        """What is wrong with it, from top to bottom."""
        return sorted(self.problems, key=lambda problem: (problem.line, problem.column))

    def _entries(
        self, data: dict[str, Any], key: str, read: Callable[[object], _Entry]
    ) -> tuple[_Entry, ...]:
        values = data.get(key, [])
        if not isinstance(values, list):
            self._refuse(key, _shown(values), "a list, such as [...]", key)
            return ()
        entries = []
        for number, value in enumerate(values):
            try:
                entries.append(read(value))
            except WantedError as error:
                self._refuse(f"{key}[{number}]", _shown(value), str(error), key, value)
        return tuple(entries)

    def _data(self) -> dict[str, Any]:
        try:
            raw = _bytes(self.path).removeprefix(b"\xef\xbb\xbf")
            self.source = raw.decode()
            return tomllib.loads(self.source)
        except OSError as error:
            self._problem("rules", f"no readable file ({error.strerror or error})", _TO_READ)
        except UnicodeDecodeError as error:
            before = raw[: error.start].decode()
            found = f"the byte 0x{raw[error.start]:02x}"
            self._problem("rules", found, "UTF-8 text", *_place(before, len(before)))
        except (ValueError, RecursionError) as error:  # tomllib's own is a ValueError
            self._problem("rules", *_no_toml(str(error), self.source))
        return {}

    def _refuse(self, key: str, found: str, wanted: str, top: str, entry: object = None) -> None:
        """A problem at an entry where it is found in the text, else at its key, else at the top."""
        if len(self.problems) >= MOST_PROBLEMS:
            return
        word = re.escape(top)
        header = re.search(
            rf"^[ \t]*(?:\[+[ \t]*)?([\"']?{word}[\"']?)[ \t]*[=.\]]", self.source, re.M
        )
        at = header.start(1) if header else 0
        quoted = re.search(rf"([\"']){re.escape(str(entry))}\1", self.source[at:])
        if header and isinstance(entry, str) and quoted:
            at += quoted.start()
        self._problem(key, found, wanted, *_place(self.source, at))

    def _problem(self, key: str, found: str, wanted: str, line: int = 1, column: int = 1) -> None:
        self.problems.append(Problem(str(self.path), line, column, key, found, wanted))


def _paths(scenario_path: Path | None, environ: Mapping[str, str], machine: Path) -> list[Path]:
    """The rules files there are; a project is looked for beside a link and beside its target."""
    config = environ.get("XDG_CONFIG_HOME", "")
    if not Path(config).is_absolute():
        config = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111, never raises
        config += "/.config"
    found = [machine, Path(config) / "chaosbandit" / "rules.toml"]
    if scenario_path is not None:
        beside = [scenario_path.parent, Path(os.path.realpath(scenario_path)).parent]
        beside += [] if scenario_path.is_file() else [Path.cwd()]  # a pipe is in no project
        found += [path for folder in beside for path in _nearest(folder)]
    present: dict[str, Path] = {}
    for path in filter(_is_there, found):
        present.setdefault(os.path.realpath(path), path)
    return list(present.values())


def _nearest(folder: Path) -> list[Path]:
    folder = Path(os.path.realpath(folder))
    for each in (folder, *folder.parents):
        if _is_there(each / FILE_NAME):
            return [each / FILE_NAME]
        if _is_there(each / ".git"):
            break
    return []


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # reading it will say why it cannot be had
    return True


def _bytes(path: Path) -> bytes:
    if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its writer
        raise OSError("it is no file")
    with path.open("rb") as file:
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise OSError("it is too large")
    return raw


def _no_toml(message: str, source: str) -> tuple[str, str, int, int]:
    """Found, wanted, line and column of what tomllib says; it gives places in its sentence only."""
    place = _TOML_PLACE.fullmatch(message)
    said = place[1] if place else message
    line, column = _place(source, len(source) if place else 0)
    if place and place[2]:
        line, column = int(place[2]), int(place[3])
    return f"no TOML ({printable(said)})", f"TOML with the keys {', '.join(KEYS)}", line, column


def _place(source: str, at: int) -> tuple[int, int]:
    return source.count("\n", 0, at) + 1, at - source.rfind("\n", 0, at)


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    return printable(str(value)) or "an empty text"
