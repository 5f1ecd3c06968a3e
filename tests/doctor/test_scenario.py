"""What a scenario and the rules around it say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from chaosbandit.doctor.findings import fail
from chaosbandit.doctor.scenario import findings
from chaosbandit.errors import Trouble
from tests.doctor.looking import levels, one, subject
from tests.simulated import errors_ladder, ladder, scenario


def test_all_of_a_scenario(tmp_path: Path) -> None:
    files = (tmp_path / "chaosbandit.toml",)
    found = findings(subject(tmp_path, scenario(require={"slow": 0.15}), rules_files=files))
    assert levels(found) == ["ok"] * 4
    assert "at most 1,000 bad requests a run" in one(found, "scenario").found
    assert "slow > 150 ms" in one(found, "gates").found
    assert str(files[0]) in one(found, "rules").found


def test_all_ladders_and_their_gates_count(tmp_path: Path) -> None:
    first, second = ladder(), errors_ladder()
    gates = {"slow": 0.15, "errors": 0.02}
    both = replace(scenario(require=gates), ladders=(first, second))
    found = findings(subject(tmp_path, both))
    arms = len(first.severities) + len(second.severities)
    assert f"{arms} severities, at most 1,000 bad" in one(found, "scenario").found
    assert "slow > 150 ms and errors > 2 %" in one(found, "gates").found


def test_no_scenario_is_worth_a_note(tmp_path: Path) -> None:
    found = findings(subject(tmp_path))
    assert levels(found) == ["note", "ok"]
    assert "`chaosbandit doctor FILE`" in found[0].do


def test_targets_elsewhere_have_to_be_meant(tmp_path: Path) -> None:
    far = subject(tmp_path, scenario(), far=frozenset({"192.0.2.1"}))
    found = one(findings(far), "targets")
    assert (found.level, "192.0.2.1" in found.found, "--yes" in found.do) == ("warn", True, True)
    found = one(findings(replace(far, yes=True)), "targets")
    assert (found.level, "a run needs --yes" in found.found) == ("ok", True)


def test_a_server_asked_for_and_left_alone_fails(tmp_path: Path) -> None:
    url = "http://192.0.2.1:8474"
    far = subject(tmp_path, servers=(url,), named=(url,), far=frozenset({"192.0.2.1"}))
    found = one(findings(far), "targets")
    assert (found.level, "repeat with --yes" in found.do) == ("fail", True)
    assert one(findings(replace(far, yes=True)), "targets").level == "ok"


def test_protected_targets_fail(tmp_path: Path) -> None:
    why = Trouble("bank, protected by `bank` in rules", "another", do="name another")
    found = one(findings(subject(tmp_path, scenario(), protections=(why,), yes=True)), "targets")
    assert found == fail("targets", why.found, why.wanted, why.do)
