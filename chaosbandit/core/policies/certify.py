"""The policy that certifies a bracket with few samples: a model guides, certificates decide.

It reads beliefs to choose where to look and what to bet, and certificates for what is still missing
(statistics.md, section 2). It never exposes an arm above the guardrails' cap, nor far above one that
is believed to hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.evidence import Certificate, claimed_bracket, within
from chaosbandit.core.model import Decision, Expose, Purpose, Stop
from chaosbandit.core.policies import register

_BOLD = 0.35  # P(broke) below which an exposed arm carries the escalation
_PAIR = 0.7  # P(crossing in the pair) before certifying it
_BET = 0.8  # P(wanted side) before betting
_SHARE = 0.04  # of the samples spent: the next batch
_SMALLEST = 5
import os
DIV=float(os.environ.get('DIV','1e9'))
STAY=float(os.environ.get('STAY','.5'))


@dataclass(frozen=True, slots=True)
class _Side:
    """One claim to certify, what a sample of it is expected to be, and how many it takes."""

    arm: int
    purpose: Purpose
    certificate: Certificate
    missing: float
    samples: float  # expected number still needed
    cost: float  # in samples, with expected harm and set-up


@register
class Certify:
    """Search with a posterior, bet on the cheapest pair of arms, stop when both are certified."""

    name = "certify"

    def decide(self, campaign: Campaign, rng: Generator) -> Decision:
        """The next batch of the cheapest plan, or the end."""
        view = _View(campaign)
        stop = view.stop()
        if stop is not None:
            return stop
        plan = view.cheapest_plan()
        if plan is None:
            return view.search(view.search_arm())
        return view.certify(view.next_side(plan))


class _View:
    """A campaign read once: probabilities by arm, the cap, and what batches cost."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self.severities = campaign.ladder.severities
        self.taus = tuple(slo.bad_ratio for slo in campaign.slos)
        limit = campaign.scenario.guardrails.max_severity
        self.top = _highest(self.severities, math.inf if limit is None else limit)
        # P(crossing <= arm) of the SLO that breaks first.
        self.p_broke = np.max(
            [np.cumsum(b.crossing())[:-1] for b in campaign.beliefs], axis=0
        )
        bold = [
            j for j, arm in enumerate(campaign.arms) if arm.samples and self.p_broke[j] < _BOLD
        ]
        reach = self.severities[bold[-1]] * campaign.scenario.search.escalation if bold else 0.0
        self.cap = max(0, min(self.top, _highest(self.severities, reach)))

    def stop(self):
        campaign = self.campaign
        if campaign.certificate.empty or campaign.one_sided.empty:
            return Stop("assumptions failed: no breaking point fits the evidence (is the response "
                        "monotone and the target steady?)")
        text = campaign.ladder.text
        held, broke, closed = claimed_bracket(campaign.certificate, self.severities, campaign.scenario.search.resolution)
        if closed:
            return Stop(f"held at {text(self.severities[held])}, broke at {text(self.severities[broke])}", answered=True)
        one_held, one_broke, _ = claimed_bracket(campaign.one_sided, self.severities, campaign.scenario.search.resolution)
        if one_held is not None and one_held >= self.top:
            return Stop(f"held at the cap of {text(self.severities[self.top])}")
        if one_broke == 0:
            return Stop(f"broke at {text(self.severities[0])}, the mildest severity")
        limit = campaign.scenario.search.max_samples
        if limit is not None and campaign.spent_samples >= limit:
            return Stop("max samples")
        return None

    def cheapest_plan(self):
        plans = []
        p = self.p_broke
        cert, one = self.campaign.certificate, self.campaign.one_sided
        if self.cap == self.top and 1 - p[self.top] > _PAIR:
            plans.append((self.held_side(self.top, None, one),))
        if p[0] > _PAIR:
            plans.append((self.broke_side(0, None, one),))
        sev = np.asarray(self.severities)
        res = self.campaign.scenario.search.resolution
        high = np.maximum(np.searchsorted(sev, sev * (1 + res) * (1 + 1e-9), "right") - 1, np.arange(len(sev)) + 1)
        for l in range(0, self.cap):
            h = high[l]
            if h <= self.cap and p[h] - p[l] > _PAIR:
                plans.append((self.held_side(l, h, cert), self.broke_side(h, l, cert)))
        if not plans:
            return None
        return min(plans, key=lambda plan: sum(side.cost for side in plan))

    def held_side(self, arm, high, cert):
        missing = cert.missing_held(arm)
        if missing <= 0:
            return _Side(arm, Purpose.HELD, cert, 0, 0, 0)
        rate = math.inf; pm = 0
        for b, tau in zip(self.campaign.beliefs, self.taus):
            hi = len(self.severities) + 1
            if high is not None and b.p_between(arm, high) > 0.5 * (1 - b.p_broke(arm)):
                hi = high + 1
            m = b.mean_given(arm, arm + 1, hi)
            rate = min(rate, kl(m, tau)); pm = max(pm, m)
        return self._side(arm, Purpose.HELD, cert, missing, rate, pm)

    def broke_side(self, arm, low, cert):
        missing = cert.missing_broke(arm)
        if missing <= 0:
            return _Side(arm, Purpose.BROKE, cert, 0, 0, 0)
        s = int(np.argmax([b.p_broke(arm) for b in self.campaign.beliefs]))
        m = self.campaign.beliefs[s].mean_given(arm, 0 if low is None else low + 1, arm + 1)
        return self._side(arm, Purpose.BROKE, cert, missing, kl(m, self.taus[s]), m)

    def _side(self, arm, purpose, cert, missing, rate, pm):
        c = self.campaign
        samples = missing * cert.block / rate
        cost = samples * (1 + c.scenario.search.cost_of_bad * pm)
        if arm != c.standing:
            cost += c.setup_samples
        return _Side(arm, purpose, cert, missing, samples, cost)

    def next_side(self, plan):
        for side in plan:
            if side.arm == self.campaign.standing and side.missing > 0 and self.campaign.setup_samples > 0:
                return side
        return max(plan, key=lambda s: s.cost)

    def search_arm(self):
        arm = int(np.searchsorted(self.p_broke, 0.5))
        st = self.campaign.standing
        if st is not None and self.campaign.setup_samples > 0 and STAY < self.p_broke[st] < 1 - STAY and st <= self.cap:
            return st
        return min(arm, self.cap)

    def search(self, arm):
        n = max(_SMALLEST, int(_SHARE * self.campaign.spent_samples), int(self.campaign.setup_samples/DIV))
        n = self.round(n)
        return Expose(self.campaign.ladder.variant(arm), n, Purpose.SEARCH, (), (2 if n * min(self.taus) < .5 else 3+int(n*min(self.taus)+2*math.sqrt(n*min(self.taus)))), "search")

    def round(self, n):
        m = self.campaign.certificate.block
        return -(-n // m) * m

    def certify(self, side):
        c = self.campaign
        held = side.purpose is Purpose.HELD
        p = self.p_broke[side.arm]
        if (1 - p if held else p) < _BET:
            return self.search(side.arm)
        n4 = int(_SHARE * c.spent_samples)
        m = side.certificate.block
        K1 = len(self.severities) + 1
        if held:
            bets = tuple(min(max(b.mean_given(side.arm, side.arm + 1, K1), 1e-6), .98*tau) for b, tau in zip(c.beliefs, self.taus))
            need = max(math.ceil(side.missing * m / math.log((1 - q) / (1 - tau)) - 1e-9) for q, tau in zip(bets, self.taus))
            n = min(max(_SMALLEST, n4), need)
            return Expose(c.ladder.variant(side.arm), self.round(n), Purpose.HELD, bets, None, "held")
        bets = tuple(max(1.02 * tau, min(b.mean_given(side.arm, 0, side.arm + 1), tau * math.exp(side.missing))) for b, tau in zip(c.beliefs, self.taus))
        bets = tuple(min(q, .99) for q in bets)
        n = max(1, int(min(n4, side.cost / 4)))
        n = self.round(n)
        return Expose(c.ladder.variant(side.arm), n, Purpose.BROKE, bets, 1 if n * min(self.taus) < .5 and m == 1 else None, "broke")


def _highest(severities, limit: float) -> int:
    """The highest arm at or under a severity; -1 when there is none."""
    return int(np.searchsorted(severities, limit * (1 + 1e-9), side="right")) - 1


def kl(p: float, tau: float) -> float:
    """Relative entropy of Bernoulli ratios: evidence a sample is worth on average."""
    p = min(max(p, 1e-12), 1 - 1e-12)
    return max(p * math.log(p / tau) + (1 - p) * math.log((1 - p) / (1 - tau)), 1e-9)
