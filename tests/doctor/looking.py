"""Subjects to examine, servers' showings, and looks at findings, for the tests of `doctor`."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from chaosbandit.cli.app import app
from chaosbandit.cli.doctor import doctor
from chaosbandit.core.scenario import Scenario
from chaosbandit.doctor.findings import Finding
from chaosbandit.doctor.http_request import Answer
from chaosbandit.doctor.server_answer import ServerAnswer
from chaosbandit.doctor.what_to_examine import Subject
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.toxiproxy.calls import Reply
from chaosbandit.toxiproxy.listing import Listing
from chaosbandit.toxiproxy.wire_format import ProxyRecord

URL = "http://127.0.0.1:8474"
_COMMAND = re.compile(r"`chaosbandit ([a-z]+)([^`]*)`")


def subject(folder: Path, scenario: Scenario | None = None, **changes: Any) -> Subject:
    """Something to examine whose ledger and journals are in `folder`."""
    given: dict[str, Any] = {
        "file": None,
        "servers": (),
        "ledger": FaultLedger(folder / "faults"),
        "journals": folder / "runs",
    }
    return Subject(scenario=scenario, **{**given, **changes})


def answer(ahead_s: float = 0.0) -> Answer:
    """An answer given just now by a server whose clock is `ahead_s` ahead."""
    now_s = time.time()
    return Answer(200, "", float(int(now_s + ahead_s)), now_s - 0.002, now_s)


def version(text: str = '{"version": "2.12.0"}') -> Reply:
    """What a server says of its version."""
    return Reply(200, text)


def shown(*records: ProxyRecord, url: str = URL, **changes: Any) -> ServerAnswer:
    """What a healthy server with these proxies shows."""
    given: dict[str, Any] = {
        "version": version(),
        "calls_s": (0.001,) * 5,
        "listing": Listing(url, {record.name: record for record in records}),
    }
    return ServerAnswer(url, **{**given, **changes})


def levels(findings: Iterable[Finding]) -> list[str]:
    """How bad each is; what to do about it must name things that exist."""
    found = list(findings)
    for finding in found:
        for text in (finding.do, finding.found):
            check_commands(text)
        if finding.level in ("warn", "fail"):
            assert finding.do, f"says nothing to do: {finding}"
    return [str(finding.level) for finding in found]


def one(findings: Iterable[Finding], check: str) -> Finding:
    """The one finding of a check."""
    (found,) = [finding for finding in findings if finding.check == check]
    levels([found])
    return found


def check_commands(text: str) -> None:
    """Every command of ours in backticks exists, with every option it is given."""
    known = typer.Typer()
    known.registered_commands = list(app.registered_commands)
    known.command("doctor")(doctor)
    commands = get_command(known).commands  # type: ignore[attr-defined]
    for name, rest in _COMMAND.findall(text):
        assert name in commands, f"there is no command {name}: {text}"
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options, text
