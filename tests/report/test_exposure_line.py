from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chaosbandit.core.model import Dose
from chaosbandit.report.exposure_line import exposure_line
from chaosbandit.report.result import result_of

if TYPE_CHECKING:
    from tests.report.conftest import Tell


def test_one_line_an_exposure(tell: Tell) -> None:
    first, second = result_of(tell("interrupted").campaign).exposures
    assert exposure_line(first, "s") == (
        "exposure 1: 101 ms, 80 requests, none bad, 102 ms delivered, 101 ms felt"
    )
    assert exposure_line(second, "s") == (
        "exposure 2: 302 ms, 7 requests, 2 bad (latency), 303 ms delivered, 302 ms felt, "
        "void: interrupted with 4 requests in flight"
    )


def test_the_line_of_an_exposure_names_its_ladder_where_asked(tell: Tell) -> None:
    exposure = result_of(tell("two ladders").campaign).exposures[1]
    line = exposure_line(exposure, "s", named=True)
    assert line.startswith("exposure 2: slow-prices 20 ms, 80 requests, none bad, ")


@pytest.mark.parametrize(
    ("dose", "unit", "part"),
    [
        (Dose(0.1, 0.1, None), "s", ", 100 ms delivered"),
        (Dose(0.1, None, -0.002), "s", "delivery not measured, -2 ms felt"),
        (Dose(0.1, 0.12, 0.12), "share", "12 % of requests broken"),
    ],
)
def test_doses(tell: Tell, dose: Dose, unit: str, part: str) -> None:
    exposure = result_of(tell("answered").campaign).exposures[0]
    assert exposure_line(replace(exposure, dose=dose), unit).endswith(part)
