"""`--gate`: end a search as soon as what `require` asks is decided, whatever the file says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chaosbandit.core.scenario import Scenario

Gate = Annotated[
    bool,
    typer.Option(
        "--gate",
        help="Only decide the gates of `require`, which is cheaper than a bracket: as "
        "`search.stop: gate`, for this once.",
    ),
]


def gates_alone(scenario: Scenario) -> Scenario:
    """The scenario whose search ends when every gate is decided.

    Raises:
        UsageError: a ladder has no gate.
    """
    from chaosbandit.core.scenario import GATE
    from chaosbandit.errors import UsageError

    without = [ladder for ladder in scenario.ladders if ladder.name not in scenario.require]
    if without:
        names = ", ".join(ladder.name for ladder in without)
        first = without[0]
        bound = first.text(first.severities[len(first.severities) // 2]).replace(" ", "")
        raise UsageError(
            f"--gate: found no gate for {names} in the scenario, wanted one in `require` for every "
            f'ladder, such as `require: {{{first.name}: "> {bound}"}}`'
        )
    return replace(scenario, search=replace(scenario.search, stop=GATE))
