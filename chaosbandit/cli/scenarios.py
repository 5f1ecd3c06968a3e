"""`validate` and `schema`: scenario files without running them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ScenarioFiles = Annotated[
    list[Path], typer.Argument(help="Scenario files (YAML).", show_default=False)
]


def validate(
    files: ScenarioFiles,
    as_json: Annotated[bool, typer.Option("--json", help="Problems as JSON on stdout.")] = False,
) -> None:
    """Check scenario files and report every problem with file, line and column."""
    import json
    import os
    from dataclasses import asdict

    from chaosbandit.errors import Exit, Problem, ScenarioError
    from chaosbandit.scenario import load

    problems: list[Problem] = []
    for file in files:
        try:
            loaded = load(file, os.environ)
        except ScenarioError as error:
            problems.extend(error.problems)
            continue
        if not as_json:
            scenario = loaded.scenario
            arms = len(scenario.ladder.severities)
            allowed = min(scenario.budget.allowed(slo) for slo in scenario.slos)
            typer.echo(f"{file}: valid ({arms} severities, at most {allowed} bad requests)")
    if as_json:
        typer.echo(json.dumps({"schema": 1, "problems": [asdict(p) for p in problems]}, indent=2))
    else:
        for problem in problems:
            typer.echo(str(problem), err=True)
    if problems:
        raise typer.Exit(Exit.USAGE)


def schema() -> None:
    """Print the JSON Schema of scenario files, for editors and pre-commit hooks."""
    import json

    from chaosbandit.scenario import schema as scenario_schema

    typer.echo(json.dumps(scenario_schema(), indent=2))
