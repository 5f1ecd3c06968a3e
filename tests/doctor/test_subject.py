"""What may be touched, and which proxies to ask for by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chaosbandit.core.model import Fault
from chaosbandit.core.names import fault_name
from chaosbandit.doctor.subject import host_of, names_at
from chaosbandit.safety.ledger import Entries, Entry
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
    name = fault_name("run001", 1, 1, "stock")
    fault = Fault("run001", f"{URL}/", name, "l:1", "u:1", "stock", 1, ())
    entries = Entries((Entry(fault),))
    assert names_at(URL, scenario(), entries) == ("inventory", name, "stock")
    assert names_at("http://other:1", None, entries) == ()
