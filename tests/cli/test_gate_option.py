"""`--gate`: the gates of `require` alone, or a sentence why not; and a policy that ends a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from numpy.random import Generator

from chaosbandit.cli.gate_option import gates_alone
from chaosbandit.core.climb import Climb
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Cause, Decision
from chaosbandit.core.scenario import BRACKET, GATE
from chaosbandit.errors import Exit, PolicyError, UsageError
from tests.cli.test_target_permission import DEMO
from tests.e2e.runs import QUICK, chaosbandit, scenario_with
from tests.simulated import cliff, ladder, run, scenario, world

GATED = QUICK + 'require: {slow-inventory: "> 300ms"}\n'


def test_the_search_ends_at_its_gates_and_nothing_else_changes() -> None:
    asked = scenario(require={"slow": 0.15})
    alone = gates_alone(asked)
    assert (asked.search.stop, alone.search.stop) == (BRACKET, GATE)
    assert replace(alone, search=asked.search) == asked


def test_ladders_without_a_gate_are_named() -> None:
    second = Ladder("other", "inventory", "latency", 0.01, 1.0, 0.10)
    asked = replace(scenario(require={"slow": 0.15}), ladders=(ladder(), second))
    with pytest.raises(UsageError, match="found no gate for other in the scenario") as raised:
        gates_alone(asked)
    assert 'require: {other: "> ' in str(raised.value)


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_scenario_without_gates_is_a_usage_error(command: str, tmp_path: Path) -> None:
    options = (command, scenario_with(tmp_path), "--gate")
    ended = chaosbandit(tmp_path, *options, environment=DEMO).told(Exit.USAGE)
    assert "--gate: found no gate for slow-inventory in the scenario" in ended.err
    assert ended.out == ""


def test_gates_are_planned_alone(tmp_path: Path) -> None:
    options = ("plan", scenario_with(tmp_path, GATED), "--json", "--campaigns", "24")

    def planned(*more: str) -> dict[str, object]:
        return json.loads(  # type: ignore[no-any-return]
            chaosbandit(tmp_path, *options, *more, environment=DEMO).told(0).out
        )

    whole, alone = planned(), planned("--gate")
    assert (whole["stop"], alone["stop"]) == (BRACKET, GATE)
    assert alone["requests"]["mean"] < whole["requests"]["mean"]  # type: ignore[index]


class Wrong:
    """Says what no policy may say."""

    name = "wrong"

    def decide(self, climb: Climb, rng: Generator) -> Decision:
        raise PolicyError("search.policy 'wrong': found arm 99, wanted one of the ladder's")


def test_a_policy_that_says_what_it_may_not_ends_a_run_with_its_name() -> None:
    campaign = run(scenario(), world(cliff(0.1)), by=Wrong())
    assert campaign.stopped is not None
    assert campaign.stopped.exit_code == Exit.INTERNAL
    assert campaign.stopped.cause is Cause.POLICY and "'wrong'" in campaign.stopped.reason
    assert campaign.stopped.clean
