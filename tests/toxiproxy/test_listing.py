"""What a server shows, read into records and faults; and what is no Toxiproxy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.toxiproxy.calls import Calls, UnansweredError
from chaosbandit.toxiproxy.listing import (
    Listing,
    StrangeError,
    all_proxies,
    as_toxic,
    one_proxy,
    proxy_of,
    toxics_named,
)
from chaosbandit.toxiproxy.wire_format import ProxyRecord, ToxicRecord
from tests.toxiproxy.doors import PROXY, Door, door, free_port
from tests.toxiproxy.misbehaving import always, answer, misbehaving


@pytest.fixture
def path(toxiproxy_url: str) -> Iterator[Door]:
    with door(toxiproxy_url) as path:
        yield path


def toxic(name: str, latency: int = 5) -> ToxicRecord:
    return ToxicRecord(name, "latency", "DownStream", 1.0, {"latency": latency, "jitter": 0})


def listing(*proxies: ProxyRecord) -> Listing:
    return Listing("http://h:1", {proxy.name: proxy for proxy in proxies})


def proxy(name: str, *toxics: ToxicRecord, enabled: bool = True) -> ProxyRecord:
    return ProxyRecord(name, "l:1", "u:1", enabled, toxics)


def test_a_server_is_listed(path: Door) -> None:
    fault = path.put(path.fault(path.toxic(1), path.toxic(2, "slicer")))
    path.add("theirs", "latency", {"latency": 1})
    with closing(Calls(path.url)) as calls:
        shown = all_proxies(calls)
        assert shown.faults() == [fault]
        record = one_proxy(calls, PROXY)
        assert record == shown.proxies[PROXY]
        assert record is not None
        assert (record.listen, record.enabled) == (path.listen, True)
        assert [each.name for each in record.toxics] == [*sorted(fault.toxic_names), "theirs"]
        assert toxics_named(record, ["theirs", "other"]) == [record.toxics[2]]
        assert one_proxy(calls, "other") is None
        path.call("DELETE", f"/proxies/{PROXY}")
        assert all_proxies(calls) == Listing(path.url, {})


def test_toxics_made_together_are_one_fault_by_their_numbers() -> None:
    shown = proxy("db", toxic("cb.run001.5.2"), toxic("t"), toxic("cb.run001.5.1"))
    (fault,) = listing(shown).faults()
    made = [Toxic("latency", {"latency": 5, "jitter": 0}, name=f"cb.run001.5.{n}") for n in (1, 2)]
    place = ("http://h:1", "cb.run001.5.1", "db", "l:1", "u:1", 5)
    assert fault == Fault("run001", *place, toxics=tuple(made))


def test_runs_and_expiries_are_told_apart() -> None:
    names = ["cb.run001.5.1", "cb.run001.6.1", "cb.run002.5.1"]
    found = listing(proxy("db", *map(toxic, names))).faults()
    assert sorted(fault.name for fault in found) == names


def test_proxies_of_ours_come_after_all_toxics() -> None:
    found = listing(
        proxy("cb-standin.run001.5.a~2fb"),
        proxy("cb-path.run001.5.1", toxic("cb.run001.5.2")),
        proxy("cb-lease.run001.7", enabled=False),
        proxy("a/b", toxic("cb.run001.5.3")),
        proxy("theirs", toxic("latency_downstream")),
    ).faults()
    assert [(fault.name, fault.proxy, fault.owned, len(fault.toxics)) for fault in found] == [
        ("cb.run001.5.2", "cb-path.run001.5.1", True, 1),
        ("cb.run001.5.3", "a/b", False, 1),
        ("cb-standin.run001.5.a~2fb", "a/b", False, 0),
        ("cb-path.run001.5.1", "cb-path.run001.5.1", True, 0),
        ("cb-lease.run001.7", "cb-lease.run001.7", True, 0),
    ]


def test_a_toxic_of_any_spelling_can_be_undone() -> None:
    assert as_toxic(toxic("t")) == Toxic("latency", {"latency": 5, "jitter": 0}, name="t")


GOOD: dict[str, Any] = {"name": "db", "listen": "l:1", "upstream": "u:1", "enabled": True}
GOOD_TOXIC: dict[str, Any] = {
    "name": "t",
    "type": "latency",
    "stream": "downstream",
    "toxicity": 1,
    "attributes": {"latency": 1},
}


def test_toxics_may_be_missing() -> None:
    assert proxy_of(GOOD) == proxy_of({**GOOD, "toxics": None}) == proxy("db")


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "db",
        {},
        {**GOOD, "enabled": 1},
        {**GOOD, "name": 1},
        {**GOOD, "name": "\ud800"},
        {**GOOD, "toxics": 5},
        {**GOOD, "toxics": [None]},
        {**GOOD, "toxics": [{**GOOD_TOXIC, "attributes": None}]},
        {**GOOD, "toxics": [{**GOOD_TOXIC, "attributes": {"latency": "x"}}]},
        {**GOOD, "toxics": [{**GOOD_TOXIC, "attributes": {"latency": float("inf")}}]},
        {**GOOD, "toxics": [{**GOOD_TOXIC, "toxicity": None}]},
        {"\x1b[31m": "x" * 10**6},
    ],
)
def test_what_is_no_proxy_is_strange(value: Any) -> None:
    with pytest.raises(StrangeError) as raised:
        proxy_of(value)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400


NOT_FOUND = {"error": "proxy not found", "status": 404}


@pytest.mark.parametrize(
    "reply",
    [
        answer({}, "404 Not Found"),
        answer(NOT_FOUND, "404 Not Found"),
        answer(b"<html>", "200 OK"),
        answer(b"[]", "200 OK"),
        answer(b"null", "200 OK"),
        answer(b"", "204 No Content"),
        answer(b"", "503 Service Unavailable"),
        answer({"db": {}}, "200 OK"),
        answer(b"[" * 900 + b"]" * 900, "200 OK"),
        answer(b'{"a":' + b"[" * 900 + b"]" * 900 + b"}", "200 OK"),
    ],
)
def test_what_is_no_listing_has_shown_nothing(reply: bytes) -> None:
    with misbehaving(always(reply)) as server, closing(Calls(server.url)) as calls:
        with pytest.raises(StrangeError):
            all_proxies(calls)


@pytest.mark.parametrize(
    "reply",
    [
        answer(b"404 page not found", "404 Not Found"),
        answer({"error": "toxic not found"}, "404 Not Found"),
        answer(NOT_FOUND, "410 Gone"),
        answer(b"{}"),
        answer({"db": GOOD}),
    ],
)
def test_only_toxiproxys_own_words_say_that_a_proxy_is_gone(reply: bytes) -> None:
    with misbehaving(always(reply)) as server, closing(Calls(server.url)) as calls:
        with pytest.raises(StrangeError):
            one_proxy(calls, "db")


def test_nobody_there_is_told_from_no_answer() -> None:
    with closing(Calls(f"http://127.0.0.1:{free_port()}")) as calls:
        with pytest.raises(UnansweredError) as raised:
            all_proxies(calls)
    assert raised.value.refused
