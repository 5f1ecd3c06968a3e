from __future__ import annotations

from chaosbandit.core.doses import Seen
from chaosbandit.core.doses.number import Number


def test_a_number_is_said_as_it_is() -> None:
    assert Number().text(12.5) == "12.5"
    assert Number().unit == ""


def test_nothing_is_put_onto_the_proxy_and_nothing_measured() -> None:
    assert Number().toxics(5.0) == ()
    assert Number().measured(5.0, Seen(canary_s=1.0, control_s=0.1, broken_share=0.5)) == (
        None,
        None,
    )


def test_its_grid_is_not_rounded() -> None:
    grid = Number().grid(1.0, 2.0, 1.0)
    assert [round(severity, 6) for severity in grid] == [1.0, 1.189207, 1.414214, 1.681793, 2.0]
