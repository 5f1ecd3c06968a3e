"""What may be touched, and which proxies to ask for by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chaosbandit.doctor.what_to_examine import host_of, names_at, servers_of
from chaosbandit.faults.names import Kind, written
from chaosbandit.safety.ledger import Entries, Entry
from tests.doctor.faults import fault_of
from tests.doctor.looking import URL, subject
from tests.simulated import scenario


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://[::1]:80/x", "::1"),
        ("https://shop.example/{n}", "shop.example"),
        ("127.0.0.1:9", "127.0.0.1"),
        ("", ""),
    ],
)
def test_hosts(url: str, host: str) -> None:
    assert host_of(url) == host


def test_what_is_far_needs_yes_and_what_is_protected_stays_alone(tmp_path: Path) -> None:
    far = subject(tmp_path, far=frozenset({"far"}), protected=frozenset({"bank"}))
    meant = replace(far, yes=True)
    for each, touched in ((far, [True, False, False]), (meant, [True, True, False])):
        urls = ("http://near/", "http://far:80/", "http://bank:443/{n}")
        assert [each.may_touch(url) for url in urls] == touched


def test_names_come_from_scenario_and_ledger() -> None:
    fault = fault_of(server=f"{URL}/", proxy="stock")
    name = written(Kind.LEASE, "run001", 1)
    lease = replace(fault, name=name, proxy=name, toxics=(), owned=True)
    entries = Entries((Entry(fault), Entry(lease)))
    assert names_at(URL, scenario(), entries) == ("inventory", "stock")
    assert names_at("http://other:1", None, entries) == ()


def test_each_server_is_asked_once_however_it_is_spelt(tmp_path: Path) -> None:
    urls = ("http://localhost:8474/", "http://127.0.0.1:8475", "http://localhost:8475")
    entries = Entries(tuple(Entry(fault_of(server=url)) for url in urls))
    there = subject(tmp_path, servers=(f"{URL}/",))
    assert servers_of(there, entries) == ([URL], ["http://127.0.0.1:8475"])
