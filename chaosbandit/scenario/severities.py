"""Severities outside of a ladder, `2s` or `> 10%`: in the unit of the first dose that reads them.

Readers as those of `quantities`; whether an amount fits a ladder is checked later.
"""

from __future__ import annotations

from typing import Annotated

from chaosbandit.core import doses
from chaosbandit.scenario import value_types as f
from chaosbandit.scenario.doses import LADDERS
from chaosbandit.scenario.quantities import Amount, WantedError


def amount(value: object) -> Amount:
    """A severity in the unit its writer chose."""
    for toxic, keys in LADDERS.items():
        try:
            return Amount(doses.dose(toxic).unit, keys.read(value))
        except WantedError:
            continue
    examples = " or ".join(f"{keys.example} ({toxic})" for toxic, keys in LADDERS.items())
    raise WantedError(f"a severity, such as {examples}")


def gate(value: object) -> Amount:
    """What must be held, from `> 150ms`."""
    if not isinstance(value, str) or not value.startswith(">") or value.startswith(">="):
        wanted = 'a severity to exceed, in quotes, such as "> 150ms" or "> 2%"'
        equal = isinstance(value, str) and value.startswith(">=")
        raise WantedError(wanted + (" (without `=`)" if equal else ""))
    return amount(value[1:].strip())


_PATTERN = f.or_variable("|".join(keys.pattern for keys in LADDERS.values()))
_BARE = any(keys.bare for keys in LADDERS.values())

Severity = Annotated[
    Amount | None, f.reads(amount), f.either(f.FRACTION, _PATTERN) if _BARE else f.text(_PATTERN)
]
Gate = Annotated[Amount, f.reads(gate), f.text(f.or_variable(r"^>[^=]"))]
