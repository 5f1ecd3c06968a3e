"""What names of ours say, and that nobody else's name says anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosbandit.faults.names import Kind, Name, is_lease, owner, parse, written

RUNS = st.from_regex(r"[a-z0-9]{6,16}", fullmatch=True)
EXPIRIES = st.integers(0, 10**12 - 1)
PROXIES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)  # no lone surrogates


@given(st.sampled_from([Kind.TOXIC, Kind.PATH]), RUNS, EXPIRIES, st.integers(0, 10**9 - 1))
def test_numbered_names_are_read_back(kind: Kind, run: str, expires: int, n: int) -> None:
    assert parse(written(kind, run, expires, n=n)) == Name(kind, run, expires, n)


@given(RUNS, EXPIRIES, PROXIES)
def test_stand_ins_of_any_proxy_are_read_back(run: str, expires: int, proxy: str) -> None:
    name = written(Kind.STAND_IN, run, expires, proxy=proxy)
    assert parse(name) == Name(Kind.STAND_IN, run, expires, proxy=proxy)
    assert name.isascii()
    assert not set(name) & set("/?#%&'\"$` \n")


@given(RUNS, EXPIRIES)
def test_leases_are_read_back(run: str, expires: int) -> None:
    name = written(Kind.LEASE, run, expires)
    assert parse(name) == Name(Kind.LEASE, run, expires)
    assert is_lease(name)


@given(st.text() | st.from_regex(r"cb[-a-z]*\.[a-z0-9~.]*", fullmatch=True))
def test_what_is_read_is_written_the_same(text: str) -> None:
    found = parse(text)
    assert found is None or str(found) == text


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("cb.run001.1790000000.1", "run001"),
        ("cb-path.run001.0.0", "run001"),
        ("cb-standin.run001.5.a~2fb", "run001"),
        ("cb-lease.sweeper.5", "sweeper"),
        ("", None),
        ("cb", None),
        ("cb.run001.5", None),  # a toxic has a number
        ("cb.run001.5.1\n", None),
        ("cb.run001.05.1", None),  # two names would be one
        ("cb.run001.5.01", None),
        ("cb.run001.5.x", None),
        ("cb.run001.5.1.2", None),
        ("cb.run001.-5.1", None),
        ("cb.run001.٥.1", None),
        ("cb.RUN001.5.1", None),
        ("cb.run.5.1", None),
        ("cb-lease.run001.5.1", None),
        ("cb-standin.run001.5", None),
        ("cb-standin.run001.5.a~2", None),
        ("cb-standin.run001.5.a~ff", None),  # no UTF-8
        ("cb-standin.run001.5.~61", None),  # an `a` is written as one
        ("cb-other.run001.5.1", None),
        ("xcb.run001.5.1", None),
        ("CB.run001.5.1", None),
    ],
)
def test_owner(name: str, run: str | None) -> None:
    assert owner(name) == run


@pytest.mark.parametrize(
    ("kind", "run", "expires", "n", "proxy"),
    [
        (Kind.TOXIC, "short", 1, 0, ""),
        (Kind.TOXIC, "seventeen17171717", 1, 0, ""),
        (Kind.TOXIC, "run.01", 1, 0, ""),
        (Kind.TOXIC, "run001", -1, 0, ""),
        (Kind.TOXIC, "run001", 10**12, 0, ""),
        (Kind.TOXIC, "run001", 1, -1, ""),
        (Kind.TOXIC, "run001", 1, 10**9, ""),
        (Kind.PATH, "", 1, 0, ""),
        (Kind.STAND_IN, "run001", 1, 0, ""),
        (Kind.STAND_IN, "run001", 1, 0, "\ud800"),
        (Kind.LEASE, "run 01", 1, 0, ""),
    ],
)
def test_what_could_not_be_read_back_is_not_written(
    kind: Kind, run: str, expires: int, n: int, proxy: str
) -> None:
    with pytest.raises(ValueError, match=r"no name can be made|surrogates not allowed"):
        written(kind, run, expires, n=n, proxy=proxy)


def test_only_leases_are_leases() -> None:
    assert not is_lease("cb.run001.5.1")
    assert not is_lease("cb-lease")
