"""What any policy must pass, whoever wrote it; `suite` says how to run it."""

from chaosbandit.sim.conformance.suite import RULES, Violation, check

__all__ = ["RULES", "Violation", "check"]
