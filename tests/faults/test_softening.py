"""How each type of toxic comes off: its soft form, whether quietly, and how long it holds data."""

from __future__ import annotations

import pytest

from chaosbandit.faults.fault import Toxic
from chaosbandit.faults.softening import emptied_s, is_soft, let_go_s, may_be_quiet, soft_form
from chaosbandit.toxiproxy.wire_format import ATTRIBUTES

SOFT_ZERO = {"latency": 0, "jitter": 0}

#     type          attributes                        soft form  soft   quiet  if nobody gave up
TABLE: list[tuple[str, dict[str, int], dict[str, int] | None, bool, bool, bool]] = [
    ("latency", {"latency": 5, "jitter": 0}, SOFT_ZERO, False, True, True),
    ("latency", {"latency": 0, "jitter": 5}, SOFT_ZERO, False, True, True),
    ("latency", {"latency": 0, "jitter": 0}, SOFT_ZERO, True, True, True),
    ("latency", {}, SOFT_ZERO, True, True, True),
    ("slicer", {"average_size": 9, "delay": 1}, {"delay": 0}, False, True, True),
    ("slicer", {"average_size": 9, "delay": 0}, {"delay": 0}, True, True, True),
    ("bandwidth", {"rate": 5}, None, False, False, True),
    ("limit_data", {"bytes": 5}, None, True, True, True),
    ("slow_close", {"delay": 5}, None, True, True, True),
    ("noop", {}, None, True, True, True),
    ("timeout", {"timeout": 5}, None, False, False, False),
    ("reset_peer", {"timeout": 5}, None, False, False, False),
]


@pytest.mark.parametrize(("type", "attributes", "form", "soft", "quiet", "patient"), TABLE)
def test_each_type(
    type: str,
    attributes: dict[str, int],
    form: dict[str, int] | None,
    soft: bool,
    quiet: bool,
    patient: bool,
) -> None:
    toxic = Toxic(type, attributes)
    assert soft_form(toxic) == form
    assert is_soft(toxic) is soft
    assert may_be_quiet([toxic], nobody_gave_up=False) is quiet
    assert may_be_quiet([toxic], nobody_gave_up=True) is patient


def test_every_type_of_toxic_is_in_the_table() -> None:
    assert {row[0] for row in TABLE} == set(ATTRIBUTES)


def test_one_toxic_that_may_not_decides_for_all() -> None:
    both = [Toxic("latency", {"latency": 5}), Toxic("timeout", {"timeout": 0})]
    assert not may_be_quiet(both, nobody_gave_up=True)
    assert may_be_quiet([], nobody_gave_up=False)


@pytest.mark.parametrize(
    ("toxics", "wanted_s"),
    [
        ([], 0.2),
        ([Toxic("latency", {"latency": 1500, "jitter": 500})], 2.2),
        ([Toxic("latency", {})], 0.2),
        ([Toxic("reset_peer", {"timeout": 1000})], 1.2),
        ([Toxic("timeout", {"timeout": 9000})], 0.2),
        ([Toxic("bandwidth", {"rate": 1})], 2.0),
        ([Toxic("slicer", {"average_size": 1})], 2.0),
        ([Toxic("latency", {"latency": 100}), Toxic("slicer", {})], 2.0),
    ],
)
def test_emptied(toxics: list[Toxic], wanted_s: float) -> None:
    assert emptied_s(toxics) == pytest.approx(wanted_s)


def test_what_comes_off_softened_is_waited_for_and_nothing_else() -> None:
    slow = Toxic("latency", {"latency": 1500, "jitter": 500})
    assert let_go_s([slow]) == pytest.approx(2.2)
    assert let_go_s([slow, Toxic("timeout", {"timeout": 0})]) == 0.0
    assert let_go_s([Toxic("bandwidth", {"rate": 5})]) == 0.0
