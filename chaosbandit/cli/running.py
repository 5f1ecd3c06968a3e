"""`run`: one scenario, from file to answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")]
Seed = Annotated[
    int | None,
    typer.Option(help="Seed of the search; default: the scenario's, else random.", min=0),
]
Toxiproxy = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Toxiproxy API to use instead of the scenario's, or `embedded`."
    ),
]
JournalFolder = Annotated[
    Path | None,
    typer.Option("--journal", metavar="FOLDER", help="Where the run's journal is written."),
]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Targets that are not on this machine are meant.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]


def run(
    scenario: Annotated[Path, typer.Argument(help="Scenario file (YAML).", show_default=False)],
    as_json: AsJson = False,
    seed: Seed = None,
    toxiproxy: Toxiproxy = None,
    journal: JournalFolder = None,
    yes: Yes = False,
    quiet: Quiet = False,
) -> None:
    """Find the breaking point a scenario asks for, inside its error budget, and clean up.

    The answer goes to stdout, progress to stderr. Ctrl-C removes faults and prints what is known so
    far; a second Ctrl-C only removes faults.
    """
    import os

    from chaosbandit.cli.wiring import RunOptions, run_scenario
    from chaosbandit.scenario import load

    options = RunOptions(
        as_json=as_json, seed=seed, toxiproxy=toxiproxy, journal=journal, yes=yes, quiet=quiet
    )
    raise typer.Exit(run_scenario(load(scenario, os.environ), options).exit_code)
