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
class Weighing:
    """The certificate of a ladder and what is not in it yet."""

    certificate: Certificate
    before: Certificate  # at the start of the open exposure
    number: int | None = None  # the decision that the newest samples belong to
    decision: Expose | None = None
    opens: bool = True  # none of its samples is in the certificate
    pending: tuple[Flags, ...] = ()  # a block of it that is not complete
    sent: int = 0  # of its samples

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
            return now._with((bad,), more=1)
        now = replace(now, sent=now.sent + 1, pending=(*now.pending, bad))
        return now._block_closed() if len(now.pending) == now.certificate.block else now

    def many(self, number: int, decision: Expose, bad: Mask) -> Weighing:
        """With all samples of a decision at once, [sample, SLO]."""
        now = self if self.number == number else self._at(number, decision)
        if decision.purpose not in _BETS or not len(bad):
            return now
        now = replace(now, sent=now.sent + len(bad))
        unsent = -len(bad) % now.certificate.block
        if now._cut and unsent:
            bad = np.vstack((bad, np.ones((unsent, bad.shape[1]), dtype=np.bool_)))
        return now._with(bad)

    def ended(self, validity: Validity) -> Weighing:
        """At the end of the exposure: a void one loses its gains, and keeps its losses.

        A reason that was found without looking at the canary's samples takes both.
        """
        certificate = self._block_closed().certificate
        if validity.blind:
            certificate = self.before
        elif not validity.valid:
            certificate = certificate.keep_losses(self.before)
        return Weighing.start(certificate)

    def _at(self, number: int, decision: Expose) -> Weighing:
        certificate = self._block_closed().certificate
        return Weighing(certificate, self.before, number, decision)

    @property
    def _cut(self) -> bool:
        """Whether fewer held samples came than were decided: what was seen may be why."""
        assert self.decision is not None
        return self.decision.purpose is Purpose.HELD and self.sent < self.decision.samples

    def _with(self, rows: Sequence[Flags] | Mask, more: int = 0) -> Weighing:
        assert self.decision is not None, "samples belong to a decision to expose"
        purpose, bets = self.decision.purpose, self.decision.bets
        arm = self.decision.variant.arm
        moved = self.certificate.observe(arm, purpose, bets, rows, opens=self.opens)
        sent = self.sent + more
        return Weighing(moved, self.before, self.number, self.decision, opens=False, sent=sent)

    def _block_closed(self) -> Weighing:
        """A held block that was cut counts what was not sent as bad.

        Else one could stop at the first bad sample of each block and keep only the good blocks. A
        guardrail and a decision stop the sending because of what they saw; the end of
        `max_exposure` does where slow answers keep further requests back.
        """
        if not self.pending:
            return self
        rows, missing = self.pending, self.certificate.block - len(self.pending)
        if self._cut:
            rows = (*rows, *((True,) * len(rows[0]),) * missing)
        return self._with(rows)


def weighed_anew(
    certificate: Certificate,
    history: Iterable[Weighed | Validity],
    decisions: Mapping[int, Decision],
) -> Weighing:
    """A whole history once more, from a certificate without evidence, as the fold would have it.

    It has the samples, and after those of an exposure how that one was judged.

    Longer blocks are valid whatever led to them, as long as all evidence is weighed by them: the
    choice of a larger m only ever gives up evidence.
    """
    weighing = Weighing.start(certificate)
    for entry in history:
        if isinstance(entry, Validity):
            weighing = weighing.ended(entry)
            continue
        decision = decisions[entry.decision]
        assert isinstance(decision, Expose)
        weighing = weighing.plus(entry.decision, decision, entry.bad)
    return weighing
