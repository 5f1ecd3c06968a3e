"""Corners: the campaigns made by hand are what they are meant to be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.model import Decision, Stop
from chaosbandit.core.policies import policy
from chaosbandit.sim import corners
from tests.sim.broken import Broken, honest, instead, look

Decide = Callable[[Campaign], Decision]


def keeping(seen: list[Campaign], decide: Decide) -> Broken:
    """A policy that keeps what it is asked."""

    def kept(campaign: Campaign) -> Decision:
        seen.append(campaign)
        return decide(campaign)

    return instead(lambda campaign: True, kept)


def test_void_exposures_leave_no_samples_at_any_arm() -> None:
    seen: list[Campaign] = []
    corners.starts_anew_after_void_exposures(keeping(seen, lambda campaign: look(campaign, 0)))
    assert [len(campaign.exposures) for campaign in seen] == [0, 1, 2]
    assert [campaign.highest_exposed for campaign in seen] == [None, 0, 0]
    assert not any(arm.samples for campaign in seen for arm in campaign.arms)
    assert seen[-1].standing is None and seen[-1].current is None


def test_contradicting_evidence_leaves_no_breaking_point() -> None:
    seen: list[Campaign] = []
    corners.gives_up_when_nothing_fits(keeping(seen, lambda campaign: Stop("it cannot be")))
    (campaign,) = seen
    assert campaign.certificate.empty and campaign.one_sided.empty
    assert [exposure.arm for exposure in campaign.exposures] == [50, 20]


def test_quickness_is_measured_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corners, "SLOWEST_S", 1e-9)
    with pytest.raises(AssertionError, match=r"^found [0-9.]+ ms a decision \(median\), wanted"):
        corners.decides_quickly(policy("certify"))
    monkeypatch.setattr(corners, "SLOWEST_S", 10.0)
    corners.decides_quickly(Broken(honest))
