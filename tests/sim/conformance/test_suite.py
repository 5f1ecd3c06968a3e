"""The suite itself: every policy there is keeps to every rule, and no rule lets everything pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chaosbandit.core.policies import names, policy
from chaosbandit.sim.conformance import RULES, Violation, check, recording
from chaosbandit.sim.conformance.__main__ import main
from tests.sim.conformance.broken import BROKEN, instead, out_of_order


def _text(each: object) -> str:
    return each if isinstance(each, str) else ""


BY_NAME = {rule.__name__: rule for rule in RULES}


SLOW = {"ramp"}  # as long as all others together


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.matrix] if n in SLOW else []) for n in names()]
)
def test_every_policy_conforms(name: str) -> None:
    assert [str(each) for each in check(policy(name))] == []


@pytest.mark.parametrize(("name", "habit", "broken"), BROKEN, ids=_text)
def test_bad_habits_are_noticed(
    name: str, habit: str, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "LONGEST", 400)  # some habits make campaigns long
    with pytest.raises(AssertionError, match=r"found .+|found no") as noticed:
        BY_NAME[name](broken)
    assert len(str(noticed.value)) > 30  # a sentence, not an assert of our own


def test_every_rule_has_a_policy_that_breaks_it() -> None:
    assert {name for name, _, _ in BROKEN} == set(BY_NAME)
    assert len(BY_NAME) == len(RULES) == 28
    assert all(rule.__doc__ for rule in RULES)


def test_a_broken_rule_says_where_to_see_it_again() -> None:
    broken = instead(lambda campaign: campaign.spent_samples > 30, out_of_order)
    violations = check(broken)
    found = next(each for each in violations if each.rule == "comes_to_an_end")
    assert found.found.startswith("case 'cliff', seed 1, decision ")
    assert found.found.endswith(": found ZeroDivisionError: of no use, wanted a decision")
    assert str(found) == f"comes_to_an_end: {found.found}"
    assert found in check(broken)


def test_a_policy_that_is_none_breaks_rules_and_not_the_suite() -> None:
    found = check(object())  # type: ignore[arg-type]
    assert found[0].rule == "has_a_name"
    raised = Violation(
        "gives_up_when_nothing_fits",
        "found AttributeError: 'object' object has no attribute 'decide', wanted a decision",
    )
    assert raised in found


def test_it_runs_as_a_command(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Mine:\n    name = 'not mine'\n    decide = None\n")
    command = [sys.executable, "-m", "chaosbandit.sim.conformance", "mine:Mine"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("has_a_name: found the name 'not mine', wanted 1 to 64 letters")
    assert done.stdout.splitlines()[-1].endswith(f" of {len(RULES)} rules kept")


def test_the_command_says_what_it_wants(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, wanted in (
        ([], "usage: "),
        (["-h"], "usage: "),
        (["guess"], "search.policy: found 'guess', wanted one of: "),
        (["json:Mine"], "json:Mine: found AttributeError: module 'json' has no attribute 'Mine'"),
    ):
        assert main(arguments) == 2
        assert capsys.readouterr().err.startswith(wanted)
