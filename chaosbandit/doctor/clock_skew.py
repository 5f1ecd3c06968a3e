"""Clock skew: other machines' clocks, as their HTTP answers date themselves, against ours.

Expiries in the names of faults and leases are compared by whoever cleans up, so clocks that differ
remove a fault too early or too late. The Date header has whole seconds; half the time the answer
took is allowed for.
"""

from __future__ import annotations

from dataclasses import dataclass

from chaosbandit.doctor.findings import Finding, fail, note, ok, warn
from chaosbandit.doctor.http_request import Answer
from chaosbandit.report.numbers_in_words import duration

NOTEWORTHY_S = 2.0
DANGEROUS_S = 30.0
_DO = "set both clocks by NTP: expiries of faults and leases are compared across machines"


@dataclass(frozen=True, slots=True)
class Skew:
    """How far a clock is ahead of ours (negative: behind), and how far that may be wrong."""

    ahead_s: float
    uncertain_s: float

    @property
    def least_s(self) -> float:
        """What it is at least, either way."""
        return max(0.0, abs(self.ahead_s) - self.uncertain_s)


def skew_of(answer: Answer) -> Skew | None:
    """The skew that an answer shows, or None where it is not dated."""
    if answer.date_epoch_s is None:
        return None
    middle_s = (answer.asked_epoch_s + answer.answered_epoch_s) / 2
    way_s = max(0.0, answer.answered_epoch_s - answer.asked_epoch_s) / 2
    return Skew(answer.date_epoch_s + 0.5 - middle_s, 0.5 + way_s)


def finding(url: str, answer: Answer, *, expiries: bool) -> Finding:
    """What to say of the clock behind `url`; `expiries` are compared with a Toxiproxy's only."""
    skew = skew_of(answer)
    if skew is None:
        what = f"{url} does not date its answers, so its clock is not known"
        return note("clock skew", what, do="compare the two clocks by hand: date -u")
    if skew.least_s <= NOTEWORTHY_S:
        return ok("clock skew", f"{url} agrees with this machine within {duration(NOTEWORTHY_S)}")
    side = "ahead of" if skew.ahead_s > 0 else "behind"
    found = f"the clock of {url} is {duration(abs(skew.ahead_s))} {side} ours"
    found += f" (give or take {duration(skew.uncertain_s)})"
    if not expiries:
        return note("clock skew", found, do="keep it in mind when comparing logs")
    say = fail if skew.least_s > DANGEROUS_S else warn
    return say("clock skew", found, f"at most {duration(NOTEWORTHY_S)}", _DO)
