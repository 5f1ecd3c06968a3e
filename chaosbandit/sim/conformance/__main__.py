"""`python -m chaosbandit.sim.conformance NAME | MODULE:POLICY`: one policy against every rule."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from chaosbandit.core.policies import Policy, policy
from chaosbandit.errors import UsageError
from chaosbandit.sim.conformance.suite import RULES, check


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
            f"{type(error).__name__}: {error}", wanted="a policy", where=text
        ) from error
    return made


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
