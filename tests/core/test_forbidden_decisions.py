"""What no policy may decide: single decisions, then whole runs of policies of others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator

from chaosbandit.core.campaign import apply
from chaosbandit.core.climb import Climb
from chaosbandit.core.events import Decided, ExposureStarted, Stopped
from chaosbandit.core.forbidden_decisions import (
    ALLOWED,
    answers_only_what_is_certified,
    asks_for_samples,
    bets_on_the_side_it_names,
    climbs_by_the_escalation_factor,
    refused,
    stays_under_the_cap,
)
from chaosbandit.core.model import Cause, Decision, Expose, Purpose, Stop
from chaosbandit.core.policies import names, policy
from chaosbandit.core.replay import decide, opening, replay
from chaosbandit.errors import Exit, PolicyError
from tests.policy_steps import batch, fold, opened, seen
from tests.simulated import Heard, cliff, header, run, scenario, world

NAN = float("nan")


@pytest.mark.parametrize(
    ("purpose", "bets", "fits"),
    [
        (Purpose.SEARCH, (), True),
        (Purpose.SEARCH, (0.01,), False),
        (Purpose.HELD, (0.049,), True),
        (Purpose.HELD, (0.05,), False),
        (Purpose.HELD, (0.0,), False),
        (Purpose.HELD, (), False),
        (Purpose.HELD, (float("nan"),), False),
        (Purpose.HELD, [0.01], False),
        (Purpose.BROKE, (0.051,), True),
        (Purpose.BROKE, (0.05,), False),
        (Purpose.BROKE, (1.0,), False),
        (Purpose.BROKE, (0.2, 0.2), False),
    ],
)
def test_bets_are_on_the_side_they_name(purpose: Purpose, bets: Any, fits: bool) -> None:
    climb = opened()
    found = bets_on_the_side_it_names(climb, batch(climb, purpose=purpose, bets=bets))
    assert (found is None) == fits, found


def test_samples_are_plain_numbers_a_journal_can_hold() -> None:
    climb = opened()
    assert asks_for_samples(climb, batch(climb, stop_after_bad=1)) is None
    for odd in ({"samples": 0}, {"samples": 2.0}, {"samples": np.int64(5)}, {"stop_after_bad": 0}):
        assert asks_for_samples(climb, batch(climb, **odd)) is not None, odd


def test_how_far_it_may_climb_depends_on_what_was_seen_to_hold() -> None:
    climb = seen(opened(), 0, 8)
    severities = climb.ladder.severities
    highest = max(arm for arm, severity in enumerate(severities) if severity <= 1.5)
    assert climbs_by_the_escalation_factor(climb, batch(climb, highest)) is None
    found = climbs_by_the_escalation_factor(climb, batch(climb, highest + 1))
    wanted = f"wanted at most arm {highest}: the highest seen to hold is arm 0"
    assert found == f"found arm {highest + 1}, {wanted}"
    broken = seen(opened(), 0, 0, bad=8)
    found = climbs_by_the_escalation_factor(broken, batch(broken, 1))
    assert found == "found arm 1, wanted at most arm 0: no arm was seen to hold"


def test_an_arm_that_broke_does_not_carry_the_climb() -> None:
    for bad, carries in ((0, True), (5, False)):
        climb = seen(seen(opened(), 0, 8), 17, 8 - bad, bad)
        assert climbs_by_the_escalation_factor(climb, batch(climb, 17)) is None
        found = climbs_by_the_escalation_factor(climb, batch(climb, 34))
        assert (found is None) == carries, found


def test_the_cap_counts() -> None:
    climb = opened(cap=1.05)
    assert stays_under_the_cap(climb, batch(climb, 2)) is None
    assert "wanted at most arm 2" in (stays_under_the_cap(climb, batch(climb, 3)) or "")
    none = opened(cap=0.5)
    assert "wanted a Stop: every arm" in (stays_under_the_cap(none, batch(none)) or "")


def test_an_answer_needs_certificates() -> None:
    climb = seen(opened(), 0, 500)
    assert answers_only_what_is_certified(climb, Stop("held", True, Cause.HELD_AT_CAP)) is not None
    assert answers_only_what_is_certified(climb, Stop("do not know")) is None
    sick = batch(climb, purpose=Purpose.BROKE, bets=(0.5,), samples=9)
    broken = fold(climb, sick, np.ones((9, 1), dtype=np.bool_))
    assert (
        answers_only_what_is_certified(broken, Stop("broke", True, Cause.BROKE_AT_MILDEST)) is None
    )
    wrong = answers_only_what_is_certified(broken, Stop("broke", True, Cause.BRACKETED))
    assert wrong == "found an answer with the cause BRACKETED, wanted BROKE_AT_MILDEST"


@pytest.mark.parametrize(
    ("decision", "found"),
    [
        (None, "found None, wanted an Expose, or a Stop with a reason"),
        (Stop(""), "wanted an Expose, or a Stop with a reason"),
        (Stop("?", True), "found an answer with the cause <Cause.INCONCLUSIVE"),
        (Stop("?", False, Cause.BRACKETED), "found a Stop without an answer with the cause"),
        (Stop("?", cause=Cause.INTERRUPTED), "wanted one of INCONCLUSIVE, ASSUMPTIONS, CAPPED"),
        (Stop("?", cause=Cause.FROZEN), "wanted one of INCONCLUSIVE"),
    ],
)
def test_a_stop_is_for_what_a_policy_can_know(decision: Any, found: str) -> None:
    assert found in (refused(opened(), decision) or "")


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"purpose": Purpose.HOLD}, "found the purpose <Purpose.HOLD"),
        ({"purpose": "search"}, "found the purpose 'search'"),
        ({"variant": None}, "found the variant None"),
        ({"worth": NAN}, "found worth=nan"),
        ({"worth": float("inf")}, "found worth=inf"),
        ({"worth": 10**400}, "found worth=1000"),
        ({"stop_after_bad": NAN}, "found stop_after_bad=nan"),
        ({"samples": True}, "found samples=True"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(changes: dict[str, Any], found: str) -> None:
    climb = opened()
    assert refused(climb, batch(climb)) is None
    assert found in (refused(climb, batch(climb, **changes)) or "")


@pytest.mark.parametrize(
    "changes",
    [{"severity": 1.5}, {"severity": NAN}, {"proxy": "?"}, {"ladder": "?"}, {"arm": -1},
     {"arm": 98}, {"arm": 0.0}],
)  # fmt: skip
def test_variants_are_the_ladder_s_own(changes: dict[str, Any]) -> None:
    climb = opened()
    variant = replace(climb.ladder.variant(0), **changes)
    assert "wanted" in (refused(climb, batch(climb, variant=variant)) or "")


# --- in runs --------------------------------------------------------------------------------------


@dataclass
class Foreign:
    """`certify` until something is known, then what somebody else would say."""

    says: Callable[[Climb], Any]
    after: int = 20
    name: str = "foreign"

    def decide(self, climb: Climb, rng: Generator) -> Decision:
        if climb.spent_samples < self.after:
            return policy("certify").decide(climb, rng)
        answer: Decision = self.says(climb)
        return answer


def raising(climb: Climb) -> Decision:
    raise KeyError("of no use")


SAYS: tuple[tuple[Callable[[Climb], Any], str], ...] = (
    (lambda climb: Stop("sure", True, Cause.BRACKETED), "found an answer ('sure'), wanted none"),
    (lambda climb: batch(climb, len(climb.arms) - 1), "found arm 174, wanted at most arm"),
    (lambda climb: batch(climb, purpose=Purpose.HELD, bets=(NAN,)), "found the bet nan with HELD"),
    (lambda climb: "expose", "found 'expose', wanted an Expose, or a Stop"),
    (raising, "found KeyError: 'of no use', wanted a decision"),
)


@pytest.mark.parametrize(("says", "found"), SAYS, ids=[found for _, found in SAYS])
def test_the_engine_ends_the_run_and_names_the_policy(
    says: Callable[[Climb], Any], found: str
) -> None:
    simulated, heard = world(cliff(0.2)), Heard()
    campaign = run(scenario(), simulated, by=Foreign(says), sinks=[heard])
    assert campaign.stopped is not None and campaign.current is None
    stopped = campaign.stopped
    assert (stopped.cause, stopped.exit_code) == (Cause.POLICY, Exit.INTERNAL)
    number = len(campaign.decisions)
    assert stopped.reason.startswith(f"policy 'foreign', decision {number}: {found}")
    assert not stopped.answered and stopped.clean and simulated.severity == 0.0
    again = replay(heard.events, scenario(), Foreign(says))
    assert again.difference is None and again.campaign.stopped == stopped


@pytest.mark.parametrize(("says", "found"), SAYS, ids=[found for _, found in SAYS])
def test_a_replay_tells_it_as_a_difference(says: Callable[[Climb], Any], found: str) -> None:
    heard = Heard()
    run(scenario(), world(cliff(0.2)), sinks=[heard])
    told = replay(heard.events, scenario(), Foreign(says)).difference
    assert told is not None and "Decided: policy 'foreign', decision " in told and found in told


def test_which_ladder_it_was_about_is_said() -> None:
    two = scenario()
    two = replace(two, ladders=(two.ladder, replace(two.ladder, name="other")))
    campaign = apply(opening(two), header())
    with pytest.raises(PolicyError, match=r"policy 'foreign', decision 0 on slow: found arm 3 as"):
        decide(Foreign(lambda climb: batch(climb, 3), after=0), campaign, 0, 1.0)


def test_what_we_add_ourselves_is_not_asked_of_the_policy() -> None:
    """Holding and looking once more are decided after it, where it says that it has an answer."""
    heard = Heard()
    campaign = run(scenario(), world(cliff(0.2)), sinks=[heard])
    purposes = [each.decision.purpose for each in heard.of(Decided)
                if isinstance(each.decision, Expose)]  # fmt: skip
    assert Purpose.HOLD in purposes
    assert campaign.stopped is not None and campaign.stopped.answered
    assert len(heard.of(ExposureStarted)) > 2 and heard.of(Stopped)


@pytest.mark.parametrize("name", names())
def test_ours_never_say_it(name: str) -> None:
    """Also not on a smooth curve, in which arms are hard to tell."""
    for seed in range(3):
        asked = scenario(search=replace(scenario().search, policy=name, max_samples=1500))
        smooth = world(lambda severity: min(0.9, severity * 0.05), seed)
        campaign = run(asked, smooth, seed=seed)
        assert campaign.stopped is not None
        assert campaign.stopped.cause is not Cause.POLICY, campaign.stopped


OPTIMISED = """
from chaosbandit.core.model import Purpose
from chaosbandit.errors import PolicyError
from chaosbandit.sim import simulate
assert False, "asserts are off"

class Foreign:
    name = "foreign"
    def decide(self, climb, rng):
        from chaosbandit.core.model import Expose
        return Expose(climb.ladder.variant(0), 8, Purpose.HELD, (climb.slos[0].bad_ratio,))

try:
    simulate(lambda s: 0.0, low=1.0, high=2.0, objective=0.95, policy=Foreign())
except PolicyError as error:
    print(error)
"""


def test_it_does_not_hang_on_asserts() -> None:
    done = subprocess.run([sys.executable, "-O", "-c", OPTIMISED], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.startswith("policy 'foreign', decision 0: found the bet 0.05 with HELD")


def test_each_has_a_docstring_that_its_author_reads() -> None:
    assert all(check.__doc__ for check in ALLOWED)
