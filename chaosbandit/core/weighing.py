"""How measured samples become evidence: in blocks of one decision, and exposure by exposure.

A run folds each sample in as it comes; the same history can be weighed anew with longer blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from chaosbandit.core.evidence import Certificate, Mask
from chaosbandit.core.model import Decision, Expose, Purpose, Validity

Flags = tuple[bool, ...]
_BETS = (Purpose.HELD, Purpose.BROKE)


@dataclass(frozen=True, slots=True)
class Weighed:
    """A measured sample of a decision, per SLO bad or not."""

    decision: int
    bad: Flags


@dataclass(frozen=True, slots=True)
class Closed:
    """The end of an exposure; `halted`: a guardrail stopped the sending."""

    validity: Validity
    halted: bool


@dataclass(frozen=True, slots=True)
class Weighing:
    """The certificate of a ladder and what is not in it yet."""

    certificate: Certificate
    before: Certificate  # at the start of the open exposure
    number: int | None = None  # the decision that the newest samples belong to
    decision: Expose | None = None
    opens: bool = True  # none of its samples is in the certificate
    pending: tuple[Flags, ...] = ()  # a block of it that is not complete
    bad: int = 0  # of its samples, in any SLO

    @classmethod
    def start(cls, certificate: Certificate) -> Weighing:
        """Nothing was measured since."""
        return cls(certificate, certificate)

    def plus(self, number: int, decision: Expose, bad: Flags) -> Weighing:
        """With one more sample, in order of sending; bets were fixed when it was decided."""
        now = self if self.number == number else self._at(number, decision)
        if decision.purpose not in _BETS:
            return now
        if now.certificate.block == 1:
            return now._with((bad,), now.bad + any(bad))
        pending = (*now.pending, bad)
        now = replace(now, pending=pending, bad=now.bad + any(bad))
        return now._block_closed() if len(pending) == now.certificate.block else now

    def many(self, number: int, decision: Expose, bad: Mask) -> Weighing:
        """With many samples of a decision at once, [sample, SLO]; blocks begin with the first."""
        now = self if self.number == number else self._at(number, decision)
        if decision.purpose not in _BETS or not len(bad):
            return now
        spoilt, ends = now.bad + int(bad.any(axis=1).sum()), decision.stop_after_bad
        unsent = -len(bad) % now.certificate.block
        if unsent and decision.purpose is Purpose.HELD and ends is not None and spoilt >= ends:
            bad = np.vstack((bad, np.ones((unsent, bad.shape[1]), dtype=np.bool_)))
        return now._with(bad, spoilt)

    def ended(self, closed: Closed) -> Weighing:
        """At the end of the exposure: a void one loses its gains, and keeps its losses.

        A reason that was found without looking at the canary's samples takes both.
        """
        certificate = self._block_closed(closed.halted).certificate
        if closed.validity.blind:
            certificate = self.before
        elif not closed.validity.valid:
            certificate = certificate.keep_losses(self.before)
        return Weighing.start(certificate)

    def _at(self, number: int, decision: Expose) -> Weighing:
        certificate = self._block_closed().certificate
        return Weighing(certificate, self.before, number, decision)

    def _with(self, rows: Sequence[Flags] | Mask, bad: int) -> Weighing:
        assert self.decision is not None, "samples belong to a decision to expose"
        purpose, bets = self.decision.purpose, self.decision.bets
        arm = self.decision.variant.arm
        moved = self.certificate.observe(arm, purpose, bets, rows, opens=self.opens)
        return Weighing(moved, self.before, self.number, self.decision, opens=False, bad=bad)

    def _block_closed(self, halted: bool = False) -> Weighing:
        """A block that was cut because of what it showed counts what was not sent as bad."""
        if not self.pending:
            return self
        assert self.decision is not None
        rows, ends = self.pending, self.decision.stop_after_bad
        cut = halted or (ends is not None and self.bad >= ends)
        if cut and self.decision.purpose is Purpose.HELD:
            unsent = self.certificate.block - len(rows)
            rows = (*rows, *((True,) * len(rows[0]),) * unsent)
        return self._with(rows, self.bad)


def weighed_anew(
    certificate: Certificate,
    history: Iterable[Weighed | Closed],
    decisions: Mapping[int, Decision],
) -> Weighing:
    """A whole history once more, from a certificate without evidence, as the fold would have it.

    Longer blocks are valid whatever led to them, as long as all evidence is weighed by them: the
    choice of a larger m only ever gives up evidence.
    """
    weighing = Weighing.start(certificate)
    for entry in history:
        if isinstance(entry, Closed):
            weighing = weighing.ended(entry)
            continue
        decision = decisions[entry.decision]
        assert isinstance(decision, Expose)
        weighing = weighing.plus(entry.decision, decision, entry.bad)
    return weighing
