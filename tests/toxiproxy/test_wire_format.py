"""The shapes that servers show, and what may be sent to one."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from chaosbandit.toxiproxy.wire_format import ProxyRecord, ToxicRecord, check_toxic

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


def test_records_are_written_in_the_servers_order() -> None:
    toxic = ToxicRecord("t", "latency", "UpStream", 0.5, {"latency": 5, "jitter": 0})
    assert toxic.direction == "upstream"
    written = ProxyRecord("p", "l:1", "u:1", False, (toxic,)).to_json()
    assert [*written] == ["name", "listen", "upstream", "enabled", "toxics"]
    assert [*written["toxics"][0]] == ["attributes", "name", "type", "stream", "toxicity"]
    assert written["toxics"][0]["stream"] == "UpStream"
