"""`plan`: no target is needed, and none is looked at."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.cli.test_target_permission import DEMO
from tests.e2e.runs import QUICK, Command, chaosbandit, processes_with, scenario_with, soon

SCENARIOS = sorted((Path(__file__).parents[2] / "scenarios").rglob("*.yaml"))


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda path: path.stem)
def test_ready_scenarios_can_be_planned(file: Path, tmp_path: Path) -> None:
    plan = ("plan", file, "--campaigns", "20")
    ended = chaosbandit(tmp_path, *plan, environment=DEMO, within_s=180.0).told(0)
    assert ended.out.startswith("A run will take about ")
    assert max(map(len, ended.out.splitlines())) <= 100
    assert "From 20 simulated campaigns (seed 0;" in ended.out


def test_json_is_the_same_each_time_by_seed(tmp_path: Path) -> None:
    scenario = scenario_with(tmp_path)

    def found(seed: int) -> str:
        options = ("--json", "--campaigns", "24", "--seed", str(seed))
        return chaosbandit(tmp_path, "plan", scenario, *options, environment=DEMO).told(0).out

    one, same, other = found(1), found(1), found(2)
    assert one == same != other
    plan = json.loads(one)
    assert (plan["schema"], plan["scenario"], plan["campaigns"], plan["seed"]) == (
        1,
        "quick",
        24,
        1,
    )
    assert plan["answered"] + plan["inconclusive"] == pytest.approx(1.0)


def test_it_takes_seconds_and_shows_what_is_known_so_far(tmp_path: Path) -> None:
    ended = chaosbandit(tmp_path, "plan", scenario_with(tmp_path), environment=DEMO).told(0)
    assert "So far, after " in ended.err and "So far" not in ended.out
    shares = [
        int(each) for each in re.findall(r"simulating campaigns: [\d,]+ \((\d+)%\)", ended.err)
    ]
    assert shares == sorted(shares)
    assert "in brackets 95 % intervals" in " ".join(ended.out.split())


def test_a_wrong_scenario_is_refused(tmp_path: Path) -> None:
    scenario = scenario_with(tmp_path, QUICK.replace("from: 100ms, to: 1s", "from: 1s, to: 100ms"))
    ended = chaosbandit(tmp_path, "plan", scenario, "--json", environment=DEMO).told(2)
    assert "ladders" in ended.err
    assert json.loads(ended.out)["problems"]
    chaosbandit(tmp_path, "plan", tmp_path / "none.yaml").told(2)
    chaosbandit(tmp_path, "plan", scenario, "--campaigns", "0", environment=DEMO).told(2)


@pytest.mark.parametrize("whole_group", [True, False], ids=["terminal", "process"])
def test_ctrl_c_ends_all_processes_without_a_word(whole_group: bool, tmp_path: Path) -> None:
    scenario = scenario_with(tmp_path)
    options = ("--campaigns", "100000")
    with Command(tmp_path, "plan", scenario, *options, environment=DEMO) as command:
        assert soon(lambda: len(workers(tmp_path)) >= 1, 30.0), command.err
        time.sleep(1.0)  # some are still importing, some simulate
        if whole_group:
            os.killpg(command.process.pid, signal.SIGINT)
        else:
            command.send(signal.SIGINT)
        ended = command.ended(30.0).told(130)
    assert ended.out == ""
    assert soon(lambda: not processes_with(str(tmp_path)))


def test_workers_of_a_command_that_was_killed_end(tmp_path: Path) -> None:
    scenario = scenario_with(tmp_path)
    with Command(tmp_path, "plan", scenario, "--campaigns", "100000", environment=DEMO) as command:
        command.until("simulating campaigns: ")
        command.send(signal.SIGKILL)
        assert soon(lambda: not processes_with(str(tmp_path)), 20.0)


def workers(state: Path) -> list[str]:
    return [line for line in processes_with(str(state)) if "spawn_main" in line]
