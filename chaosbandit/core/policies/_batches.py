"""From an arm or a claim to the batch that is sent: its size, its bets, and what ends it early.

Bets are the posterior mean of the arm's bad ratio (Waudby-Smith & Ramdas 2024); one is placed only
where the wanted side is likely, for a bad sample under a bet on held costs hundreds of good ones.
"""

from __future__ import annotations

import math

from chaosbandit.core.model import Expose, Purpose
from chaosbandit.core.policies import whole_blocks
from chaosbandit.core.policies._model_beliefs import broke_bets, held_bets
from chaosbandit.core.policies._prices import Reading, Side, worth
from chaosbandit.core.ratio_tests import entropy_rate

BET = 0.8  # P(wanted side) before betting
_SHARE = 0.04  # of the samples spent on this ladder: size of the next batch
_SMALLEST, _SMALLEST_MOVING = 5, 1  # samples in a batch; fewer where moving on costs nothing
_FIRST_BAD, _FIRST_BAD_MOVING = 2, 1  # bad samples that end a look; likewise
_RARE = 0.5  # a batch that should see fewer bad samples than this at tau ends at the first ones


def certify(reading: Reading, side: Side) -> Expose:
    """A batch with bets on one side, or a look while that side is not likely enough."""
    p_broke = float(reading.p_broke[side.arm])
    if side.purpose is Purpose.HELD:
        return bet_held(reading, side) if 1.0 - p_broke > BET else search(reading, side.arm)
    return bet_broke(reading, side) if p_broke > BET else search(reading, side.arm)


def search(reading: Reading, arm: int) -> Expose:
    """A look without bets; it ends early when bad samples pile up."""
    climb = reading.climb
    samples = whole_blocks(climb, _share(reading))
    at_tau = samples * max(reading.taus)  # bad samples that even a healthy arm may show
    ends = _FIRST_BAD if climb.setup_samples > 0 else _FIRST_BAD_MOVING
    if at_tau >= _RARE:
        ends += 1 + int(at_tau + 2 * math.sqrt(at_tau))
    text = climb.ladder.text(reading.severities[arm])
    limited = arm == reading.cap and reading.p_broke[arm] < 0.5
    why = f"search at {text}, as far as is safe" if limited else f"search near the median {text}"
    if climb.highest_exposed is None:
        why = f"start with the mildest, {text}"
    taught = _taught(reading, arm, None, samples)
    return Expose(climb.ladder.variant(arm), samples, Purpose.SEARCH, (), ends, why, taught)


def bet_held(reading: Reading, side: Side, doubt: float = 1.0 - BET) -> Expose:
    """A bet that an arm holds; it ends when P(broke) would exceed `doubt` whatever came next."""
    climb = reading.climb
    bets = held_bets(climb, side.arm)
    gain = min(math.log((1 - q) / (1 - tau)) for q, tau in zip(bets, reading.taus, strict=True))
    needed = math.ceil(side.missing * climb.certificate.block / gain)
    if side.arm == climb.standing:
        needed = max(needed - climb.unresolved, 1)
    samples = whole_blocks(climb, min(_share(reading), needed))
    ends = _doubtful_after(reading, side.arm, samples, doubt)
    text = climb.ladder.text(reading.severities[side.arm])
    why = f"certify that {text} holds: {needed} more good sample{'s' * (needed > 1)}"
    taught = _taught(reading, side.arm, side.purpose, samples)
    return Expose(climb.ladder.variant(side.arm), samples, Purpose.HELD, bets, ends, why, taught)


def bet_broke(reading: Reading, side: Side) -> Expose:
    """A bet that an arm breaks; it ends once its bad samples should have shown it."""
    climb = reading.climb
    bets = broke_bets(climb, side.arm, side.missing)
    quarter = min(_SHARE * climb.samples, side.samples / 4)
    samples = whole_blocks(climb, max(1, int(quarter)))
    ends = None  # an incomplete block could only lose
    if climb.certificate.block == 1:
        rare = samples * max(reading.taus) < _RARE
        gain = max(math.log(q / tau) for q, tau in zip(bets, reading.taus, strict=True))
        ends = 1 if rare else math.ceil(side.missing / gain - 1e-6)
    text = climb.ladder.text(reading.severities[side.arm])
    why = f"certify that {text} breaks: about {math.ceil(side.samples)} more samples"
    taught = _taught(reading, side.arm, side.purpose, samples)
    return Expose(climb.ladder.variant(side.arm), samples, Purpose.BROKE, bets, ends, why, taught)


def _doubtful_after(reading: Reading, arm: int, samples: int, doubt: float) -> int | None:
    """Bad samples that make P(broke) exceed `doubt` though all others of the batch are good.

    A passing hiccup then spoils one batch and not what is bet on its neighbours. With blocks a cut
    costs evidence: the rest of the block counts as bad.
    """
    if reading.climb.certificate.block > 1:
        return None

    beliefs = sorted(reading.climb.beliefs, key=lambda belief: -belief.p_broke(arm))

    def doubtful(bad: int) -> bool:
        after = (belief.observe(arm, samples - bad, bad) for belief in beliefs)
        return any(belief.p_broke(arm) > doubt for belief in after)

    low, high = 0, 1
    while not doubtful(high):
        if high >= samples:
            return None
        low, high = high, min(2 * high, samples)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if doubtful(middle) else (middle, high)
    return high


def _taught(reading: Reading, arm: int, purpose: Purpose | None, samples: int) -> float:
    """What a batch is worth, to be compared with other ladders'; 0 where there are none."""
    climb = reading.climb
    if not climb.several:
        return 0.0
    belief, tau = max(reading.slos, key=lambda slo: slo[0].p_broke(arm))
    if purpose is None:
        _, bad_ratio, nats = reading.look(arm)
    else:
        held = purpose is Purpose.HELD
        bad_ratio = belief.mean_given(arm, arm + 1 if held else 0, None if held else arm + 1)
        nats = entropy_rate(bad_ratio, tau)
    return worth(nats * samples, samples, bad_ratio, climb.search.cost_of_bad, reading.setup(arm))


def _share(reading: Reading) -> int:
    """The size of a batch that may be wasted: a share of what is spent already."""
    climb = reading.climb
    smallest = _SMALLEST if climb.setup_samples > 0 else _SMALLEST_MOVING
    return max(smallest, int(_SHARE * climb.samples))
