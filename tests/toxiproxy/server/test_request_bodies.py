"""How bodies become records, or refusals."""

from __future__ import annotations

import pytest

from chaosbandit.toxiproxy.server.request_bodies import (
    Refusal,
    parse_new_proxy,
    parse_new_toxic,
    parse_populate,
    parse_proxy_update,
    parse_toxic_update,
)
from chaosbandit.toxiproxy.server.toxics import STAGES
from chaosbandit.toxiproxy.wire_format import ATTRIBUTES, ProxyRecord, ToxicRecord


def test_every_toxic_on_the_wire_has_a_stage() -> None:
    assert set(ATTRIBUTES) == set(STAGES)
    assert {type_: stage.attribute_names for type_, stage in STAGES.items()} == ATTRIBUTES


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
