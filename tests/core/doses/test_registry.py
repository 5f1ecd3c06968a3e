"""What holds for every dose, and how they are found."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest

from chaosbandit.core.doses import Dose, Seen, dose, names
from chaosbandit.core.model import Dose as Measured
from chaosbandit.faults.softening import soft_form

every_dose = pytest.mark.parametrize("meant", [dose(name) for name in names()], ids=names())


def test_a_dose_is_found_by_its_name() -> None:
    assert names() == ("errors", "latency", "number")
    for name in names():
        assert dose(name).name == name
        assert dose(name) is dose(name)


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="found a dose 'late', wanted one of: errors, latency, n"):
        dose("late")
    with pytest.raises(ValueError, match="_spacing"):
        dose("_spacing")


def test_naming_doses_imports_none() -> None:
    code = (
        "import sys; from chaosbandit.core import doses; doses.names(); doses.dose('errors'); "
        "print(*sorted(m.rpartition('.')[2] for m in sys.modules if '.core.doses.' in m))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["_spacing", "errors"], done.stderr


@every_dose
def test_a_dose_is_a_value(meant: Dose) -> None:
    other = type(meant)()
    assert meant == other
    assert hash(meant) == hash(other)
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        meant.name = "other"  # type: ignore[misc]


@every_dose
@pytest.mark.parametrize("resolution", [0.01, 0.1, 1.0])
def test_a_grid_leads_from_mild_to_harsh_each_severity_once(meant: Dose, resolution: float) -> None:
    grid = meant.grid(0.01, 0.5, resolution)
    assert (grid[0], grid[-1]) == pytest.approx((0.01, 0.5))
    assert meant.rises
    assert all(low < high for low, high in itertools.pairwise(grid))


@every_dose
def test_it_softens_where_every_toxic_of_it_has_a_soft_form(meant: Dose) -> None:
    toxics = meant.toxics(0.25)
    assert meant.softens(0.25) == all(soft_form(toxic) is not None for toxic in toxics)


@every_dose
def test_an_answer_takes_at_most_the_longest(meant: Dose) -> None:
    assert 0.0 <= meant.delay_s(0.25) <= meant.longest_s(0.25)


@pytest.mark.parametrize("name", ["errors", "number"])
def test_a_dose_that_takes_no_time_is_judged_by_outcomes_alone(name: str) -> None:
    meant = dose(name)
    assert meant.longest_s(0.5) == 0.0
    assert meant.delivery(0.5, 0.0, 0.002, failed_checks=9, checks=9) is None
    assert meant.exercised([Measured(0.5, 0.5, 0.0)])
    assert meant.explains(0.5, 0.0)
    assert not meant.patient(0.5, 0.5)


@every_dose
def test_what_was_not_seen_is_not_measured(meant: Dose) -> None:
    assert meant.measured(0.5, Seen()) == (None, None)
