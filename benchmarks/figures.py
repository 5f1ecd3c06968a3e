"""The tables of the search: samples, bad samples and exposures, against the limit and the rivals.

Each function names the campaigns it needs, has them simulated, and makes rows of them. Goals are
those of the project's statistics; a figure that misses its own is marked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.families import EDGES, FAMILIES
from benchmarks.layout import Column, Table, Value, spread_columns
from benchmarks.study import DELTA, Case, Sampled, Study, spread
from chaosbandit.core.policies import names
from chaosbandit.core.scenario import Search
from chaosbandit.plan.intervals import of_share
from chaosbandit.sim.simulated_campaign import RATE_PER_S

TAUS = (0.05, 0.01, 0.001)
SETUP_S = 2.0
HOLD_S = Search().hold_s
_EXPOSURES = 25.0  # on the 1 % cliff with that set-up
_CLIFF_BAD = 8.0
_NEVER_BREAKS = 720.0  # samples
_PATIENCE = 200  # bad samples at tau until an edge that has no answer gives up
_POLICIES = ("certify", "bisect_sequential", "bisect", "ramp", "thompson")
_RIVALS_ON = (("cliff", 0.01), ("soft", 0.01), ("width-0.3", 0.01), ("cliff", 0.05))
_TESTS = 27  # one sequential test an arm, from 1 to 10,000
_FEWER_SAMPLES, _FEWER_BAD = 10.0, 1.5  # expected of cliffs, against the fair rival

_LIMIT_GOALS: dict[float, dict[str, float]] = {  # mean samples / limit
    0.05: {"cliff": 1.6, "soft": 2.4},
    0.01: {"cliff": 1.3, "soft": 1.65, "plateau": 1.5, "two-steps": 2.3, "retry-storm": 2.5,
           "width-0.1": 2.0, "width-0.3": 1.8},
    0.001: {"two-steps": 2.6},
}  # fmt: skip


def families(study: Study, runs: Mapping[float, int]) -> Table:
    """What the default policy needs, on every family at every objective."""
    cases = [Case(family, tau) for tau in TAUS for family in FAMILIES]
    study.simulate("families", [(case, runs[case.tau]) for case in cases])
    rows: list[dict[str, Value]] = []
    for case in cases:
        found = study.of(case, runs[case.tau])
        cliff = (case.family, case.tau) == ("cliff", 0.01)
        limits = {
            "limit": float(np.mean([one.limit for one in found])),
            "mean_to_limit": float(np.mean([one.samples / one.limit for one in found])),
            "median_to_limit": float(np.median([one.samples / one.limit for one in found])),
            "goal": _LIMIT_GOALS[case.tau].get(case.family),
            "mean_to_wald": total(found, "samples") / sum(one.wald for one in found),
            "bad_goal": _CLIFF_BAD if cliff else None,
        }
        rows.append({**named(case), **limits, **_costs(found), **claims(found)})
    columns = (
        *NAMED,
        Column("runs", "runs", "d"),
        Column("limit", "limit", ",.0f"),
        Column("mean_to_limit", "mean/limit", ".2f", "goal"),
        Column("median_to_limit", "median/limit", ".2f"),
        *spread_columns("samples", "samples", ",.0f"),
        Column("mean_to_wald", "mean/Wald", ".2f"),
        Column("bad_mean", "bad mean", ".1f", "bad_goal"),
        *spread_columns("exposures", "exposures", ".1f"),
        *CLAIMS,
    )
    notes = (
        "limit: samples that no method can beat on average; a median may be below it.",
        "Wald: his test with both bad ratios known, at the best pair of severities.",
    )
    return Table("1", "certify, by family and objective", columns, rows, notes)


def moving(study: Study, runs: int) -> Table:
    """The price of exposures: how many there are when each costs time, and what that saves."""
    on = [("cliff", tau) for tau in TAUS] + [("soft", 0.01), ("width-0.3", 0.01)]
    pairs = [(Case(family, tau, setup_s=SETUP_S), Case(family, tau)) for family, tau in on]
    held = Case("cliff", 0.01, setup_s=SETUP_S, hold_s=HOLD_S)
    pairs.append((held, replace(held, setup_s=0.0)))
    study.simulate("moving costs", [(case, runs) for pair in pairs for case in pair])
    rows: list[dict[str, Value]] = []
    for case, free in pairs:
        found, without = study.of(case, runs), study.of(free, runs)
        ratios = {
            "samples_to_free": total(found, "samples") / total(without, "samples"),
            "minutes": _minutes(found),
            "minutes_blind": _minutes(without),
            "hold_s": case.hold_s,
            "goal": _EXPOSURES if (case.family, case.tau) == ("cliff", 0.01) else None,
        }
        rows.append({**named(case), **_costs(found), **claims(found), **ratios})
    columns = (
        *NAMED,
        Column("hold_s", "hold s", "g"),
        Column("runs", "runs", "d"),
        *spread_columns("exposures", "exposures", ".1f", lambda _: "goal"),
        *spread_columns("samples", "samples", ",.0f"),
        Column("samples_to_free", "samples/free", ".2f"),
        Column("minutes", "minutes", ".1f"),
        Column("minutes_blind", "if blind", ".1f"),
        *CLAIMS,
    )
    notes = (
        "free: the same campaigns without set-up; if blind: the minutes these would have taken.",
    )
    title = f"certify, when an exposure takes {SETUP_S:g} s to set up, at {RATE_PER_S:g} samples/s"
    return Table("2", title, columns, rows, notes)


def rivals(study: Study, runs: int) -> Table:
    """Every policy on the same targets."""
    known = [policy for policy in _POLICIES if policy in names()]
    cases = [
        Case(family, tau, policy, delta=delta)
        for family, tau in _RIVALS_ON
        for policy in known
        for delta in ((DELTA, DELTA / _TESTS) if policy == "bisect_sequential" else (DELTA,))
    ]
    study.simulate("rivals", [(case, runs) for case in cases])
    rows: list[dict[str, Value]] = []
    for case in cases:
        found, ours = study.of(case, runs), study.of(Case(case.family, case.tau), runs)
        ratios = {
            f"{name}_ratio": total(found, name) / total(ours, name)
            for name in ("samples", "bad", "exposures")
        }
        middle, our_middle = (np.median([one.samples for one in each]) for each in (found, ours))
        ratios["samples_median_ratio"] = float(middle / our_middle)
        rows.append(
            {
                **named(case),
                "policy": _policy_name(case),
                **_costs(found),
                **claims(found),
                **ratios,
            }
        )
    columns = (
        *NAMED,
        Column("policy", "policy"),
        Column("runs", "runs", "d"),
        *spread_columns("samples", "samples", ",.0f"),
        *spread_columns("bad", "bad", ",.1f"),
        *spread_columns("exposures", "exposures", ",.1f"),
        Column("samples_ratio", "samples x", ".1f"),
        Column("samples_median_ratio", "median x", ".1f"),
        Column("bad_ratio", "bad x", ".1f"),
        Column("exposures_ratio", "exposures x", ".1f"),
        *CLAIMS,
    )
    notes = (
        "x: mean over the mean of certify; median x: median samples over its median. Expected of",
        f"bisect_sequential on cliffs: at least {_FEWER_SAMPLES:g} x the samples, "
        f"{_FEWER_BAD:g} x the bad ones.",
        "bisect_sequential rests on the joint certificate, as certify does. `split delta`: without "
        f"it, its {_TESTS} tests",
        "(24 to climb 1..10,000 by 1.5, 3 to halve such a step down to 10 %) share delta out.",
    )
    return Table("3", "the policies on the same targets", columns, rows, notes)


def _policy_name(case: Case) -> str:
    return case.policy if case.delta == DELTA else f"{case.policy}, split delta"


def edges(study: Study, runs: int) -> Table:
    """Targets without a breaking point on the ladder: what is claimed of them."""
    cases = [
        Case(family, tau, max_samples=round(_PATIENCE / tau)) for tau in TAUS for family in EDGES
    ]
    study.simulate("edges", [(case, runs) for case in cases])
    rows: list[dict[str, Value]] = []
    for case in cases:
        found = study.of(case, runs)
        shares: dict[str, Value] = {}
        for name in ("closed", "held", "broke"):
            hits = sum(getattr(one, name) for one in found)
            shares |= {name: hits, f"{name}_at_most": of_share(hits, runs)[1]}
        never = (case.family, case.tau) == ("A/A", 0.01)
        shares["goal"] = _NEVER_BREAKS if never else None
        rows.append({**named(case), **_costs(found), **claims(found), **shares})
    columns = (
        *NAMED,
        Column("runs", "runs", "d"),
        Column("samples_mean", "samples mean", ",.0f", "goal"),
        Column("samples_median", "median", ",.0f"),
        Column("closed", "brackets", "d"),
        Column("closed_at_most", "at most", ".2%"),
        Column("held", "some held", "d"),
        Column("broke", "some broke", "d"),
        *CLAIMS,
    )
    notes = (
        f"Up to {_PATIENCE:g} / tau samples each. Brackets must be at most {DELTA:.0%} everywhere;",
        "where p is exactly tau neither side is false, but each must be claimed as rarely.",
    )
    return Table("4", "certify, where there is no breaking point to find", columns, rows, notes)


def total(found: Sequence[Sampled], name: str) -> float:
    """Of one figure, over all campaigns."""
    return float(sum(getattr(one, name) for one in found))


def _minutes(found: Sequence[Sampled]) -> float:
    seconds = total(found, "samples") / RATE_PER_S + SETUP_S * total(found, "exposures")
    return seconds / 60.0 / len(found)


def named(case: Case) -> dict[str, Value]:
    """Columns of `NAMED`."""
    return {"objective": 1.0 - case.tau, "family": case.family}


def _costs(found: Sequence[Sampled]) -> dict[str, Value]:
    return {
        "runs": len(found),
        "processor_s": total(found, "cpu_s"),
        **spread("samples", [one.samples for one in found]),
        **spread("bad", [one.bad for one in found]),
        **spread("exposures", [one.exposures for one in found]),
    }


def claims(found: Sequence[Sampled]) -> dict[str, Value]:
    """Columns of `CLAIMS`: what was not answered, and what was claimed wrongly, exactly bounded."""
    wrong = sum(one.wrong for one in found)
    low, high = of_share(wrong, len(found))
    return {
        "unanswered": sum(not one.answered for one in found),
        "wrong": wrong,
        "wrong_share": wrong / len(found),
        "wrong_at_least": low,
        "wrong_at_most": high,
        "delta": DELTA,
    }


NAMED = (Column("objective", "objective", ".1%"), Column("family", "family"))
CLAIMS = (
    Column("unanswered", "unanswered", "d"),
    Column("wrong", "wrong", "d"),
    Column("wrong_at_least", "from", ".1%"),
    Column("wrong_at_most", "to", ".1%"),
)
