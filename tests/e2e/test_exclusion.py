"""Two runs on one target: the second is refused, told who is there, and disturbs nothing."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from chaosbandit.cli.demo_services import Stage
from tests.e2e.conftest import Kept
from tests.e2e.runs import Command, chaosbandit, journals, proxies, scenario_with, soon


def folder(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    path.mkdir()
    return path


@pytest.mark.parametrize("same_host", [True, False])
def test_the_second_run_on_a_target_is_refused(
    shared_stage: Stage, tmp_path: Path, same_host: bool
) -> None:
    first, second = folder(tmp_path, "first"), folder(tmp_path, "second")
    scenario = scenario_with(first)
    with Command(first, "run", scenario, environment=shared_stage.environment) as run:
        run.until("steady state")
        (journal,) = journals(first)
        holder = journal.stem.rpartition("-")[2]
        state = first if same_host else second
        told = chaosbandit(
            state, "run", scenario, "--quiet", environment=shared_stage.environment
        ).told(6)
        text = " ".join(told.err.split())
        assert f"run {holder}" in text
        assert "wait for it" in text
        assert (f"process {run.process.pid}" in text) or not same_host
        assert f"cb-lease.{holder}." in " ".join(proxies(shared_stage.server))
        run.until("exposure 1: .* requests")
        run.send(signal.SIGTERM)
        assert "NOT CONFIRMED" not in run.ended().told(143).out
    assert list(proxies(shared_stage.server)) == ["inventory"]


def test_a_killed_run_is_in_nobodys_way(shared_stage: Stage, kept: Kept, tmp_path: Path) -> None:
    first, second = folder(tmp_path, "first"), folder(tmp_path, "second")
    scenario = scenario_with(first)
    with Command(first, "run", scenario, environment=shared_stage.environment) as run:
        run.until_exposed(1)
        run.send(signal.SIGKILL)
        run.ended()
    kept.states.append(first)
    assert soon(lambda: list(proxies(shared_stage.server)) == ["inventory"])
    ended = chaosbandit(
        second, "run", scenario, "--json", "--quiet", environment=shared_stage.environment
    ).told(0)
    assert json.loads(ended.out)["answered"] is True
    assert list(proxies(shared_stage.server)) == ["inventory"]
