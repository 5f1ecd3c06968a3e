"""`doctor` as users see it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaosbandit.cli.demo_services import Stage
from tests.cli.test_target_permission import DEMO, FAR
from tests.e2e.runs import Command, chaosbandit, proxies, scenario_with
from tests.operator_path import free_port

pytestmark = pytest.mark.e2e


def test_a_healthy_world(shared_stage: Stage, tmp_path: Path) -> None:
    before = proxies(shared_stage.server)
    began_s = time.monotonic()
    scenario = scenario_with(tmp_path)
    ended = chaosbandit(tmp_path, "doctor", scenario, environment=shared_stage.environment).told(0)
    assert time.monotonic() - began_s < 25
    assert "\x1b" not in ended.out + ended.err
    for check in ("target", "control", "dependency", "toxiproxy"):
        assert f"\nok    {check}  " in ended.out, ended.out
    for check in ("watchdog", "prober ceiling", "API latency"):  # may warn on a busy machine
        assert re.search(rf"\n(ok|warn)  +{check}  ", ended.out), ended.out
    for check in ("slow readers", "sweeper"):
        assert re.search(rf"\nnote  {check}  ", ended.out), ended.out
    assert [line for line in ended.out.splitlines() if not _fits(line, 100)] == []
    assert ended.err.count("\n") == 2
    assert proxies(shared_stage.server) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scenario.yaml"]


def test_a_sick_world_as_json(embedded_stage: Stage, tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    environment = {**embedded_stage.environment, "CB_DEMO_CANARY": nobody}
    scenario = scenario_with(tmp_path, listen=nobody)
    ended = chaosbandit(tmp_path, "doctor", "--json", scenario, environment=environment).told(6)
    result = json.loads(ended.out)
    assert (result["schema"], result["exit_code"]) == (1, 6)
    failing = {each["check"] for each in result["findings"] if each["level"] == "fail"}
    assert failing == {"target", "proxy inventory"}
    assert all(each["do"] for each in result["findings"] if each["level"] == "fail")


def test_a_wrong_scenario_is_told_as_validate_tells_it(tmp_path: Path) -> None:
    scenario = scenario_with(tmp_path, topology="canaries")
    told = [
        chaosbandit(tmp_path, word, scenario, environment=DEMO).told(2).err
        for word in ("validate", "doctor")
    ]
    assert told[1] == f"chaosbandit: {told[0]}"
    ended = chaosbandit(tmp_path, "doctor", "--json", scenario, environment=DEMO).told(2)
    assert json.loads(ended.out)["problems"][0]["key"] == "topology"


def test_what_is_far_is_left_alone_without_yes(tmp_path: Path) -> None:
    environment = {**DEMO, "CB_DEMO_TOXIPROXY": f"http://{FAR}:80", "CB_DEMO_CANARY": f"{FAR}:80"}
    scenario = scenario_with(tmp_path, control_url=f"http://{FAR}/", check=f"http://{FAR}/")
    ended = chaosbandit(tmp_path, "doctor", "--json", scenario, environment=environment).told(0)
    found = {each["check"]: each for each in json.loads(ended.out)["findings"]}
    assert (found["targets"]["level"], "target" in found) == ("warn", False)
    assert "repeat with --yes" in found["targets"]["do"]


def test_rules_of_the_project_are_in_force(embedded_stage: Stage, tmp_path: Path) -> None:
    rules = tmp_path / "chaosbandit.toml"
    freeze = tmp_path / "freeze-here"
    rules.write_text(f'protect = ["127.0.0.1"]\nfreeze = ["{freeze}"]\n')
    freeze.write_text("launch\n")
    scenario = scenario_with(tmp_path)
    arguments = ["doctor", "--json", "--yes", scenario]
    ended = chaosbandit(tmp_path, *arguments, environment=embedded_stage.environment).told(6)
    found = [(each["check"], each["level"]) for each in json.loads(ended.out)["findings"]]
    assert ("targets", "fail") in found
    assert ("kill switch", "warn") in found
    assert "target" not in dict(found)  # protected: not even asked
    assert str(rules) in ended.out


@pytest.mark.parametrize(("columns", "no_color"), [(80, ""), (120, "1")])
def test_in_a_terminal_it_fits(tmp_path: Path, columns: int, no_color: str) -> None:
    ours, theirs = pty.openpty()
    environment = {"TERM": "xterm", "COLUMNS": str(columns), "NO_COLOR": no_color}
    command = subprocess.Popen(
        [sys.executable, "-m", "chaosbandit", "doctor"],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path), **environment},
    )
    os.close(theirs)
    said = b"".join(iter(lambda: _heard(ours), b"")).decode()
    os.close(ours)
    assert command.wait(30) == 0
    assert ("\x1b[32mok" in said) == (not no_color)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", said).splitlines()
    assert [line for line in lines if not _fits(line, columns)] == []


def test_a_server_asked_for_and_left_alone_is_no_success(tmp_path: Path) -> None:
    named = ("doctor", "--json", "--toxiproxy", f"http://{FAR}:8474")
    ended = chaosbandit(tmp_path, *named).told(6)
    found = {each["check"]: each for each in json.loads(ended.out)["findings"]}
    assert found["targets"]["level"] == "fail"
    assert "repeat with --yes" in found["targets"]["do"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_does_not_speak_of_faults(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with Command(tmp_path, "doctor") as command:
        command.until("measuring how fast")
        command.send(number)
        ended = command.ended().told(code)
    assert ended.err.endswith("\nchaosbandit: interrupted; nothing was changed\n")
    assert ended.out == ""


def _fits(line: str, columns: int) -> bool:
    """Longer than the terminal is wide may only be what has to stay whole: a path or a command."""
    alone = line.strip().startswith(("chaosbandit ", "curl ", "ulimit ", "chmod ", "pip "))
    last = line.strip() if alone else line.split(" ")[-1]
    return len(line) <= columns or (len(last) > columns / 2 and len(line) - len(last) < 40)


def _heard(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux's way to say that nobody writes there any more
        return b""
