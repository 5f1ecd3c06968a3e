"""Evidence that stays valid however often one looks: numbers in, numbers out.

`Certificate` is a confidence set for the crossing of a ladder; tests of a single ratio are in
`ratio_tests`. Nothing here knows of requests, toxics, time or policies, and no model of the
response enters: bets may come from anywhere, validity does not depend on them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import add, ge, lt, sub
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chaosbandit.core.model import Purpose

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
_Point = tuple[float, ...]  # log evidence gathered since a run began, per SLO

OWN_EVIDENCE = math.log(3.0)  # what a reported arm must show on its own samples
RESERVE = 0.1  # of the wealth, kept as cash at the start
_ROWS = 256  # points examined at a time in `_Ledger.after`: bounds memory, changes nothing
_FEW = 16  # rows up to which plain Python is faster than arrays
_FRONT = 16  # undominated points that a run may carry before they go into the arrays
_SLACK = 1e-9


class _Run(NamedTuple):
    """Blocks in a row at one arm for one side that are not in the arrays yet, however many.

    Evidence against every crossing rises with each SLO's part of the path, so only its undominated
    points can have been a highest one; for one SLO that is a single point.
    """

    arm: int
    held: bool
    bets: tuple[float, ...]
    good: _Point  # log factor of a good sample, per SLO, raised to 1/block
    bad: _Point
    total: _Point = ()  # where the path stands
    front: tuple[_Point, ...] = ()  # its undominated points
    anchor: _Point = ()  # nothing is newly ruled out while no SLO's path is `gap` above this
    gap: float = 0.0
    floor: _Point = ()  # while the path is not below it, no stake is below its cash

    @property
    def moved(self) -> slice:
        """The crossings whose evidence this side of this arm moves."""
        return slice(None, self.arm + 1) if self.held else slice(self.arm + 1, None)


@dataclass(frozen=True, eq=False)  # no slots: cached_property needs somewhere to write
class _Ledger:
    """All evidence but that of the run still open, as arrays; logs throughout."""

    held: Floats  # [SLO, arm]
    broke: Floats  # [SLO, arm]
    cash: Floats  # [SLO, crossing]
    stake: Floats  # [SLO, crossing]
    peak: Floats  # [crossing], the highest log E_k so far
    log_threshold: float

    def __post_init__(self) -> None:
        for array in (self.held, self.broke, self.cash, self.stake, self.peak):
            array.setflags(write=False)

    @cached_property
    def ruled_out(self) -> Mask:
        enough = self.log_threshold - _SLACK  # bets that just suffice must not fail by rounding
        mask: Mask = self.peak >= enough
        return mask

    @cached_property
    def empty(self) -> bool:
        return bool(self.ruled_out.all())

    @cached_property
    def held_arm(self) -> int | None:
        lowest = int(np.argmin(self.ruled_out))
        return lowest - 1 if lowest > 0 and not self.empty else None

    @cached_property
    def broke_arm(self) -> int | None:
        highest = len(self.ruled_out) - 1 - int(np.argmin(self.ruled_out[::-1]))
        return highest if highest < self.held.shape[1] and not self.empty else None

    @cached_property
    def wealth(self) -> Floats:
        """[SLO, crossing]: cash and stake together."""
        wealth: Floats = np.logaddexp(self.cash, self.stake)
        return wealth

    @cached_property
    def heads(self) -> Floats:
        """[SLO, crossing]: broke evidence summed over the arms below the crossing."""
        heads = np.zeros(self.cash.shape)
        np.cumsum(self.broke, axis=1, out=heads[:, 1:])
        return heads

    @cached_property
    def log_e(self) -> Floats:
        """[crossing]"""
        return _frozen(self.wealth.min(axis=0) + _log_mean(self.heads))

    def staked(self, arm: int) -> _Ledger:
        """Half of the cash put in where the stake of a crossing up to `arm` is below its cash."""
        poor = self.stake < self.cash
        poor[:, arm + 1 :] = False
        if not poor.any():
            return self
        cash = np.where(poor, self.cash - math.log(2.0), self.cash)
        stake = np.where(poor, np.logaddexp(self.stake, cash), self.stake)
        return replace(self, cash=cash, stake=stake)

    def after(self, run: _Run) -> _Ledger:
        """With the blocks of a run in the arrays."""
        if not run.front:
            return self
        points, peak = np.array(run.front), self.peak.copy()
        for start in range(0, len(points), _ROWS):
            log_e = self._along(run, points[start : start + _ROWS]).max(axis=0)
            np.maximum(peak[run.moved], log_e, out=peak[run.moved])
        own = (self.held if run.held else self.broke).copy()
        own[:, run.arm] += run.total
        if not run.held:
            return replace(self, broke=own, peak=peak)
        stake = self.stake.copy()
        stake[:, run.moved] += np.array(run.total)[:, None]
        return replace(self, held=own, stake=stake, peak=peak)

    def gap(self, run: _Run) -> float:
        """How far each SLO's path may still rise before a crossing may newly be ruled out."""
        log_e = self._along(run, np.array([run.total]))[0] if run.front else self.log_e[run.moved]
        highest = np.where(self.ruled_out[run.moved], -np.inf, log_e).max()
        return float(self.log_threshold - 2 * _SLACK - highest)

    def floor(self, run: _Run) -> _Point:
        """How low each SLO's path may go before a stake is below its cash."""
        if not run.held:
            return (-math.inf,) * len(run.good)
        ahead = self.cash[:, run.moved] - self.stake[:, run.moved]
        return tuple(ahead.max(axis=1).tolist())

    def lacking(self, arm: int) -> float:
        """What the stakes must still gain until all crossings up to `arm` are ruled out."""
        upto = slice(None, arm + 1)
        cash, need = self.cash[:, upto], self.log_threshold - _log_mean(self.heads)[upto]
        by_stake = np.maximum(-np.expm1(np.minimum(cash - need, 0.0)), 1e-300)
        gain = np.maximum((need + np.log(by_stake) - self.stake[:, upto]).max(axis=0), _SLACK)
        return float(np.where(self.ruled_out[upto], 0.0, gain).max())

    def poorer(self, before: _Ledger) -> _Ledger:
        """Gains since `before` go, losses stay."""
        less = self.wealth < before.wealth
        return _Ledger(
            held=np.minimum(before.held, self.held),
            broke=np.minimum(before.broke, self.broke),
            cash=np.where(less, self.cash, before.cash),
            stake=np.where(less, self.stake, before.stake),
            peak=before.peak,
            log_threshold=self.log_threshold,
        )

    def _along(self, run: _Run, points: Floats) -> Floats:
        """log E_k of the crossings that a run moves, a row per point [point, SLO] of its path."""
        moved, rows = run.moved, points[:, :, None]
        heads = self.heads[:, moved]
        if run.held:
            wealth = np.logaddexp(self.cash[:, moved], self.stake[:, moved] + rows)
            along: Floats = wealth.min(axis=1) + _log_mean(heads)
        else:
            along = _log_mean(np.moveaxis(heads + rows, 1, 0)) + self.wealth[:, moved].min(axis=0)
        return along


@dataclass(frozen=True, eq=False)
class Certificate:
    """Which crossings k are still possible: arms < k hold for every SLO, arms >= k break one.

    A ratio p = tau counts as met. So exactly one crossing is true, every claim `p_l <= tau <= p_h`,
    or one side of it, is false only if the true crossing was ruled out, and one bound at
    1/delta (`log_threshold`) covers both sides and each side alone: nothing is split.

    A sample at arm j multiplies wealth by its likelihood ratio LR(y; q, tau) = (q/tau)^y
    ((1-q)/(1-tau))^(1-y), q the bet (Ville 1939; Wald 1945). Broke bets (q > tau) at arms j < k and
    held bets (q < tau) at arms j >= k speak against k:

        E_k = min over SLOs s of (cash + stake)[s, k] x mean over SLOs t of prod_{j<k} broke[t, j]

    Only the stake is bet; `RESERVE` of the wealth starts as cash. When a new held decision begins,
    half of the cash of every crossing whose stake has fallen below it is staked anew, so a moment
    of bad samples costs what was staked and not all that later samples could show.

    Proof: let k be the true crossing and s the SLO that breaks at arm k, hence at all above. Held
    bets against k are on arms j >= k, where p > tau: there a ratio has mean at most 1 given the
    past, whatever q < tau. What moves from cash to stake is chosen from the past and leaves the sum
    alone. So (cash + stake)[s, k] is a nonnegative supermartingale that starts at 1 (without such
    an SLO, at k = all arms, no held bet speaks against k). At arms j < k, p <= tau for every SLO,
    so each broke product is one too, and their mean. A sample moves only one of the two factors, so
    their product is a supermartingale; E_k is never above it, as the minimum is over all SLOs.
    Ville's inequality bounds the chance that E_k ever reaches 1/delta by delta.

    Evidence is raised to the power 1/`block`: within a block of that many samples any dependence is
    allowed (the geometric mean of likelihood ratios is at most their arithmetic mean). The power is
    taken per SLO and block, before any sum or mean: the other order would not be valid.

    Samples in a row at one arm are only summed; the arrays follow when somebody reads them or when
    a crossing may newly be ruled out, which changes no answer.
    """

    bad_ratios: tuple[float, ...]  # tau per SLO
    block: int
    ledger: _Ledger
    run: _Run | None = None

    @classmethod
    def start(
        cls, n_arms: int, bad_ratios: Sequence[float], log_threshold: float, block: int = 1
    ) -> Certificate:
        """No evidence yet: every crossing from 0 to `n_arms` is possible."""
        assert n_arms >= 1 and block >= 1 and all(0.0 < tau < 1.0 for tau in bad_ratios)
        none, wealth = np.zeros((len(bad_ratios), n_arms)), (len(bad_ratios), n_arms + 1)
        cash, stake = np.full(wealth, math.log(RESERVE)), np.full(wealth, math.log1p(-RESERVE))
        ledger = _Ledger(none, none, cash, stake, np.zeros(n_arms + 1), log_threshold)
        return cls(tuple(bad_ratios), block, ledger)

    def observe(
        self,
        arm: int,
        purpose: Purpose,
        bets: Sequence[float],
        bad: Sequence[Sequence[bool]] | Mask,
        opens: bool = False,
    ) -> Certificate:
        """Fold in samples (rows: samples in send order, columns: SLOs), looking after every block.

        `bets` is q per SLO, fixed before the first of them was sent; ValueError if one is not on
        its side of tau. `opens` says that the first row is the first of a new decision. Rows are
        cut into blocks from the first one on; a last, incomplete block can only lose evidence.
        """
        if purpose is Purpose.SEARCH or len(bad) == 0:
            return self
        ledger, run = self._opened(arm, purpose is Purpose.HELD, tuple(bets), opens)
        if len(bad) > _FEW:
            ledger, run = _walked_far(ledger, run, self._many_steps(run, bad))
        else:
            for step in self._few_steps(run, bad):
                ledger, run = _walked(ledger, run, step)
        return Certificate(self.bad_ratios, self.block, ledger, run)

    def keep_losses(self, before: Certificate) -> Certificate:
        """This certificate after a void exposure that began at `before`: gains go, losses stay.

        Per SLO and crossing the poorer of both states goes on, which is worth no more than either:
        still valid when the samples had a say in what is void.
        """
        return replace(self, ledger=self._closed.poorer(before._closed), run=None)

    def at_threshold(self, log_threshold: float) -> Certificate:
        """The same evidence read at another threshold."""
        ledger = replace(self._closed, log_threshold=log_threshold)
        return replace(self, ledger=ledger, run=None)

    @property
    def log_threshold(self) -> float:
        """Evidence that rules a crossing out, log(1/delta)."""
        return self.ledger.log_threshold

    @property
    def held(self) -> Floats:
        """[SLO, arm]: held evidence from samples at the arm itself."""
        return self._closed.held

    @property
    def broke(self) -> Floats:
        """[SLO, arm]: broke evidence from samples at the arm itself."""
        return self._closed.broke

    @property
    def peak(self) -> Floats:
        """[crossing]: the highest log E_k so far."""
        return self._closed.peak

    @property
    def ruled_out(self) -> Mask:
        """The crossings whose evidence has reached the threshold at some look."""
        return self.ledger.ruled_out

    @property
    def crossings(self) -> Mask:
        """The crossings still possible."""
        return ~self.ruled_out

    @property
    def empty(self) -> bool:
        """No crossing is left: an assumption (monotone, steady) has failed."""
        return self.ledger.empty

    @property
    def held_arm(self) -> int | None:
        """The highest arm certified to hold for every SLO."""
        return self.ledger.held_arm

    @property
    def broke_arm(self) -> int | None:
        """The lowest arm certified to break an SLO."""
        return self.ledger.broke_arm

    @property
    def log_e(self) -> Floats:
        """The evidence against each crossing now (it may have been higher before)."""
        return self._closed.log_e

    @cached_property
    def missing(self) -> Floats:
        """Evidence each crossing still needs to be ruled out; 0 where it is."""
        missing = np.maximum(self.log_threshold - self.log_e, _SLACK)
        return _frozen(np.where(self.ruled_out, 0.0, missing))

    def missing_held(self, arm: int) -> float:
        """What a new held decision at `arm` must gain to claim it, its own share included."""
        if arm not in self._needed:
            self._needed[arm] = self._closed.staked(arm).lacking(arm)
        return max(self._needed[arm], OWN_EVIDENCE - self.own_held(arm), 0.0)

    @cached_property
    def _needed(self) -> dict[int, float]:
        """Of `missing_held`, by the arms that were asked about."""
        return {}

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
    def _closed(self) -> _Ledger:
        """Everything in arrays."""
        return self.ledger if self.run is None else self.ledger.after(self.run)

    def _opened(
        self, arm: int, held: bool, bets: tuple[float, ...], opens: bool
    ) -> tuple[_Ledger, _Run]:
        """Where the next block goes: the run that is open, or a new one."""
        run = self.run
        if run is not None and run.arm == arm and run.held is held:
            stakes = opens and any(map(lt, run.total, run.floor))
            if not stakes and run.bets == bets:
                return self.ledger, run
            if not stakes:
                good, bad = self._factors(held, bets)
                return self.ledger, run._replace(bets=bets, good=good, bad=bad)
        good, bad = self._factors(held, bets)
        ledger = self._closed.staked(arm) if held and opens else self._closed
        return ledger, _begun(ledger, _Run(arm, held, bets, good, bad))

    def _factors(self, held: bool, bets: tuple[float, ...]) -> tuple[_Point, _Point]:
        """Log factor of a good and of a bad sample, per SLO.

        Per sample log LR(y; q, tau) = y log(q/tau) + (1-y) log((1-q)/(1-tau)) (Wald 1945).
        """
        for q, tau in zip(bets, self.bad_ratios, strict=True):
            low, high = (0.0, tau) if held else (tau, 1.0)
            if not low < q < high:
                side = "held" if held else "broke"
                raise ValueError(f"a bet on {side} lies between {low} and {high}, not at {q}")
        pairs = tuple(zip(bets, self.bad_ratios, strict=True))
        good = tuple(math.log((1.0 - q) / (1.0 - tau)) / self.block for q, tau in pairs)
        return good, tuple(math.log(q / tau) / self.block for q, tau in pairs)

    def _few_steps(self, run: _Run, bad: Sequence[Sequence[bool]] | Mask) -> list[_Point]:
        """`_many_steps` for a few rows."""
        rows = bad.tolist() if isinstance(bad, np.ndarray) else bad
        steps = [
            tuple(b if is_bad else g for is_bad, g, b in zip(row, run.good, run.bad, strict=True))
            for row in rows
        ]
        if self.block == 1:
            return steps
        starts = range(0, len(steps), self.block)
        blocks = [
            tuple(map(math.fsum, zip(*steps[i : i + self.block], strict=True))) for i in starts
        ]
        if len(steps) % self.block:
            blocks[-1] = tuple(min(factor, 0.0) for factor in blocks[-1])
        return blocks

    def _many_steps(self, run: _Run, bad: Sequence[Sequence[bool]] | Mask) -> Floats:
        """Log factors, a row per block and a column per SLO; an incomplete block cannot gain."""
        flags = np.asarray(bad, dtype=np.bool_)
        if flags.shape[1:] != (len(self.bad_ratios),):
            raise ValueError(f"{len(self.bad_ratios)} SLOs, samples of shape {flags.shape[1:]}")
        steps: Floats = np.where(flags, run.bad, run.good)
        if self.block == 1:
            return steps
        steps = np.add.reduceat(steps, np.arange(0, len(flags), self.block), axis=0)
        if len(flags) % self.block:
            steps[-1] = np.minimum(steps[-1], 0.0)
        return steps


def _begun(ledger: _Ledger, run: _Run) -> _Run:
    """A run of which nothing is seen yet, and how far it may go unwatched."""
    zero = (0.0,) * len(run.good)
    fresh = run._replace(total=zero, front=(), anchor=zero)
    return fresh._replace(gap=ledger.gap(fresh), floor=ledger.floor(fresh))


def _walked(ledger: _Ledger, run: _Run, step: _Point) -> tuple[_Ledger, _Run]:
    """After one more block; the arrays are touched when a crossing may newly be ruled out.

    E_k rises by no factor above exp(r) while no SLO's path rises by more than r, so from a point
    where all E_k lack `gap` the path may rise by that much before it must be looked at again.
    """
    total = tuple(map(add, run.total, step))
    run = run._replace(total=total, front=_undominated(run.front, total))
    short = len(run.front) <= _FRONT
    if short and max(map(sub, total, run.anchor)) < run.gap:
        return ledger, run
    gap = ledger.gap(run)
    if short and gap > 0.0:
        return ledger, run._replace(anchor=total, gap=gap)
    return _folded(ledger, run)


def _walked_far(ledger: _Ledger, run: _Run, steps: Floats) -> tuple[_Ledger, _Run]:
    """After many blocks, [block, SLO]."""
    path = np.cumsum(steps, axis=0) + run.total
    tops = _tops(path)
    few = len(tops) <= _FRONT
    front = reduce(_undominated, tops, run.front) if few else (*run.front, *tops)
    run = run._replace(total=tuple(path[-1].tolist()), front=front)
    if len(front) <= _FRONT and float((path - run.anchor).max()) < run.gap:
        return ledger, run
    return _folded(ledger, run)


def _folded(ledger: _Ledger, run: _Run) -> tuple[_Ledger, _Run]:
    """The run's blocks in the arrays, and the same run from there on."""
    ledger = ledger.after(run)
    return ledger, _begun(ledger, run)


def _undominated(front: tuple[_Point, ...], point: _Point) -> tuple[_Point, ...]:
    """The points that no other is at least as high as for every SLO, with one more point."""
    for top in front:  # plain loops: this runs for every sample
        if all(map(ge, top, point)):
            return front
    return (*[top for top in front if not all(map(ge, point, top))], point)


def _tops(path: Floats) -> list[_Point]:
    """Points of a path such that each other one is dominated; not many more than need be."""
    rises = (path[1:] >= path[:-1]).all(axis=1)
    path, tops = path[~np.append(rises, False)], list[_Point]()
    while len(path) and len(tops) < _FRONT:
        top = path[path.sum(axis=1).argmax()]
        tops.append(tuple(top.tolist()))
        path = path[(path > top).any(axis=1)]
    return tops + [tuple(point) for point in path.tolist()]


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
