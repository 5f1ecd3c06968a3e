"""What is certified when samples are short, and what a gate costs that asks for no bracket."""

from __future__ import annotations

from dataclasses import replace
from statistics import mean, median

import numpy as np

from benchmarks.families import response_of
from benchmarks.figures import CLAIMS, NAMED, claims, named
from benchmarks.layout import Column, Table, Value
from benchmarks.study import DELTA, Case, Study
from benchmarks.yardsticks import wald_at
from chaosbandit.core.scenario import BRACKET, GATE

_BUDGETS = (200, 500, 1000, 3000)  # samples
_SHORT = 1000.0  # harshest severity where p is the severity: 100 %
# Runs with both sides certified by the first version, which knew the resolution or nothing.
_BEFORE: dict[tuple[str, float], tuple[float, ...]] = {
    ("cliff", 0.01): (0.0, 0.57, 0.95, 1.0),
    ("soft", 0.01): (0.0, 0.10, 0.92, 1.0),
    ("width-0.1", 0.01): (0.0, 0.0, 0.0, 0.02),
    ("width-0.3", 0.01): (0.0, 0.0, 0.0, 0.0),
    ("p = severity", 0.05): (0.0, 0.0, 0.0, 0.0),
}
_BOUND = 100.0
_GATES = (  # family and its breaking point, as a share of the bound
    ("A/A", 1.0),
    ("half of tau", 1.0),
    ("cliff", 0.5),
    ("cliff", 0.95),
    ("soft", 0.5),
    ("three times tau", 0.5),
    ("width-0.1", 0.8),
)


def affordable(study: Study, runs: int) -> Table:
    """Brackets by samples that may be spent."""
    cases = [
        (Case(family, tau, max_samples=most, harsh=_harsh(family)), share)
        for (family, tau), shares in _BEFORE.items()
        for most, share in zip(_BUDGETS, shares, strict=True)
    ]
    study.simulate("affordable", [(case, runs) for case, _ in cases])
    rows: list[dict[str, Value]] = []
    for case, before in cases:
        found = study.of(case, runs)
        widths = [one.width for one in found if one.width is not None]
        rows.append(
            {
                **named(case),
                "most": case.max_samples,
                "runs": runs,
                "two_before": before,
                "two": len(widths) / runs,
                "width": median(widths) if widths else None,
                "one": sum(one.sides == 1 for one in found) / runs,
                **claims(found),
            }
        )
    columns = (
        *NAMED,
        Column("most", "samples", ",d"),
        Column("runs", "runs", "d"),
        Column("two_before", "first version", ".0%"),
        Column("two", "both sides", ".0%"),
        Column("width", "median width", ".0%"),
        Column("one", "one side only", ".0%"),
        *CLAIMS[1:],
    )
    notes = (
        "first version: runs with both sides certified. At 99 % and 95 % confidence nothing holds",
        "with fewer than 299 good samples.",
    )
    return Table("8", "what is certified when samples are short", columns, rows, notes)


def _harsh(family: str) -> float:
    return _SHORT if family == "p = severity" else 10_000.0


def gates(study: Study, runs: int) -> Table:
    """`search.stop: gate` and a bracket, on targets on both sides of the bound."""
    pairs = []
    for family, share in _GATES:
        gate = Case(family, 0.01, at=share * _BOUND, required=_BOUND, stop=GATE)
        pairs.append((share, gate, replace(gate, stop=BRACKET)))
    study.simulate("gates", [(case, runs) for _, *both in pairs for case in both])
    rng, rows = np.random.default_rng([study.seed, 9]), list[dict[str, Value]]()
    for share, case, bracket in pairs:
        found, whole = study.of(case, runs), study.of(bracket, runs)
        (p,) = response_of(case.family, share * _BOUND, case.tau)(_BOUND)
        rows.append(
            {
                "family": case.family,
                "share": share if p > case.tau else None,
                "runs": runs,
                "wald": wald_at(p, case.tau, DELTA, rng),
                "bracket": mean(one.samples for one in whole),
                "samples": mean(one.samples for one in found),
                "bad": mean(one.bad for one in found),
                "exposures": mean(one.exposures for one in found),
                **claims(found),
            }
        )
    columns = (
        Column("family", "family"),
        Column("share", "breaks at", ".0%"),
        Column("runs", "runs", "d"),
        Column("wald", "Wald", ",.0f"),
        Column("bracket", "bracket", ",.0f"),
        Column("samples", "gate", ",.0f"),
        Column("bad", "bad", ".1f"),
        Column("exposures", "exposures", ".1f"),
        *CLAIMS,
    )
    notes = (
        "Mean samples. breaks at: share of the bound; -: it holds there. Wald: his test at the",
        "bound alone, its ratio known. bracket: the same targets with `search.stop: bracket`.",
    )
    return Table("9", f"gates at {_BOUND:g}, 99 %", columns, rows, notes)
