"""the campaigns made by hand are what they are meant to be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chaosbandit.core.climb import Climb
from chaosbandit.core.model import Decision, Stop
from chaosbandit.core.policies import policy
from chaosbandit.sim.conformance import handmade_rules
from tests.sim.conformance.broken import Broken, honest, instead, look

Decide = Callable[[Climb], Decision]


def keeping(seen: list[Climb], decide: Decide) -> Broken:
    """A policy that keeps what it is asked."""

    def kept(climb: Climb) -> Decision:
        seen.append(climb)
        return decide(climb)

    return instead(lambda climb: True, kept)


def test_void_exposures_leave_no_samples_at_any_arm() -> None:
    seen: list[Climb] = []
    handmade_rules.starts_anew_after_void_exposures(keeping(seen, lambda climb: look(climb, 0)))
    assert [len(climb.exposures) for climb in seen] == [0, 1, 2]
    assert [climb.highest_exposed for climb in seen] == [None, 0, 0]
    assert not any(arm.samples for climb in seen for arm in climb.arms)
    assert seen[-1].standing is None and seen[-1].current is None


def test_contradicting_evidence_leaves_no_breaking_point() -> None:
    seen: list[Climb] = []
    handmade_rules.gives_up_when_nothing_fits(keeping(seen, lambda climb: Stop("it cannot be")))
    (climb,) = seen
    assert climb.certificate.empty
    assert [exposure.arm for exposure in climb.exposures] == [50, 20]


def test_quickness_is_measured_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handmade_rules, "SLOWEST_S", 1e-9)
    with pytest.raises(AssertionError, match=r"^found [0-9.]+ ms a decision \(median\), wanted"):
        handmade_rules.decides_quickly(policy("certify"))
    monkeypatch.setattr(handmade_rules, "SLOWEST_S", 10.0)
    handmade_rules.decides_quickly(Broken(honest))
