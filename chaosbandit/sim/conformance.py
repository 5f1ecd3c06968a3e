"""What any policy must pass, whoever wrote it: seeded rules, each saying what it found and wanted.

    @pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
    def test_it_conforms(rule):
        rule(MyPolicy())

or `check(MyPolicy())`, or `python -m chaosbandit.sim.conformance mypackage.mine:MyPolicy`. A broken
rule names the course, the seed and the decision; `chaosbandit.sim.watching.walk` goes there again.
How good a policy is, this does not say: `chaosbandit.sim.simulate` does.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chaosbandit.core.policies import Policy, policy
from chaosbandit.errors import UsageError
from chaosbandit.sim import corners, rules
from chaosbandit.sim.manners import MANNERS
from chaosbandit.sim.rules import Rule

RULES: tuple[Rule, ...] = (
    rules.has_a_name,
    *(rules.every_decision(manner) for manner in MANNERS),
    rules.comes_to_an_end,
    rules.repeats_itself,
    rules.leaves_the_campaign_alone,
    rules.stays_stopped,
    rules.extends_what_stands,
    rules.survives_requests_in_flight,
    rules.brackets_a_cliff,
    rules.holds_at_the_cap,
    rules.breaks_at_the_mildest,
    rules.admits_not_to_know,
    rules.keeps_to_the_budget,
    rules.claims_nothing_at_the_objective,
    rules.brackets_hold_the_truth,
    corners.starts_anew_after_void_exposures,
    corners.gives_up_when_nothing_fits,
    corners.decides_quickly,
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


def main(arguments: Sequence[str]) -> int:
    """Check the one policy that is named; the exit code is 0 when it keeps to all rules."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("usage: python -m chaosbandit.sim.conformance NAME | MODULE:POLICY\n")
        return 2
    try:
        violations = check(_named(arguments[0]))
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.writelines(f"{violation}\n" for violation in violations)
    sys.stdout.write(f"{len(RULES) - len(violations)} of {len(RULES)} rules kept\n")
    return 1 if violations else 0


def _named(text: str) -> Policy:
    """A policy by its name, or the class or object at `module:attribute`."""
    module, colon, attribute = text.partition(":")
    if not colon:
        return policy(text)
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), attribute)
        made: Policy = found() if isinstance(found, type) else found
    except Exception as error:  # whatever a stranger's module raises
        raise UsageError(
            f"{text}: found {type(error).__name__}: {error}, wanted a policy"
        ) from error
    return made


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
