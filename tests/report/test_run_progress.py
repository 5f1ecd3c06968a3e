from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chaosbandit.core.events import BlockRaised, Decided, EvidenceExpired, Observed
from chaosbandit.core.model import Phase, Purpose, Route
from chaosbandit.report.run_progress import Scene, Stage, watch

if TYPE_CHECKING:
    from tests.report.conftest import Tell


def scenes(tell: Tell, story: str) -> list[Scene]:
    scene, seen = Scene(), []
    for event, campaign in tell(story).moments:
        scene = watch(scene, event, campaign)
        seen.append(scene)
    return seen


def test_the_stages_of_a_run_in_order(tell: Tell) -> None:
    stages = list(dict.fromkeys(scene.stage for scene in scenes(tell, "answered")))
    assert stages == [
        Stage.STEADY,
        Stage.CHOOSING,
        Stage.INJECTING,
        Stage.WARMING_UP,
        Stage.MEASURING,
        Stage.DRAINING,
        Stage.WASHING_OUT,
        Stage.CLEANING,
        Stage.ENDED,
    ]


def test_samples_of_the_decision_are_counted(tell: Tell) -> None:
    fullest = [scene for scene in scenes(tell, "answered") if scene.stage is Stage.DRAINING]
    assert [(scene.wanted, scene.seen, scene.bad) for scene in fullest] == [
        (20, 20, 0),
        (80, 80, 0),
        (12, 12, 12),
    ]
    assert [scene.purpose for scene in fullest] == [Purpose.SEARCH, Purpose.HELD, Purpose.BROKE]
    assert [scene.exposure for scene in fullest] == [1, 2, 3]


def test_a_hold_shows_how_long_it_has_stood(tell: Tell) -> None:
    holding = [scene for scene in scenes(tell, "holding") if scene.stage is Stage.HOLDING]
    assert holding[-1].purpose is Purpose.HOLD
    assert holding[-1].stood_s == pytest.approx(3.58)
    assert [scene.stood_s for scene in holding] == sorted(scene.stood_s for scene in holding)


def test_longer_blocks_change_nothing_on_the_screen(tell: Tell) -> None:
    scene, campaign = Scene(Stage.CHOOSING, exposure=3), tell("answered").campaign
    assert watch(scene, BlockRaised(24, 6, 101.0), campaign) == scene


def test_expired_evidence_changes_nothing_on_the_screen(tell: Tell) -> None:
    scene, campaign = Scene(Stage.CHOOSING, exposure=3), tell("answered").campaign
    assert watch(scene, EvidenceExpired("old", 101.0), campaign) == scene


def test_control_samples_do_not_count(tell: Tell) -> None:
    event, campaign = next(
        (event, campaign)
        for event, campaign in tell("answered").moments
        if isinstance(event, Observed) and event.samples[0].route is Route.CONTROL
    )
    assert watch(Scene(Stage.STEADY), event, campaign).seen == 0


def test_late_answers_to_an_earlier_batch_do_not_count(tell: Tell) -> None:
    event, campaign = next(
        (event, campaign)
        for event, campaign in tell("answered").moments
        if isinstance(event, Observed) and event.phase is Phase.MEASURE
    )
    later = Scene(Stage.MEASURING, wanted=10, seen=4, decision=99)
    assert watch(later, event, campaign) == later


def test_an_extension_starts_its_own_count(tell: Tell) -> None:
    event, campaign = next(
        (event, campaign)
        for event, campaign in tell("answered").moments
        if isinstance(event, Decided)
    )
    scene = watch(Scene(Stage.DRAINING, exposure=1, wanted=10, seen=10, bad=1), event, campaign)
    assert (scene.exposure, scene.wanted, scene.seen, scene.bad) == (1, 20, 0, 0)
    assert scene.why == "halves the gap"
