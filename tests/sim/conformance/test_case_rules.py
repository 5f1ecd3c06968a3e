"""Rules of whole campaigns: their sentences, and that cases are recorded once for all of them."""

from __future__ import annotations

import pytest

from chaosbandit.core.model import Decision
from chaosbandit.sim.conformance import case_rules
from chaosbandit.sim.conformance.cases import cases
from tests.sim.conformance.broken import Broken, honest, instead, tired


def broken_by(rule: case_rules.Rule, policy: Broken) -> str:
    with pytest.raises(AssertionError) as broken:
        rule(policy)
    return str(broken.value)


def test_a_case_is_recorded_once_for_all_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def counting(campaign, rng) -> Decision:  # type: ignore[no-untyped-def]
        nonlocal asked
        asked += 1
        return honest(campaign, rng)

    monkeypatch.setattr(case_rules, "cases", lambda: cases()[2:4])
    policy = Broken(counting)
    case_rules.comes_to_an_end(policy)
    before = asked
    case_rules.brackets_a_cliff(policy)
    case_rules.stays_stopped(policy)
    assert asked == before > 0
    case_rules.comes_to_an_end(Broken(counting))  # another object may be another policy
    assert asked == 2 * before


def test_they_say_what_was_found_and_wanted() -> None:
    weary = instead(lambda campaign: campaign.spent_samples > 20, tired)
    assert broken_by(case_rules.brackets_a_cliff, weary) == (
        "case 'cliff', seed 1: found 'tired' with held None, broke None, wanted a closed bracket"
    )
    assert broken_by(case_rules.holds_at_the_cap, weary) == (
        "case 'one arm that holds', seed 1: found 'tired' with held None, broke None, wanted "
        "held at the cap"
    )
    found = broken_by(case_rules.brackets_hold_the_truth, weary)
    assert found.startswith(
        f"case `anywhere(seed)`, {case_rules.SEEDS} seeds: "
        "found no bracket for the cliffs of seeds [0"
    )


def test_rules_have_the_names_of_what_they_look_for() -> None:
    def is_polite(campaign: object, decision: object) -> None:
        """It says please."""

    rule = case_rules.every_decision(is_polite)
    assert (rule.__name__, rule.__doc__) == ("is_polite", "It says please.")
