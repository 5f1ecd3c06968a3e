from __future__ import annotations

import pytest

from chaosbandit.core.doses import Seen
from chaosbandit.core.doses.errors import Errors


@pytest.mark.parametrize(("severity", "text"), [(0.031, "3.1 %"), (1.0, "100 %")])
def test_severities_in_words(severity: float, text: str) -> None:
    assert Errors().text(severity) == text


def test_connections_are_closed_with_that_probability() -> None:
    (toxic,) = Errors("upstream").toxics(0.5)
    assert (toxic.type, toxic.stream, toxic.toxicity) == ("limit_data", "upstream", 0.5)
    assert toxic.attributes == {"bytes": 0}


def test_it_has_no_soft_form_and_takes_no_time() -> None:
    assert not Errors().softens(0.5)
    assert (Errors().unit, Errors().longest_s(0.5)) == ("share", 0.0)


def test_shares_are_rounded_to_a_millionth_and_never_to_none() -> None:
    assert Errors().grid(1e-6, 2e-6, 0.1) == (1e-6, 2e-6)


def test_the_share_of_broken_requests_is_delivered_and_felt() -> None:
    seen = Seen(canary_s=0.2, control_s=0.1, check_s=0.3, usual_check_s=0.1, broken_share=0.12)
    assert Errors().measured(0.1, seen) == (0.12, 0.12)
