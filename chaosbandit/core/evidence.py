"""Evidence that stays valid however often one looks: numbers in, numbers out.

`Certificate` is a confidence set for the crossing of a ladder, `log_e_above` and `log_e_below` test
one ratio, `interval` brackets it. Nothing here knows of requests, toxics, time or policies, and no
model of the response enters: bets may come from anywhere, validity does not depend on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from chaosbandit.core.model import Purpose

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

OWN_EVIDENCE = math.log(3.0)  # what a reported arm must show on its own samples
_ROWS = 256  # blocks examined at a time in `_peak_after`: bounds memory, changes nothing
_SLACK = 1e-9
# Odds of the alternatives in the one-ratio tests, as multiples of the odds of tau.
_ODDS_STEPS = tuple(math.exp(0.1 * 1.2**i) for i in range(24))  # 1.1 to 750


@dataclass(frozen=True, eq=False)  # no slots: cached_property needs somewhere to write
class Certificate:
    """Which crossings k are still possible: arms < k hold for every SLO, arms >= k break one.

    With one SLO, log E_k = sum of held over arms >= k + sum of broke over arms < k (Ville 1939;
    Wald 1945), and k is ruled out for good once E_k has reached the threshold. With several, log
    E_k is the least over SLOs s of [sum of held[s] over arms >= k] + log of the mean over SLOs s'
    of exp(sum of broke[s'] over arms < k). Proof: at the true crossing all arms < k hold for every
    s', so each broke product, hence their mean, is a nonnegative supermartingale, and so is its
    product with the held evidence of the one SLO that breaks from k on, since a sample moves only
    one of the two. The least over s is never above that product, so Ville's inequality bounds the
    chance of ever losing the true k.

    Evidence is stored already raised to the power 1/`block`: within a block of that many samples
    any dependence is allowed (the geometric mean of likelihood ratios is at most their arithmetic
    mean). The power is taken per SLO, before the mean: the other order would not be valid.
    """

    held: Floats  # [SLO, arm]
    broke: Floats  # [SLO, arm]
    peak: Floats  # [crossing], the highest log E_k so far
    bad_ratios: tuple[float, ...]  # tau per SLO
    log_threshold: float
    block: int = 1

    @classmethod
    def start(
        cls, n_arms: int, bad_ratios: Sequence[float], log_threshold: float, block: int = 1
    ) -> Certificate:
        """No evidence yet: every crossing from 0 to `n_arms` is possible."""
        assert n_arms >= 1 and block >= 1 and all(0.0 < tau < 1.0 for tau in bad_ratios)
        empty, peak = _frozen(np.zeros((len(bad_ratios), n_arms))), _frozen(np.zeros(n_arms + 1))
        return cls(empty, empty, peak, tuple(bad_ratios), log_threshold, block)

    def observe(
        self,
        arm: int,
        purpose: Purpose,
        bets: Sequence[float],
        bad: Sequence[Sequence[bool]] | Mask,
    ) -> Certificate:
        """Fold in samples (rows: samples in send order, columns: SLOs), looking after every block.

        `bets` is q per SLO, fixed before the first of them was sent. Rows are cut into blocks from
        the first one on; a last, incomplete block can only lose evidence, never gain.
        """
        if purpose is Purpose.SEARCH or len(bad) == 0:
            return self
        steps = self._steps(purpose, bets, np.asarray(bad, dtype=np.bool_))
        peak = self._peak_after(arm, purpose, np.cumsum(steps, axis=0))
        side = self.held if purpose is Purpose.HELD else self.broke
        moved = side.copy()
        moved[:, arm] += steps.sum(axis=0)
        if purpose is Purpose.HELD:
            return replace(self, held=_frozen(moved), peak=peak)
        return replace(self, broke=_frozen(moved), peak=peak)

    def keep_losses(self, before: Certificate) -> Certificate:
        """This certificate after a void exposure that began at `before`: gains go, losses stay."""
        return replace(
            self,
            held=_frozen(np.minimum(before.held, self.held)),
            broke=_frozen(np.minimum(before.broke, self.broke)),
            peak=before.peak,
        )

    def at_threshold(self, log_threshold: float) -> Certificate:
        """The same evidence read at another threshold."""
        return replace(self, log_threshold=log_threshold)

    @cached_property
    def ruled_out(self) -> Mask:
        """The crossings whose evidence has reached the threshold at some look."""
        enough = self.log_threshold - _SLACK  # bets that just suffice must not fail by rounding
        mask: Mask = self.peak >= enough
        return mask

    @property
    def crossings(self) -> Mask:
        """The crossings still possible."""
        return ~self.ruled_out

    @cached_property
    def empty(self) -> bool:
        """No crossing is left: an assumption (monotone, steady) has failed."""
        return bool(self.ruled_out.all())

    @cached_property
    def held_arm(self) -> int | None:
        """The highest arm certified to hold for every SLO."""
        if self.empty:
            return None
        lowest = int(np.argmin(self.ruled_out))
        return lowest - 1 if lowest > 0 else None

    @cached_property
    def broke_arm(self) -> int | None:
        """The lowest arm certified to break an SLO."""
        if self.empty:
            return None
        highest = len(self.ruled_out) - 1 - int(np.argmin(self.ruled_out[::-1]))
        return highest if highest < self.held.shape[1] else None

    @cached_property
    def log_e(self) -> Floats:
        """The evidence against each crossing now (it may have been higher before)."""
        return _frozen(self._tails.min(axis=0) + _log_mean(self._heads))

    @cached_property
    def missing(self) -> Floats:
        """Evidence each crossing still needs to be ruled out; 0 where it is."""
        missing = np.maximum(self.log_threshold - self.log_e, _SLACK)
        return _frozen(np.where(self.ruled_out, 0.0, missing))

    def missing_held(self, arm: int) -> float:
        """Evidence still missing to claim that `arm` holds, its own share included."""
        return max(float(self.missing[: arm + 1].max()), OWN_EVIDENCE - self.own_held(arm), 0.0)

    def missing_broke(self, arm: int) -> float:
        """Evidence still missing to claim that `arm` broke, its own share included."""
        return max(float(self.missing[arm + 1 :].max()), OWN_EVIDENCE - self.own_broke(arm), 0.0)

    def own_held(self, arm: int) -> float:
        """Evidence for held from samples at this very arm, by the least convinced SLO."""
        return float(self.held[:, arm].min())

    def own_broke(self, arm: int) -> float:
        """Evidence for broke from samples at this very arm, averaged over the SLOs."""
        return float(_log_mean(self.broke[:, arm]))

    @cached_property
    def _tails(self) -> Floats:
        """[SLO, crossing]: held evidence summed over the arms at and above the crossing."""
        tails = np.zeros((self.held.shape[0], self.held.shape[1] + 1))
        tails[:, :-1] = np.cumsum(self.held[:, ::-1], axis=1)[:, ::-1]
        return tails

    @cached_property
    def _heads(self) -> Floats:
        """[SLO, crossing]: broke evidence summed over the arms below the crossing."""
        heads = np.zeros((self.broke.shape[0], self.broke.shape[1] + 1))
        np.cumsum(self.broke, axis=1, out=heads[:, 1:])
        return heads

    def _steps(self, purpose: Purpose, bets: Sequence[float], bad: Mask) -> Floats:
        """Log factors, a row per block and a column per SLO; an incomplete block cannot gain.

        Per sample log LR(y; q, tau) = y log(q/tau) + (1-y) log((1-q)/(1-tau)) (Wald 1945).
        """
        q, tau = np.asarray(bets), np.asarray(self.bad_ratios)
        held = purpose is Purpose.HELD
        assert q.shape == tau.shape and bad.shape[1:] == tau.shape
        assert bool(((q > 0.0) & (q < tau)).all() if held else ((q > tau) & (q < 1.0)).all())
        ratios = np.where(bad, np.log(q / tau), np.log((1.0 - q) / (1.0 - tau))) / self.block
        if self.block == 1:
            return ratios
        steps: Floats = np.add.reduceat(ratios, np.arange(0, len(bad), self.block), axis=0)
        if len(bad) % self.block:
            steps[-1] = np.minimum(steps[-1], 0.0)
        return steps

    def _peak_after(self, arm: int, purpose: Purpose, path: Floats) -> Floats:
        """The highest evidence per crossing once it has gone along `path` [block, SLO]."""
        moved = slice(None, arm + 1) if purpose is Purpose.HELD else slice(arm + 1, None)
        best = self.peak[moved]
        if path.shape[1] == 1:  # the highest point of a single SLO's path says it all
            best = np.maximum(best, self.log_e[moved] + path.max())
        else:
            for start in range(0, len(path), _ROWS):
                log_e = self._along(moved, purpose, path[start : start + _ROWS, :, None])
                best = np.maximum(best, log_e.max(axis=0))
        peak = self.peak.copy()
        peak[moved] = best
        return _frozen(peak)

    def _along(self, moved: slice, purpose: Purpose, rows: Floats) -> Floats:
        """log E_k of the crossings that move, a row per block; `rows` is [block, SLO, 1]."""
        tails, heads = self._tails[:, moved], self._heads[:, moved]
        if purpose is Purpose.HELD:
            along: Floats = (tails + rows).min(axis=1) + _log_mean(heads)
        else:
            along = _log_mean(np.moveaxis(heads + rows, 1, 0)) + tails.min(axis=0)
        return along


def claimed_bracket(
    certificate: Certificate, severities: Sequence[float], resolution: float
) -> tuple[int | None, int | None, bool]:
    """(held arm, broke arm, closed) as reported: certified, and shown on the arms' own samples.

    Neighbours on the grid close the bracket however far apart they are: nothing lies between.
    """
    held, broke = certificate.held_arm, certificate.broke_arm
    while held is not None and certificate.own_held(held) < OWN_EVIDENCE - _SLACK:
        held = held - 1 if held > 0 else None
    while broke is not None and certificate.own_broke(broke) < OWN_EVIDENCE - _SLACK:
        broke = broke + 1 if broke + 1 < len(severities) else None
    if held is None or broke is None:
        return held, broke, False
    return held, broke, within(severities, held, broke, resolution)


def within(severities: Sequence[float], low: int, high: int, resolution: float) -> bool:
    """Whether two arms are as close as the resolution asks, or as the grid allows."""
    return high == low + 1 or severities[high] <= (1 + resolution) * severities[low] * (1 + _SLACK)


def entropy_rate(p: float, tau: float) -> float:
    """Evidence a sample is worth on average: relative entropy of Bernoulli ratios p and tau."""
    bad = p * math.log(p / tau) if p > 0.0 else 0.0
    good = (1.0 - p) * math.log((1.0 - p) / (1.0 - tau)) if p < 1.0 else 0.0
    return max(bad + good, _SLACK)


def log_e_above(n: int, bad: int, tau: float) -> float:
    """Evidence that a bad ratio exceeds tau; believed at log(1/alpha) or more, it errs with alpha.

    A mixture over fixed alternatives (Robbins 1970; Waudby-Smith & Ramdas 2024): each is a
    likelihood ratio with q > tau, hence a nonnegative supermartingale for every ratio <= tau.
    """
    return _log_mixture(n, bad, tau, _ODDS_STEPS)


def log_e_below(n: int, bad: int, tau: float) -> float:
    """Evidence that a bad ratio is under tau; read as `log_e_above`."""
    return _log_mixture(n, bad, tau, tuple(1.0 / step for step in _ODDS_STEPS))


def interval(n: int, bad: int, alpha: float) -> tuple[float, float]:
    """Bounds for a ratio, valid at all n at once with error alpha.

    Inverts the Beta(1/2, 1/2) mixture martingale (Robbins 1970; Howard et al. 2021, Prop. 7).
    """
    if n == 0:
        return 0.0, 1.0
    marginal = _log_beta(bad + 0.5, n - bad + 0.5) - _log_beta(0.5, 0.5)

    def rejected(p: float) -> bool:
        return marginal - _log_likelihood(n, bad, p) >= -math.log(alpha)

    share = bad / n
    low = 0.0 if bad == 0 else _edge(rejected, outside=0.0, inside=share)
    high = 1.0 if bad == n else _edge(rejected, outside=1.0, inside=share)
    return low, high


def _edge(rejected: Callable[[float], bool], outside: float, inside: float) -> float:
    """Bisect for the border between rejected and kept; the answer errs to the wide side."""
    for _ in range(60):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if rejected(middle) else (outside, middle)
    return outside


def _log_likelihood(n: int, bad: int, p: float) -> float:
    good = n - bad
    return (bad * math.log(p) if bad else 0.0) + (good * math.log1p(-p) if good else 0.0)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_mixture(n: int, bad: int, tau: float, odds_steps: Sequence[float]) -> float:
    odds = tau / (1.0 - tau)
    at_tau = _log_likelihood(n, bad, tau)
    ratios = [_log_likelihood(n, bad, odds * r / (1.0 + odds * r)) - at_tau for r in odds_steps]
    top = max(ratios)
    return top + math.log(sum(math.exp(ratio - top) for ratio in ratios) / len(ratios))


def _log_mean(logs: Floats) -> Floats:
    """Log of the mean of exp(logs) over the first axis, the SLOs."""
    if len(logs) == 1:
        single: Floats = logs[0]
        return single
    mean: Floats = np.logaddexp.reduce(logs, axis=0) - math.log(len(logs))
    return mean


def _frozen(array: Floats) -> Floats:
    array.setflags(write=False)
    return array
