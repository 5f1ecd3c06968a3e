"""`plan`: what a run of a scenario will take and cost, before anything is sent."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer

from chaosbandit.cli.gates import Gate, gates_alone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaosbandit.core.scenario import Scenario
    from chaosbandit.plan.campaigns import Cost
    from chaosbandit.plan.outcome import Plan

CAMPAIGNS = 500
_EVERY_S = 10.0  # between lines where no bar can be drawn


def plan(
    scenario: Annotated[
        Path, typer.Argument(metavar="FILE", help="Scenario file (YAML).", show_default=False)
    ],
    campaigns: Annotated[
        int, typer.Option(metavar="N", help="Campaigns to simulate.", min=20, max=100_000)
    ] = CAMPAIGNS,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Seed of the simulation.", min=0, max=2**63 - 1)
    ] = 0,
    gate: Gate = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="The plan as one JSON object on stdout.")
    ] = False,
) -> None:
    """Say what a run will take and cost, before anything is injected.

    Simulates campaigns of the scenario against services that may stand behind it: how many
    requests and minutes, how many bad requests and which share of the error budget, how runs will
    end, what to change when too many end without an answer, and what each change costs. Nothing is
    sent or connected to.
    """
    from chaosbandit.cli.loading import load_hiding
    from chaosbandit.cli.output import show, telling

    with telling(as_json):
        loaded = load_hiding(scenario)  # a wrong file is told before the rest is imported
        asked = gates_alone(loaded.scenario) if gate else loaded.scenario

        from chaosbandit.cli.interrupts import unwind_from_now_on
        from chaosbandit.hidden import masked_record
        from chaosbandit.plan.outcome import to_json
        from chaosbandit.plan.text import to_text

        unwind_from_now_on()  # so that Ctrl-C takes the processes along
        found = masked_record(_planned(asked, campaigns, seed))
    show(to_json(found) if as_json else to_text(found), as_json=as_json)


def _planned(scenario: Scenario, campaigns: int, seed: int) -> Plan:
    """Simulate on all processors, first all campaigns, then what could help where it is needed."""
    from functools import partial

    from chaosbandit.plan.advice import advised
    from chaosbandit.plan.outcome import plan_of
    from chaosbandit.plan.workers import Workers

    with _Bar() as bar, Workers() as workers:

        def run(asked: Scenario, numbers: Sequence[int], what: str) -> list[Cost]:
            bar.begin(what, len(numbers))
            return workers.run(asked, seed, numbers, bar.step)

        costs = run(scenario, range(campaigns), "simulating campaigns")
        first = plan_of(scenario, seed, costs)
        return advised(first, scenario, costs, partial(run, what="looking for what helps"))


class _Bar:
    """Progress on stderr: a bar on a terminal that can redraw, else a line now and then."""

    def __init__(self) -> None:
        import sys

        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        from chaosbandit.report.live import console_on

        console = console_on(sys.stderr)
        self._drawn = sys.stderr.isatty() and not console.is_dumb_terminal
        self._bar = Progress(
            "{task.description}",
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,
            disable=not self._drawn,
        )
        self._what, self._total, self._done, self._said_s = "", 0, 0, 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def begin(self, what: str, total: int) -> None:
        """So many campaigns follow."""
        import time

        self._what, self._total, self._done, self._said_s = what, total, 0, time.monotonic()
        for task in self._bar.task_ids:
            self._bar.remove_task(task)
        self._bar.add_task(what, total=total)

    def step(self) -> None:
        """One of them is done."""
        import time

        self._done += 1
        for task in self._bar.task_ids:
            self._bar.advance(task)
        now_s = time.monotonic()
        if not self._drawn and now_s - self._said_s >= _EVERY_S:
            self._said_s = now_s
            typer.echo(f"{self._what}: {self._done} of {self._total}", err=True)
