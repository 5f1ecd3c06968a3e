"""What has to be mended before advice on the target means anything."""

from __future__ import annotations

import pytest

from chaosbandit.doctor.finding_order import in_order
from chaosbandit.doctor.findings import Finding, fail, note, ok, warn
from chaosbandit.doctor.target import BROKEN, CHANCE, MAY_BE_THE_PATH

TARGET = fail("target", "503", "200", BROKEN)


@pytest.mark.parametrize(
    ("other", "do"),
    [
        (ok("toxiproxy", "fine"), BROKEN),
        (note("leftovers", "a lock file", do="x"), BROKEN),
        (fail("watchdog", "none", do="x"), BROKEN),
        (fail("toxiproxy", "silent", do="x"), "first mend Toxiproxy, then look again"),
        (fail("API latency", "frozen", do="x"), "first mend Toxiproxy, then look again"),
        (fail("proxy cart", "disabled", do="x"), "first mend proxy cart, then look again"),
        (fail("leftovers", "a fault", do="x"), "first mend the leftovers, then look again"),
        (warn("leftovers", "a run", do="x"), "first see to the leftovers, then look again"),
    ],
)
def test_what_comes_first(other: Finding, do: str) -> None:
    found = in_order([TARGET, other], MAY_BE_THE_PATH)
    assert ([found[0].do, found[0].found], found[1]) == ([do, "503"], other)


def test_a_frozen_server_comes_before_what_it_holds() -> None:
    others = [fail("proxy cart", "?"), fail("leftovers", "?"), fail("toxiproxy", "?")]
    assert in_order([TARGET, *others], MAY_BE_THE_PATH)[0].do.startswith("first mend Toxiproxy")


def test_what_is_the_targets_own_stays() -> None:
    broken = fail("toxiproxy", "silent", do="x")
    mine = [
        fail("target", "refused", do="start it"),
        fail("control", "503", do=BROKEN),
        ok("dependency", "200"),
    ]
    assert in_order([*mine, broken], MAY_BE_THE_PATH) == [*mine, broken]
    others = [fail("dependency", "refused", do="start it"), note("target", "1 of 20", do=CHANCE)]
    found = in_order([*others, broken], MAY_BE_THE_PATH)
    assert {each.do for each in found[:2]} == {"first mend Toxiproxy, then look again"}
