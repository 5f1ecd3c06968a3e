"""`plan`: what a run of a scenario will take and cost, before anything is sent."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer

from chaosbandit.cli.gate_option import Gate, gates_alone

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaosbandit.core.scenario import Scenario
    from chaosbandit.plan.campaign_count import Pace
    from chaosbandit.plan.campaigns import Cost
    from chaosbandit.plan.forecast_records import Plan

_EVERY_S = 5.0  # between lines where no bar can be drawn
_ANEW_S = 2.0  # between tables of what is known so far
_WHAT = "simulating campaigns"


def plan(
    scenario: Annotated[
        Path, typer.Argument(metavar="FILE", help="Scenario file (YAML).", show_default=False)
    ],
    campaigns: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Campaigns to simulate, however long that takes.",
            show_default="as many as some 20 s allow",
            min=20,
            max=100_000,
        ),
    ] = None,
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
    end, what to change when too many end without an answer, and what each change costs, each with
    how well so few campaigns know it. Nothing is sent or connected to.
    """
    import time

    began_s = time.monotonic()

    from chaosbandit.cli.output import show, telling
    from chaosbandit.cli.scenario_loading import load_hiding

    with telling(as_json):
        loaded = load_hiding(scenario)  # a wrong file is told before the rest is imported
        asked = gates_alone(loaded.scenario) if gate else loaded.scenario

        from chaosbandit.cli.interrupts import unwind_from_now_on
        from chaosbandit.hidden_values import masked_record
        from chaosbandit.plan.campaign_count import Pace
        from chaosbandit.plan.forecast_records import to_json
        from chaosbandit.plan.forecast_text import to_text

        unwind_from_now_on()  # so that Ctrl-C takes the processes along
        pace = Pace(lambda: time.monotonic() - began_s, campaigns)
        found = masked_record(_planned(asked, seed, pace, _Bar(showing=not as_json)))
    show(to_json(found) if as_json else to_text(found), as_json=as_json)


def _planned(scenario: Scenario, seed: int, pace: Pace, bar: _Bar) -> Plan:
    """Simulate on all processors, first all campaigns, then what could help where it is needed."""
    from chaosbandit.plan.advice import advised
    from chaosbandit.plan.campaign_count import FIRST_LEAST
    from chaosbandit.plan.forecast_records import plan_of
    from chaosbandit.plan.forecast_text import so_far
    from chaosbandit.plan.workers import Workers

    with bar, Workers() as workers:

        def more(costs: Sequence[Cost]) -> bool:
            going_on = pace.more(costs)
            bar.step(pace.done, pace.simulated)
            if len(costs) >= FIRST_LEAST and pace.first and bar.due:
                bar.show(so_far(plan_of(scenario, seed, costs)))
            return going_on

        def look_on(costs: Sequence[Cost]) -> bool:
            going_on = pace.look_on(costs)
            bar.step(pace.done, pace.simulated)
            return going_on

        def look(changed: Scenario, numbers: Sequence[int]) -> list[Cost]:
            pace.look()
            return workers.run(changed, seed, numbers, look_on)

        costs = workers.run(scenario, seed, pace.numbers, more)
        return advised(plan_of(scenario, seed, costs), scenario, costs, look)


class _Bar:
    """Progress on stderr, which never goes back: a bar where one can be drawn, else lines.

    What is known so far stands above the bar, and is renewed; among lines it is said once.
    """

    def __init__(self, *, showing: bool) -> None:
        import sys
        import time

        from rich.console import RenderableType
        from rich.progress import BarColumn, Progress, TaskProgressColumn
        from rich.text import Text

        from chaosbandit.report.live import console_on

        console = console_on(sys.stderr)
        self._drawn = sys.stderr.isatty() and not console.is_dumb_terminal
        self._showing, self._shown, self._shown_s = showing, "", 0.0
        self._said_s = time.monotonic()
        above = self

        class Shown(Progress):
            def get_renderables(self) -> Iterator[RenderableType]:
                if above._shown:
                    yield Text(above._shown)
                yield from super().get_renderables()

        self._bar = Shown(
            "{task.description}",
            BarColumn(),
            TaskProgressColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,
            disable=not self._drawn,
        )
        self._task = self._bar.add_task(_WHAT, total=1.0)

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

    @property
    def due(self) -> bool:
        """Whether what is known so far is to be shown, or shown anew."""
        import time

        if not self._shown or not self._drawn:
            return self._showing and not self._shown
        return time.monotonic() - self._shown_s >= _ANEW_S

    def show(self, text: str) -> None:
        """What is known so far."""
        import time

        self._shown, self._shown_s = text, time.monotonic()
        if not self._drawn:
            typer.echo(text, err=True)

    def step(self, done: float, campaigns: int) -> None:
        """So much of all is done, and so many campaigns are simulated."""
        import time

        self._bar.update(self._task, completed=done, description=f"{_WHAT}: {campaigns:,}")
        now_s = time.monotonic()
        if not self._drawn and now_s - self._said_s >= _EVERY_S:
            self._said_s = now_s
            typer.echo(f"{_WHAT}: {campaigns:,} ({done:.0%})", err=True)
