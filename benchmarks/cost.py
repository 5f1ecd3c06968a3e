"""What a decision and a simulated campaign cost in processor time, and how that grows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.layout import Column, Table, Value
from benchmarks.study import Case, Sampled, Study

_GRID_STEP = 1.1 ** (1 / 4)  # of a ladder at a resolution of 10 %
_ARMS = (100, 200, 400, 800)
_TAUS = (0.05, 0.01, 0.001)
_FAMILIES = ("cliff", "width-0.1")
_DECISION_MS = 1.0  # median at 400 arms
_CAMPAIGN_MS = 300.0  # the 1 % cliff


def by_steps(study: Study, runs: int) -> Table:
    """Longer ladders: the 1 % SLO with 100 to 800 severities."""
    cases = [
        Case(family, 0.01, harsh=_GRID_STEP**arms) for family in _FAMILIES for arms in _ARMS
    ]  # fmt: skip
    study.simulate("cost by steps", [(case, runs) for case in cases])
    rows = [_row(case, study.of(case, runs)) for case in cases]
    notes = [
        f"{family}: a decision costs steps^{_exponent(rows, family, 'arms', 'decision_ms'):.2f}, "
        f"a campaign steps^{_exponent(rows, family, 'arms', 'campaign_ms'):.2f}"
        for family in _FAMILIES
    ]
    return Table("5a", "processor time, by steps of the ladder", _COLUMNS, rows, notes)


def by_samples(study: Study, runs: int) -> Table:
    """Longer campaigns: stricter objectives on one ladder."""
    cases = [Case(family, tau) for family in _FAMILIES for tau in _TAUS]
    study.simulate("cost by samples", [(case, runs) for case in cases])
    rows = [_row(case, study.of(case, runs)) for case in cases]
    notes = [
        f"{family}: a campaign costs samples^"
        f"{_exponent(rows, family, 'samples', 'campaign_ms'):.2f}"
        for family in _FAMILIES
    ]
    return Table("5b", "processor time, by samples", _COLUMNS, rows, notes)


def _row(case: Case, found: Sequence[Sampled]) -> dict[str, Value]:
    decisions_ms = 1e3 * np.concatenate([one.decide_s for one in found])
    arms = found[0].arms
    at_goal = abs(arms - 400) < 20
    campaign = case.family == "cliff" and case.tau == 0.01 and at_goal
    return {
        "objective": 1.0 - case.tau,
        "family": case.family,
        "arms": arms,
        "runs": len(found),
        "samples": float(np.median([one.samples for one in found])),
        "decisions": float(np.median([len(one.decide_s) for one in found])),
        "decision_ms": float(np.median(decisions_ms)),
        "decision_ms_p99": float(np.quantile(decisions_ms, 0.99)),
        "decision_goal_ms": _DECISION_MS if at_goal else None,
        "campaign_ms": 1e3 * float(np.median([one.cpu_s for one in found])),
        "campaign_goal_ms": _CAMPAIGN_MS if campaign else None,
    }


def _exponent(rows: Sequence[dict[str, Value]], family: str, over: str, of: str) -> float:
    """Slope of log cost over log size; linear growth is 1."""
    own = [row for row in rows if row["family"] == family]
    x, y = (np.log(np.asarray([row[name] for row in own], dtype=float)) for name in (over, of))
    return float(np.polyfit(x, y, 1)[0])


_COLUMNS = (
    Column("objective", "objective", ".1%"),
    Column("family", "family"),
    Column("arms", "steps", "d"),
    Column("runs", "runs", "d"),
    Column("samples", "median samples", ",.0f"),
    Column("decisions", "decisions", ".0f"),
    Column("decision_ms", "decision ms", ".2f", "decision_goal_ms"),
    Column("decision_ms_p99", "p99", ".2f"),
    Column("campaign_ms", "campaign ms", ".0f", "campaign_goal_ms"),
)
