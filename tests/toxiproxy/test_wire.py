"""What may be sent to a server, and how bodies become records."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from chaosbandit.toxiproxy.stages import STAGES
from chaosbandit.toxiproxy.wire import (
    ATTRIBUTES,
    ProxyRecord,
    Refusal,
    ToxicRecord,
    check_toxic,
    parse_new_proxy,
    parse_new_toxic,
    parse_populate,
    parse_proxy_update,
    parse_toxic_update,
)

SAFE: list[tuple[str, Mapping[str, object]]] = [
    ("latency", {"latency": 0}),
    ("latency", {"latency": 10, "jitter": 500}),
    ("latency", {"jitter": 10**9}),
    ("bandwidth", {"rate": 1}),
    ("slow_close", {}),
    ("timeout", {"timeout": 0}),
    ("reset_peer", {"timeout": 0}),
    ("slicer", {"average_size": 1}),
    ("slicer", {"average_size": 64, "size_variation": 63, "delay": 10}),
    ("limit_data", {"bytes": 0}),
    ("noop", {}),
]


@pytest.mark.parametrize(("type_", "attributes"), SAFE)
def test_safe_toxics_pass(type_: str, attributes: Mapping[str, object]) -> None:
    assert check_toxic(type_, attributes, "upstream", 1) == []


UNSAFE: list[tuple[str, Mapping[str, object], str]] = [
    ("fog", {}, "found toxic type 'fog'"),
    ("latency", {"latency": 1.0}, "found latency 1.0, wanted an integer"),
    ("latency", {"latency": True}, "found latency True, wanted an integer"),
    ("latency", {"latency": "5"}, "found latency '5', wanted an integer"),
    ("latency", {"latency": -1}, "found latency -1, wanted 0 to"),
    ("latency", {"latency": 2**62}, "wanted 0 to 1000000000000"),
    ("latency", {"jitter": 10**9 + 1}, "wanted 0 to 1000000000"),
    ("latency", {"delay": 1}, "found attribute 'delay' of latency"),
    ("noop", {"delay": 1}, "wanted one of: none"),
    ("bandwidth", {"rate": 0}, "found rate 0, wanted 1 to"),
    ("bandwidth", {}, "found bandwidth without rate"),
    ("slicer", {}, "found slicer without average_size"),
    ("slicer", {"average_size": 0}, "found average_size 0, wanted 1 to"),
    ("slicer", {"average_size": 9, "size_variation": 9}, "found size_variation 9"),
    ("limit_data", {"bytes": -1}, "found bytes -1, wanted 0 to"),
]


@pytest.mark.parametrize(("type_", "attributes", "reason"), UNSAFE)
def test_unsafe_toxics_are_told_why(
    type_: str, attributes: Mapping[str, object], reason: str
) -> None:
    (problem,) = check_toxic(type_, attributes)
    assert reason in problem


@pytest.mark.parametrize("toxicity", [-0.1, 1.1, float("nan"), True])
def test_toxicity_is_a_probability(toxicity: float) -> None:
    (problem,) = check_toxic("latency", {}, "downstream", toxicity)
    assert "wanted a number from 0 to 1" in problem


def test_reset_peer_cannot_hit_a_share_of_connections() -> None:
    (problem,) = check_toxic("reset_peer", {"timeout": 0}, "downstream", 0.5)
    assert "resets every new connection" in problem


def test_all_problems_are_told_at_once() -> None:
    problems = check_toxic("latency", {"latency": -1, "jitter": 0.5}, "sideways", 2)
    assert len(problems) == 4


def test_every_toxic_on_the_wire_has_a_stage() -> None:
    assert set(ATTRIBUTES) == set(STAGES)


def test_a_new_proxy_is_enabled_and_complete() -> None:
    record = parse_new_proxy(b'{"name":"a","upstream":"b:1"}')
    assert ProxyRecord("a", "", "b:1", True) == record
    with pytest.raises(Refusal) as raised:
        parse_new_proxy(b'{"name":"a"}')
    assert (raised.value.status, raised.value.text) == (400, "missing required field: upstream")


def test_a_proxy_update_keeps_the_name_and_what_it_does_not_mention() -> None:
    toxic = ToxicRecord("t", "noop", "upstream", 1, {})
    proxy = ProxyRecord("a", "l:1", "u:1", False, (toxic,))
    changed = parse_proxy_update(b'{"name":"z","upstream":"u:2"}', proxy)
    assert ProxyRecord("a", "l:1", "u:2", False, (toxic,)) == changed


def test_populate_takes_only_lists() -> None:
    assert parse_populate(b"null") == []
    with pytest.raises(Refusal):
        parse_populate(b'{"name":"a","upstream":"b:1"}')


def test_a_new_toxic_gets_its_defaults() -> None:
    toxic = parse_new_toxic(b'{"type":"latency","attributes":{"jitter":3}}', frozenset())
    attributes = {"latency": 0, "jitter": 3}
    assert ToxicRecord("latency_downstream", "latency", "downstream", 1, attributes) == toxic
    assert [*toxic.to_json()] == ["attributes", "name", "type", "stream", "toxicity"]


def test_a_toxic_update_leaves_the_old_record_alone() -> None:
    toxic = ToxicRecord("t", "latency", "upstream", 1, {"latency": 5, "jitter": 0})
    changed = parse_toxic_update(b'{"attributes":{"jitter":3},"toxicity":0.5}', toxic)
    assert toxic.attributes == {"latency": 5, "jitter": 0}
    assert (changed.attributes, changed.toxicity) == ({"latency": 5, "jitter": 3}, 0.5)
