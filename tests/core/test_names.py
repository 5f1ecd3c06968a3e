"""Names of our proxies: written and read back, and nobody else's taken for ours."""

from __future__ import annotations

import pytest

from chaosbandit.core.names import (
    ParsedLease,
    ParsedName,
    fault_name,
    lease_name,
    owner,
    parse_lease,
    parse_name,
)


def test_name_carries_everything_needed_to_clean_up() -> None:
    assert fault_name("abc123", 1790000000, 7, "inventory") == "cb.abc123.1790000000.7.inventory"


@pytest.mark.parametrize("original", ["inventory", "Inventory-2_b", "-", "cb", "7"])
def test_name_reads_back_as_written(original: str) -> None:
    name = fault_name("0123456789abcdef", 0, 12, original)
    assert parse_name(name) == ParsedName("0123456789abcdef", 0, 12, original)


def test_name_tells_whether_something_must_be_restored() -> None:
    ours = parse_name(fault_name("abc123", 1790000000, 7, "inventory", stands_in=False))
    replaced = parse_name(fault_name("abc123", 1790000000, 7, "inventory"))
    assert ours is not None
    assert replaced is not None
    assert (ours.original, ours.restores) == ("inventory", None)
    assert (replaced.original, replaced.restores) == ("inventory", "inventory")


@pytest.mark.parametrize(
    "name",
    [
        "inventory",
        "cb.inventory",
        "cb.short.1790000000.1.inventory",
        "cb.abc123.soon.1.inventory",
        "cb.abc123.1790000000.1.",
        "cb.abc123.1790000000.1.a.b",
        "cb.abc123.1790000000.1.inventory\n",
        "cb.abc123.1790000000.01.inventory",
        "cb.abc123.1790000000.\u0661.inventory",
        "cb.ABC123.1790000000.1.inventory",
        "xcb.abc123.1790000000.1.inventory",
        "cb-lease.abc123.1790000000",
    ],
)
def test_other_names_are_not_ours(name: str) -> None:
    assert parse_name(name) is None


@pytest.mark.parametrize(
    ("run", "expires_epoch_s", "n", "original"),
    [
        ("abc", 1, 1, "x"),
        ("abc123" * 3, 1, 1, "x"),
        ("abc.123", 1, 1, "x"),
        ("abc123", -1, 1, "x"),
        ("abc123", 1, -1, "x"),
        ("abc123", 1, 1, ""),
        ("abc123", 1, 1, "sl/ash"),
        ("abc123", 1, 1, "a.b"),
    ],
)
def test_parts_that_could_not_be_read_back_are_refused(
    run: str, expires_epoch_s: int, n: int, original: str
) -> None:
    with pytest.raises(ValueError, match="no proxy name can be made"):
        fault_name(run, expires_epoch_s, n, original)


def test_a_lease_is_read_back_from_its_name() -> None:
    name = lease_name("run001", 1_900_000_000)
    assert name == "cb-lease.run001.1900000000"
    assert parse_lease(name) == ParsedLease("run001", 1_900_000_000)
    assert parse_name(name) is None
    assert owner(name) == owner("cb.run001.1900000000.1.inventory") == "run001"


@pytest.mark.parametrize(
    "name", ["cb-lease.run.1", "cb-lease.run001.01", "cb-lease.run001.1.x", "xcb-lease.run001.1"]
)
def test_what_is_no_lease_is_nobodys(name: str) -> None:
    assert parse_lease(name) is None
    assert owner(name) is None


def test_no_lease_is_named_so_that_it_could_not_be_read() -> None:
    with pytest.raises(ValueError, match="wanted a run of 6-16"):
        lease_name("RUN001", 1)
