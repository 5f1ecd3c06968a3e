"""`validate` and `schema`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_target_permission import DEMO
from tests.e2e.runs import QUICK, chaosbandit, scenario_with

SCENARIOS = Path(__file__).parents[2] / "scenarios"


def test_several_files_good_and_bad(tmp_path: Path) -> None:
    good = SCENARIOS / "edge-latency.yaml"
    bad = tmp_path / "bad.yaml"
    bad.write_text(good.read_text().replace("toxic: latency", "toxic: lateness"))
    ended = chaosbandit(tmp_path, "validate", good, bad, tmp_path / "none.yaml").told(2)
    assert ended.out.startswith(f"{good}: valid (")
    assert f"{bad}:" in ended.err
    assert f"{tmp_path / 'none.yaml'}:1:1: " in ended.err


def test_problems_as_json(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 7\n")
    ended = chaosbandit(tmp_path, "validate", "--json", bad).told(2)
    problems = json.loads(ended.out)["problems"]
    assert {"file", "line", "column", "key", "found", "wanted"} == set(problems[0])
    assert ended.err == ""


def test_no_problems_as_json(tmp_path: Path) -> None:
    files = sorted(SCENARIOS.glob("*.yaml"))
    ended = chaosbandit(tmp_path, "validate", "--json", *files).told(0)
    assert json.loads(ended.out) == {"schema": 1, "problems": []}


def test_the_schema_is_json(tmp_path: Path) -> None:
    found = json.loads(chaosbandit(tmp_path, "schema").told(0).out)
    assert found["$schema"].startswith("https://json-schema.org/")
    assert {"traffic", "slos", "budget", "ladders"} <= set(found["properties"])


@pytest.mark.parametrize(
    ("found", "wanted", "said"),
    [
        ("objective: 90%", "objective: 100%", "objective"),
        ("spend: 5%", "spend: 0%", "spend"),
        ("requests: 2_000_000", "requests: 0", "requests"),
        ("confidence: 90%", "policy: guess", "search.policy"),
        ("from: 100ms, to: 1s", "from: 1s, to: 100ms", "ladders"),
        ("version: 1", "version: [1", "scenario.yaml:"),
    ],
)
def test_what_cannot_be_run_is_refused_by_run_as_well(
    found: str, wanted: str, said: str, tmp_path: Path
) -> None:
    scenario = scenario_with(tmp_path, QUICK.replace(found, wanted))
    told = [
        chaosbandit(tmp_path, command, scenario, environment=DEMO).told(2)
        for command in ("validate", "run")
    ]
    assert [ended.out for ended in told] == ["", ""]
    assert said in told[0].err
    assert "chaosbandit: " + told[0].err == told[1].err


def test_wrong_rules_are_a_problem_of_every_scenario_they_apply_to_told_once(
    tmp_path: Path,
) -> None:
    (tmp_path / "chaosbandit.toml").write_text('protect = ["*"]\n')
    one = tmp_path / "one.yaml"
    one.write_text((SCENARIOS / "edge-latency.yaml").read_text())
    ended = chaosbandit(tmp_path, "validate", one, one).told(2)
    assert ended.err.count("chaosbandit.toml:1:12: protect[0]: found *, wanted") == 1


def test_a_protected_target_is_refused_whatever_is_said(tmp_path: Path) -> None:
    rules = tmp_path / "chaosbandit.toml"
    rules.write_text('protect = ["127.0.0.0/8:9200"]\nallow = ["127.0.0.1"]\n')
    scenario = scenario_with(tmp_path)
    ended = chaosbandit(tmp_path, "run", scenario, "--yes", environment=DEMO).told(2)
    text = " ".join(ended.err.split())
    assert "found 127.0.0.1:9200 (traffic.url), protected by `127.0.0.0/8:9200`" in text
    assert f"in {rules}" in text
    assert "Nothing was connected to" in text
