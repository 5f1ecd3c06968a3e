from __future__ import annotations

import pytest

from chaosbandit.core.doses import Misdelivered, Misdelivery, Seen
from chaosbandit.core.doses.latency import Latency
from chaosbandit.core.model import Dose as Measured

LATENCY = Latency()


@pytest.mark.parametrize(
    ("severity", "text"),
    [
        (0.001, "1 ms"),
        (0.19, "190 ms"),
        (0.9994, "999.4 ms"),
        (1.0, "1 s"),
        (2.414, "2.414 s"),
    ],
)
def test_severities_in_words(severity: float, text: str) -> None:
    assert LATENCY.text(severity) == text


def test_a_severity_becomes_whole_milliseconds_and_jitter_a_share_of_them() -> None:
    (toxic,) = Latency(0.25, "upstream").toxics(0.1)
    assert (toxic.type, toxic.stream, toxic.toxicity) == ("latency", "upstream", 1.0)
    assert toxic.attributes == {"latency": 100, "jitter": 25}
    assert toxic.name == ""


def test_it_softens_and_takes_its_time() -> None:
    late = Latency(0.25)
    assert late.softens(0.1)
    assert (late.unit, late.delay_s(0.4), late.longest_s(0.4)) == ("s", 0.4, 0.5)


def test_what_is_usual_is_no_part_of_what_was_measured() -> None:
    """A canary that is 10 ms slower than control by itself feels nothing of a dose."""
    seen = Seen(
        canary_s=0.040, control_s=0.030, check_s=0.105, usual_check_s=0.005,
        steady_difference_s=0.010,
    )  # fmt: skip
    assert LATENCY.measured(0.1, seen) == pytest.approx((0.100, 0.0))


@pytest.mark.parametrize(
    ("seen", "measured"),
    [
        (Seen(canary_s=0.13, control_s=0.03), (None, 0.1)),
        (Seen(check_s=0.13, usual_check_s=0.03), (0.1, None)),
        (Seen(canary_s=0.13, check_s=0.13), (None, None)),
    ],
)
def test_each_half_needs_both_of_its_medians(
    seen: Seen, measured: tuple[float | None, float | None]
) -> None:
    assert LATENCY.measured(0.1, seen) == pytest.approx(measured)


@pytest.mark.parametrize(
    ("delivered", "how"),
    [
        (0.0, Misdelivered.LESS),
        (0.077, Misdelivered.LESS),
        (0.079, None),
        (0.100, None),
        (0.126, None),
        (0.128, Misdelivered.MORE),
        (5.0, Misdelivered.MORE),
        (None, None),
    ],
)
def test_the_dose_must_arrive_as_it_was_asked(
    delivered: float | None, how: Misdelivered | None
) -> None:
    found = LATENCY.delivery(0.1, delivered, noise_s=0.002, checks=10)
    assert found == (how and Misdelivery(how, 0.1, delivered, 0, 10))


def test_the_noise_of_the_dependency_widens_what_is_taken() -> None:
    assert LATENCY.delivery(0.1, 0.051, noise_s=0.03) is None
    assert LATENCY.delivery(0.1, 0.154, noise_s=0.03) is None


@pytest.mark.parametrize(
    ("jitter", "delivered", "how"),
    [
        (0.33, 1.99, None),  # an answer in several chunks has the longest draw
        (0.33, 2.01, Misdelivered.MORE),
        (0.33, 1.01, None),
        (0.33, 0.99, Misdelivered.LESS),
        (0.1, 1.88, Misdelivered.MORE),  # narrower than what any dose is allowed
        (1.0, 0.02, Misdelivered.LESS),  # and a fault that is not there stays one
    ],
)
def test_jitter_is_part_of_what_was_asked(
    jitter: float, delivered: float, how: Misdelivered | None
) -> None:
    found = Latency(jitter=jitter).delivery(1.5, delivered, noise_s=0.002)
    assert (found.how if found else None) == how


@pytest.mark.parametrize(
    ("failed", "checks", "closed"),
    [(0, 0, False), (0, 9, False), (4, 9, False), (5, 10, True), (9, 9, True)],
)
def test_a_path_whose_checks_fail_is_closed_and_not_slow(
    failed: int, checks: int, closed: bool
) -> None:
    found = LATENCY.delivery(0.1, 0.1, 0.002, failed, checks)
    assert (found is not None) == closed
    assert found is None or found == Misdelivery(Misdelivered.CLOSED, 0.1, 0.1, failed, checks)


def doses(*felt: tuple[float, float | None]) -> list[Measured]:
    """Doses that arrived as asked, and what was felt of them."""
    return [Measured(asked, delivered=asked, felt=felt_s) for asked, felt_s in felt]


@pytest.mark.parametrize(
    "felt",
    [
        pytest.param([(0.1, 0.1), (0.2, 0.2)], id="felt as it is"),
        pytest.param([(0.1, 0.03), (0.8, 0.24)], id="in part, as one call of three"),
        pytest.param([(0.1, 0.008)], id="just enough of one severity"),
        pytest.param([(0.1, 0.05), (0.15, 0.04)], id="too close to tell growth"),
        pytest.param([(0.1, 0.0), (0.1, 0.1), (0.1, 0.1), (1.0, 1.0)], id="one odd exposure"),
        pytest.param([(0.001, 0.0), (0.019, 0.0)], id="all too mild to tell"),
        pytest.param([(0.5, None)], id="not measured"),
        pytest.param([], id="none yet"),
        pytest.param([(0.01, 0.01), (1.0, 0.3)], id="up to a fallback"),
    ],
)
def test_a_path_that_is_used_or_may_be(felt: list[tuple[float, float | None]]) -> None:
    assert LATENCY.exercised(doses(*felt))


@pytest.mark.parametrize(
    "felt",
    [
        pytest.param([(0.1, 0.0), (2.0, 0.001)], id="nothing is felt"),
        pytest.param([(0.1, 0.006)], id="too little of one severity"),
        pytest.param([(0.05, 0.03), (0.1, 0.03)], id="as slow at any severity"),
        pytest.param([(0.02, 0.03), (2.0, 0.11)], id="hardly slower at a hundred times as much"),
        pytest.param([(0.02, 0.03), (0.04, 0.029)], id="less of more"),
        pytest.param([(0.001, 0.030), (0.1, 0.001)], id="the mildest tell nothing"),
    ],
)
def test_a_path_that_is_not_used(felt: list[tuple[float, float | None]]) -> None:
    assert not LATENCY.exercised(doses(*felt))


def test_what_did_not_arrive_says_nothing_of_the_path() -> None:
    assert LATENCY.exercised([Measured(1.0, delivered=None, felt=0.0)])


@pytest.mark.parametrize(
    ("latency_s", "explained"), [(0.0, False), (0.077, False), (0.079, True), (3.0, True)]
)
def test_a_bad_answer_that_came_before_the_dose_is_not_its_doing(
    latency_s: float, explained: bool
) -> None:
    assert LATENCY.explains(0.1, latency_s) == explained


@pytest.mark.parametrize(
    ("felt", "patient"), [(None, False), (0.0, False), (0.077, False), (0.079, True), (0.2, True)]
)
def test_clients_were_patient_where_the_dose_was_felt(felt: float | None, patient: bool) -> None:
    assert LATENCY.patient(0.1, felt) == patient
