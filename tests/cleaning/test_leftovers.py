"""What is found: each fault once, whose account of it counts, and what belongs together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from chaosbandit.cleaning.leftovers import Leftover, leftovers_at
from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.faults.names import Kind, written
from chaosbandit.faults.undo_steps import stand_in
from chaosbandit.safety.ledger import Damaged, Entries, Entry
from chaosbandit.toxiproxy.listing import Listing
from chaosbandit.toxiproxy.wire_format import ProxyRecord, ToxicRecord

HERE = "http://127.0.0.1:8474"
ELSEWHERE = "http://10.9.9.9:8474"
LISTEN, UPSTREAM = "127.0.0.1:9101", "127.0.0.1:9001"


def name(n: int, run: str = "run001", expires: int = 5) -> str:
    return written(Kind.TOXIC, run, expires, n=n)


def fault(*names: str, server: str = HERE, **more: object) -> Fault:
    made = Fault(
        run="run001",
        server=server,
        name=names[0],
        proxy="db",
        listen=LISTEN,
        upstream=UPSTREAM,
        expires_epoch_s=5,
        toxics=tuple(Toxic("latency", {"latency": 50}, name=one) for one in names),
        check="http://c/",
        bypass="http://b/",
    )
    return replace(made, **more)  # type: ignore[arg-type]


def proxy(shown: str, *toxics: str, listen: str = LISTEN, enabled: bool = True) -> ProxyRecord:
    carried = tuple(ToxicRecord(one, "latency", "downstream", 1.0, {}) for one in toxics)
    return ProxyRecord(shown, listen, UPSTREAM, enabled, carried)


def found(
    *proxies: ProxyRecord, entries: tuple[Entry, ...] = (), damaged: tuple[str, ...] = ()
) -> list[Leftover]:
    torn = tuple(Damaged(Path(f"/l/{one}.json"), "torn") for one in damaged)
    listing = Listing(HERE, {one.name: one for one in proxies})
    return leftovers_at(HERE, Entries(entries, torn), listing)


def test_toxics_of_one_run_on_one_proxy_are_one_fault() -> None:
    late = name(3, expires=9)
    foreign = name(1, run="run002")
    (first, second, third) = found(proxy("db", name(1), "theirs", name(2), late, foreign))
    assert [sorted(one.fault.toxic_names) for one in (first, second, third)] == [
        [name(1), name(2)],
        [late],
        [foreign],
    ]
    assert (first.fault.name, first.file, first.trusted) == (name(1), None, True)
    assert first.foreign_toxics == ["theirs"]


def test_ledger_knows_more_and_covers_all_its_toxics() -> None:
    known = fault(name(1), name(2))
    (only,) = found(proxy("db", name(2)), entries=(Entry(known),))
    assert (only.fault, only.file, only.seen) == (known, known.name, False)
    assert only.shown == proxy("db", name(2))


def test_toxics_that_the_ledger_does_not_know_are_a_fault_beside() -> None:
    known = fault(name(1))
    first, second = found(proxy("db", name(1), name(2)), entries=(Entry(known),))
    assert first.fault == known
    assert [toxic.name for toxic in second.fault.toxics] == [second.fault.name] == [name(2)]


def test_stand_in_belongs_to_the_fault_whose_proxy_it_serves() -> None:
    known = fault(name(1))
    serving = proxy(stand_in(known))
    closed = proxy("db", name(1), enabled=False)
    (with_ledger,) = found(closed, serving, entries=(Entry(known),))
    (by_names,) = found(closed, serving)
    assert with_ledger.served
    assert by_names.served
    assert by_names.fault.toxic_names == {name(1)}
    (alone,) = found(proxy("db", enabled=False), serving)
    assert (alone.fault.name, alone.fault.proxy, alone.fault.owned) == (serving.name, "db", False)


def test_stand_in_of_another_time_is_a_fault_beside() -> None:
    other = written(Kind.STAND_IN, "run001", 9, proxy="db")
    first, second = found(proxy("db", name(1)), proxy(other))
    assert not first.served
    assert second.fault.name == other


def test_paths_and_leases_are_known_by_their_names() -> None:
    path, lease = written(Kind.PATH, "run001", 5, n=1), written(Kind.LEASE, "run001", 5)
    bare = fault(name(1), name=path, proxy=path, owned=True, toxics=())
    first, toxic, second = found(proxy(path, name(1)), proxy(lease), entries=(Entry(bare),))
    assert (first.fault, first.file) == (bare, path)
    assert (toxic.fault.proxy, toxic.fault.owned) == (path, True)
    assert (second.fault.name, second.fault.owned, second.file) == (lease, True, None)


def test_without_a_listing_the_ledger_is_all_there_is() -> None:
    here, there = Entry(fault(name(1))), Entry(fault(name(2), server=ELSEWHERE))
    listed = leftovers_at("http://localhost:8474/", Entries((here, there)), None)
    assert [(one.fault, one.shown) for one in listed] == [(here.fault, None)]


def test_ledger_speaks_of_the_same_fault_under_another_url() -> None:
    known = fault(name(1), name(2), server=ELSEWHERE)
    (only,) = found(proxy("db", name(1)), entries=(Entry(known),))
    assert only.fault == replace(known, server=HERE)
    assert only.file == known.name


def test_another_fault_of_that_name_is_another_fault() -> None:
    known = fault(name(1), server=ELSEWHERE, listen="127.0.0.1:1")
    (only,) = found(proxy("db", name(1)), entries=(Entry(known),))
    assert (only.fault.check, only.file) == (None, None)


def test_of_a_file_that_others_may_write_only_the_names_count() -> None:
    forged = fault(name(1), name(2), upstream="6.6.6.6:6")
    (only,) = found(proxy("db", name(1)), entries=(Entry(forged, trusted=False),))
    assert only.fault == fault(name(1), check=None, bypass=None, toxics=only.fault.toxics)
    assert only.fault.toxic_names == {name(1)}
    assert (only.file, only.trusted, only.seen) == (forged.name, False, True)


def test_untrusted_file_of_which_nothing_is_shown_is_not_acted_on() -> None:
    forged = fault(name(1), proxy="payments", owned=True)
    (only,) = found(proxy("db"), entries=(Entry(forged, trusted=False),))
    assert (only.trusted, only.seen, only.file) == (False, False, forged.name)
    assert (only.fault.check, only.fault.bypass) == (None, None)


def test_damaged_file_belongs_to_what_its_name_says() -> None:
    (only,) = found(proxy("db", name(1), name(2)), damaged=(name(2),))
    assert only.file == name(2)
    (other,) = found(proxy("db", name(1)), damaged=(name(7),))
    assert other.file is None
