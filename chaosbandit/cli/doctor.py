"""`doctor`: what a run would need, looked at beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chaosbandit.errors import ChaosbanditError, Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaosbandit.cli.target_permission import Endpoint
    from chaosbandit.doctor.what_to_examine import Subject
    from chaosbandit.scenario.project_rules import Rules


class InterruptedLookError(ChaosbanditError):
    """A signal ended the examination, which changes nothing anyway."""

    def __init__(self, code: Exit) -> None:
        self.exit_code = code
        super().__init__("interrupted; nothing was changed")


def doctor(
    scenario: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="Scenario file (YAML).", show_default=False),
    ] = None,
    toxiproxy: Annotated[
        list[str] | None,
        typer.Option(
            "--toxiproxy",
            metavar="URL",
            help="A Toxiproxy API to look at, instead of the scenario's; may be given repeatedly.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The findings as one JSON object on stdout.")
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Look at what is not on this machine, too: it is meant."),
    ] = False,
) -> None:
    """Look at everything a run relies on, and say what to do.

    This machine, the target, Toxiproxy, leftovers of earlier runs, clocks, kill switches, and how
    fast requests can be sent from here. Injects nothing and changes nothing. Exit 6 when something
    fails.
    """
    import os
    import shutil
    import sys

    from chaosbandit.cli.output import show, telling
    from chaosbandit.cli.state_folder import need_home

    with telling(as_json):
        need_home()
        subject = _subject(scenario, toxiproxy or [], yes=yes)

        from chaosbandit.cli.interrupts import InterruptedRunError, interruptible
        from chaosbandit.doctor.all_checks import examine
        from chaosbandit.doctor.findings import exit_code
        from chaosbandit.doctor.findings_table import WIDTH, is_coloured, to_json, to_text
        from chaosbandit.hidden_values import masked_record

        tell = _teller()
        try:
            findings = masked_record(interruptible(lambda _: examine(subject, tell)))
        except InterruptedRunError as error:
            raise InterruptedLookError(error.exit_code) from None
        if as_json:
            show(to_json(findings), as_json=True)
        else:
            coloured = is_coloured(sys.stdout, os.environ)
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
            show(to_text(findings, width, coloured=coloured))
    raise typer.Exit(exit_code(findings))


def _subject(file: Path | None, named: list[str], *, yes: bool) -> Subject:
    """Everything the checks are told; a wrong scenario or rules file is refused here."""
    import os

    from chaosbandit.cli.scenario_loading import load_hiding
    from chaosbandit.cli.target_permission import host_of, server_named, touched
    from chaosbandit.core.scenario import EMBEDDED
    from chaosbandit.doctor.what_to_examine import Subject
    from chaosbandit.safety.kill_switch import default_places
    from chaosbandit.safety.ledger import FaultLedger
    from chaosbandit.scenario import refuse_embedded_canary
    from chaosbandit.scenario.project_rules import rules_for
    from chaosbandit.store.journal import default_folder

    loaded = load_hiding(file) if file is not None else None
    scenario = loaded.scenario if loaded is not None else None
    servers = [str(server_named(option)) for option in named]
    servers = servers or ([scenario.toxiproxy] if scenario is not None else [])
    if loaded is not None and EMBEDDED in servers:
        refuse_embedded_canary(loaded)
    rules, ledger = rules_for(file, os.environ), FaultLedger()
    urls = [*servers, *(entry.fault.server for entry in ledger.entries().entries)]
    places = [host_of(url) for url in dict.fromkeys(urls) if url != EMBEDDED]
    if scenario is not None:
        places += [place for server in servers for place in touched(scenario, server)]
    protected = _refused(places, rules, yes=True)
    far = _refused(places, rules, yes=False)
    freeze = scenario.guardrails.freeze if scenario is not None else ()
    return Subject(
        scenario=scenario,
        file=file,
        servers=tuple(dict.fromkeys(servers)),
        named=tuple(servers) if named else (),
        ledger=ledger,
        journals=default_folder(os.environ),
        freeze_places=tuple(
            dict.fromkeys(
                (*default_places(os.environ), *(place.text for place in rules.freeze), *freeze)
            )
        ),
        rules_files=rules.files,
        far=frozenset(far) - frozenset(protected),
        protected=frozenset(protected),
        protections=tuple(dict.fromkeys(protected.values())),
        yes=yes,
    )


def _refused(places: list[Endpoint], rules: Rules, *, yes: bool) -> dict[str, str]:
    """The hosts that a run would refuse, with the sentence it would say."""
    from chaosbandit.cli.target_permission import refuse_unmeant
    from chaosbandit.errors import UsageError

    refused = {}
    for place in dict.fromkeys(places):
        try:
            refuse_unmeant([place], yes, rules)
        except UsageError as error:
            refused[place.host] = str(error).partition("\n")[0]
    return refused


def _teller() -> Callable[[str], None]:
    """Progress on stderr, a line for each part that takes a while."""
    import sys
    import time
    from contextlib import suppress

    from chaosbandit.report.numbers_in_words import clock, writable

    began_s = time.monotonic()

    def tell(what: str) -> None:
        with suppress(OSError, ValueError):  # closed or full: the findings matter more
            line = f"{clock(time.monotonic() - began_s):>7}  {what}\n"
            sys.stderr.write(writable(line, sys.stderr.encoding))
            sys.stderr.flush()

    return tell
