"""The scenario's proxies at a server."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import replace

import pytest

from chaosbandit.core.scenario import Proxy, Scenario
from chaosbandit.doctor.findings import Finding
from chaosbandit.doctor.proxies import findings
from chaosbandit.doctor.server_answer import ServerAnswer, look
from chaosbandit.faults.names import Kind, written
from chaosbandit.toxiproxy.wire_format import ProxyRecord, ToxicRecord
from tests.doctor.faults import put_on
from tests.doctor.looking import levels, one, shown
from tests.operator_path import free_port, operator_path
from tests.simulated import scenario

PROXY = "proxy inventory"
INVENTORY = ProxyRecord("inventory", "127.0.0.1:2", "127.0.0.1:1")
NOW_S = int(time.time())  # of the whole file: its tests may run much later
SOON = NOW_S + 100
TOXIC = ToxicRecord("theirs", "latency", "downstream", 1.0, {"latency": 5, "jitter": 0})


def looked(server: ServerAnswer, over: Scenario | None = None) -> list[Finding]:
    return findings(server, over or scenario(), NOW_S)


def test_as_wanted() -> None:
    found = looked(shown(INVENTORY))
    assert levels(found) == ["ok", "ok"]
    assert "127.0.0.1:2 -> 127.0.0.1:1, enabled" in one(found, PROXY).found
    assert "has 1 proxy" in one(found, "proxies").found


@pytest.mark.parametrize(
    ("record", "said", "do"),
    [
        (None, "there is no proxy inventory", "create it with listen 127.0.0.1:2"),
        (replace(INVENTORY, enabled=False), "is disabled", "enable it"),
        (replace(INVENTORY, listen="127.0.0.1:3"), "listening on 127.0.0.1:3", "correct"),
        (replace(INVENTORY, upstream="127.0.0.1:3"), "leading to 127.0.0.1:3", "correct"),
        (replace(INVENTORY, toxics=(TOXIC,)), "toxics that are not ours: theirs", "remove them"),
    ],
)
def test_not_as_wanted(record: ProxyRecord | None, said: str, do: str) -> None:
    found = one(looked(shown(*(() if record is None else (record,)))), PROXY)
    assert (found.level, said in found.found, do in found.do) == ("fail", True, True), found


@pytest.mark.parametrize("expires", [1, SOON], ids=["long ago", "soon"])
def test_what_is_on_it_or_in_its_place_is_told_as_a_leftover_only(expires: int) -> None:
    closed = replace(INVENTORY, enabled=False)
    name = written(Kind.STAND_IN, "run001", expires, proxy="inventory")
    found = looked(shown(closed, replace(INVENTORY, name=name)))
    assert [finding.check for finding in found] == ["proxies"]
    toxic = replace(TOXIC, name=written(Kind.TOXIC, "run001", expires))
    found = looked(shown(replace(closed, toxics=(toxic,))))
    assert [finding.check for finding in found] == ["proxies"]


LEASE = ProxyRecord(
    written(Kind.LEASE, "run001", SOON), "127.0.0.1:0", "127.0.0.1:9 localhost:2", False
)


@pytest.mark.parametrize(
    "record",
    [
        None,
        replace(INVENTORY, enabled=False),
        replace(INVENTORY, toxics=(TOXIC,)),
        replace(INVENTORY, upstream="127.0.0.1:3"),
    ],
)
def test_what_a_run_holds_is_left_to_it(record: ProxyRecord | None) -> None:
    """Whatever is wrong with it may be the run's own doing."""
    found = one(looked(shown(*(() if record is None else (record,)), LEASE)), PROXY)
    assert found.level == "fail"
    assert found.do.startswith("wait for run run001, which holds inventory until ")
    assert found.do.endswith(", then look again")


def test_a_disabled_proxy_in_a_runs_hands_is_not_to_be_enabled() -> None:
    cart = ProxyRecord("cart", "127.0.0.1:5", "127.0.0.1:9", enabled=False)
    stands_in = replace(cart, name=written(Kind.STAND_IN, "run001", 1, proxy="cart"))
    toxic = replace(TOXIC, name=written(Kind.TOXIC, "run001", 1))
    held: list[tuple[ProxyRecord, ...]] = [
        (cart, stands_in),
        (replace(cart, toxics=(toxic,)),),
        (cart, replace(LEASE, upstream=f"127.0.0.1:9 {cart.listen}")),
    ]
    for records in held:
        assert one(looked(shown(INVENTORY, *records)), "proxies").level == "ok"
    assert "disabled: cart" in one(looked(shown(INVENTORY, cart)), "proxies").found


def test_a_rival_in_a_runs_hands_is_not_to_be_deleted() -> None:
    cart = ProxyRecord("cart", "127.0.0.1:2", "127.0.0.1:9", enabled=False)
    toxic = replace(TOXIC, name=written(Kind.TOXIC, "run001", SOON))
    for records in (
        (INVENTORY, replace(cart, toxics=(toxic,))),
        (replace(INVENTORY, toxics=(toxic,)), cart),
    ):
        (found,) = [each for each in looked(shown(*records)) if each.check == PROXY]
        assert found.do.startswith("wait for run run001, which holds ")


def test_others_on_the_same_address() -> None:
    other = ProxyRecord("cart", "127.0.0.1:2", "127.0.0.1:9", enabled=False)
    found = looked(shown(INVENTORY, other))
    assert levels(found) == ["note", "warn"]
    assert "proxy cart has the same listen address" in one(found, PROXY).found
    assert "disabled: cart" in one(found, "proxies").found


def test_something_else_listens_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listen = f"127.0.0.1:{listener.getsockname()[1]}"
        there = replace(scenario(), proxies=(Proxy("inventory", "127.0.0.1:1", listen),))
        found = looked(shown(), there)
    assert levels(found) == ["ok", "fail", "warn"]
    assert "something else" in found[-1].found


def test_many_disabled_ones_are_not_all_named() -> None:
    records = [ProxyRecord(f"p{n}", f"127.0.0.1:1{n}", "h:1", enabled=False) for n in range(7)]
    found = one(looked(shown(INVENTORY, *records)), "proxies")
    assert found.found.endswith("disabled: p0, p1, p2, p3, p4 and 2 more")


def test_in_edge_the_upstream_must_have_an_address() -> None:
    edge = scenario(topology="edge")
    assert levels(looked(shown(), edge)) == ["ok", "ok"]
    nowhere = replace(edge, proxies=(Proxy("inventory", "no-such-host.invalid:80"),))
    found = one(looked(shown(), nowhere), PROXY)
    assert (found.level, "cannot be resolved" in found.found) == ("fail", True)


def test_without_a_list_or_a_scenario() -> None:
    assert looked(shown(listing=None)) == []
    assert levels(findings(shown(INVENTORY), None, 0.0)) == ["ok"]


def test_at_a_server_of_each_kind(toxiproxy_url: str) -> None:
    with operator_path(toxiproxy_url) as path:
        wanted = Proxy("inventory", path.upstream, path.listen)
        there = replace(scenario(), proxies=(wanted,))
        assert levels(looked(asyncio.run(look(toxiproxy_url, ())), there)) == ["ok", "ok"]
        path.call("POST", "/proxies/inventory", {"enabled": False})
        found = looked(asyncio.run(look(toxiproxy_url, ())), there)
        assert one(found, PROXY).found == "inventory is disabled"
        elsewhere = replace(wanted, listen=f"127.0.0.1:{free_port()}")
        found = looked(asyncio.run(look(toxiproxy_url, ())), replace(there, proxies=(elsewhere,)))
        assert sorted(levels(found)) == ["fail", "fail", "ok"]
        put_on(path, path.fault())
        found = looked(asyncio.run(look(toxiproxy_url, ())), there)
        assert [each.check for each in found] == ["proxies"]
