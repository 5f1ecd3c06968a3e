"""What any policy must pass, whoever wrote it: seeded rules, each saying what it found and wanted.

    @pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
    def test_it_conforms(rule):
        rule(MyPolicy())

or `check(MyPolicy())`, or `python -m chaosbandit.sim.conformance mypackage.mine:MyPolicy`. A broken
rule names the case, the seed and the decision; `recording.record` goes there again. How good a
policy is, this does not say: `chaosbandit.sim.simulate` does.
"""

from __future__ import annotations

from dataclasses import dataclass

from chaosbandit.core.policies import Policy
from chaosbandit.sim.conformance import case_rules, handmade_rules
from chaosbandit.sim.conformance.case_rules import Rule
from chaosbandit.sim.conformance.decision_rules import DECISION_RULES

RULES: tuple[Rule, ...] = (
    case_rules.has_a_name,
    *(case_rules.every_decision(check) for check in DECISION_RULES),
    case_rules.comes_to_an_end,
    case_rules.repeats_itself,
    case_rules.leaves_the_campaign_alone,
    case_rules.stays_stopped,
    case_rules.extends_what_stands,
    case_rules.survives_requests_in_flight,
    case_rules.brackets_a_cliff,
    case_rules.holds_at_the_cap,
    case_rules.breaks_at_the_mildest,
    case_rules.admits_not_to_know,
    case_rules.keeps_to_the_budget,
    case_rules.claims_nothing_at_the_objective,
    case_rules.brackets_hold_the_truth,
    handmade_rules.starts_anew_after_void_exposures,
    handmade_rules.gives_up_when_nothing_fits,
    handmade_rules.decides_quickly,
)
"""Each raises AssertionError with a sentence where a policy does not keep to it."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that a policy broke, and how."""

    rule: str
    found: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.found}"


def check(policy: Policy) -> list[Violation]:
    """All rules that a policy breaks; some seconds."""
    violations = []
    for rule in RULES:
        try:
            rule(policy)
        except AssertionError as broken:
            violations.append(Violation(rule.__name__, str(broken)))
        except Exception as error:  # of the policy, where a rule asks it directly
            raised = f"found {type(error).__name__}: {error}, wanted a decision"
            violations.append(Violation(rule.__name__, raised))
    return violations
