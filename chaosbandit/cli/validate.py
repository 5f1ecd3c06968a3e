"""`validate` and `schema`: scenario files without running them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ScenarioFiles = Annotated[
    list[Path], typer.Argument(metavar="FILE", help="Scenario files (YAML).", show_default=False)
]


def validate(
    files: ScenarioFiles,
    as_json: Annotated[
        bool, typer.Option("--json", help="The problems as one JSON object on stdout.")
    ] = False,
) -> None:
    """Check scenario files: every problem with its line and column.

    The rules in force (chaosbandit.toml) are checked as well. Nothing is connected to. Problems go
    to stderr, valid files and --json to stdout.
    """
    import json
    import os
    from dataclasses import asdict

    from chaosbandit.cli.output import show
    from chaosbandit.cli.scenario_loading import load_hiding
    from chaosbandit.errors import Exit, Problem, ScenarioError
    from chaosbandit.scenario.project_rules import rules_for

    problems: list[Problem] = []
    for file in files:
        try:
            loaded = load_hiding(file)
            rules_for(file, os.environ)
        except ScenarioError as error:
            problems.extend(problem for problem in error.problems if problem not in problems)
            continue
        if not as_json:
            scenario = loaded.scenario
            arms = sum(len(ladder.severities) for ladder in scenario.ladders)
            allowed = min(scenario.budget.allowed(slo) for slo in scenario.slos)
            show(f"{file}: valid ({arms} severities, at most {allowed:,} bad requests a run)\n")
    if as_json:
        found = {"schema": 1, "problems": [asdict(problem) for problem in problems]}
        show(json.dumps(found, ensure_ascii=False, indent=2) + "\n", as_json=True)
    else:
        for problem in problems:
            typer.echo(str(problem), err=True)
    if problems:
        raise typer.Exit(Exit.USAGE)


def schema() -> None:
    """Print the JSON Schema of scenario files, for editors."""
    import json

    from chaosbandit.cli.output import show
    from chaosbandit.scenario import schema as scenario_schema

    show(json.dumps(scenario_schema(), indent=2) + "\n", as_json=True)
