"""`run`: one scenario, from file to answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chaosbandit.cli.gate_option import Gate, gates_alone

AsJson = Annotated[
    bool,
    typer.Option("--json", help="The result, or what went wrong, as one JSON object on stdout."),
]
Seed = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Seed of the search; default: the scenario's, else random.", min=0
    ),
]
Toxiproxy = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Toxiproxy API to use instead of the scenario's, or `embedded`."
    ),
]
JournalFolder = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        metavar="FOLDER",
        help="Where to write the run's journal; default: ~/.local/state/chaosbandit/runs.",
    ),
]
Yes = Annotated[
    bool,
    typer.Option(
        "--yes",
        "-y",
        help="Allow targets that are not on this machine: they are meant. What `protect` in a "
        "chaosbandit.toml names stays refused.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]


def run(
    scenario: Annotated[
        Path, typer.Argument(metavar="FILE", help="Scenario file (YAML).", show_default=False)
    ],
    as_json: AsJson = False,
    seed: Seed = None,
    toxiproxy: Toxiproxy = None,
    gate: Gate = False,
    journal: JournalFolder = None,
    yes: Yes = False,
    quiet: Quiet = False,
) -> None:
    """Find the breaking point that a scenario asks for.

    Stays inside the scenario's error budget and removes every fault again. The answer goes to
    stdout, progress to stderr. Ctrl-C removes faults, checks the path and prints what is known so
    far; a second Ctrl-C skips the check.
    """
    import os
    from dataclasses import replace

    from chaosbandit.cli.output import telling
    from chaosbandit.cli.scenario_loading import load_hiding
    from chaosbandit.cli.state_folder import need_home
    from chaosbandit.cli.target_permission import server_named

    with telling(as_json):
        need_home()
        from chaosbandit.scenario.project_rules import rules_for

        loaded = load_hiding(scenario)  # a wrong file is told before the rest is imported
        if gate:
            loaded = replace(loaded, scenario=gates_alone(loaded.scenario))
        rules = rules_for(scenario, os.environ)

        from chaosbandit.cli.wiring import RunOptions, run_scenario

        options = RunOptions(
            as_json=as_json,
            seed=seed,
            toxiproxy=server_named(toxiproxy),
            journal=journal,
            yes=yes,
            quiet=quiet,
            gate=gate,
            rules=rules,
        )
        finished = run_scenario(loaded, options)
    raise typer.Exit(finished.exit_code)
