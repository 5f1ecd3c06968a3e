"""Every key of the format means something: changing it changes the scenario."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from chaosbandit.core.doses.latency import Latency
from chaosbandit.core.scenario import Guardrails, Scenario, Search, Timing
from chaosbandit.errors import ScenarioError
from chaosbandit.scenario import parse, schema

LATENCY: dict[str, Any] = {
    "version": 1,
    "name": "shop",
    "description": "How slow?",
    "toxiproxy": "http://127.0.0.1:8474",
    "topology": "edge",
    "proxies": {
        "stock": {
            "upstream": "127.0.0.1:9001",
            "listen": "127.0.0.1:9101",
            "check": "http://127.0.0.1:9101/",
            "bypass": "http://127.0.0.1:9102/around",
        },
        "other": {"upstream": "127.0.0.1:9002", "listen": "127.0.0.1:9102"},
    },
    "traffic": {
        "url": "http://127.0.0.1:9200/",
        "control_url": "http://127.0.0.1:9100/",
        "rate": "50/s",
        "timeout": "2s",
        "method": "GET",
        "headers": {"A": "b"},
        "connections": "keep-alive",
        "control_share": "20%",
        "unsafe_methods": True,
    },
    "slos": [{"name": "fast", "good": "latency <= 400ms", "objective": "99%"}],
    "budget": {"window": "30d", "requests": 2_000_000, "spend": "5%"},
    "ladders": [
        {
            "name": "slow",
            "proxy": "stock",
            "toxic": "latency",
            "vary": "latency",
            "from": "1ms",
            "to": "10s",
            "jitter": "0%",
            "stream": "downstream",
        }
    ],
    "search": {
        "policy": "certify",
        "confidence": "95%",
        "resolution": "10%",
        "hold": "5s",
        "stop": "bracket",
        "escalation": 2,
        "cost_of_bad": 0,
        "block": 3,
        "max_samples": 4000,
        "max_duration": "30m",
        "evidence_ttl": "1h",
        "monotone_check": False,
    },
    "guardrails": {
        "max_severity": "2s",
        "max_exposure": "30s",
        "abort_if_bad_in_a_row": 20,
        "max_unresolved": 5,
        "freeze": ["/etc/chaosbandit/freeze"],
    },
    "timing": {"warmup": "1s", "warmup_samples": 20, "washout": "15s", "steady_samples": 100},
    "require": {"slow": "> 150ms"},
    "seed": 1,
}
ERRORS_LADDER = {
    "name": "broken",
    "proxy": "stock",
    "toxic": "errors",
    "vary": "share",
    "from": "1%",
    "to": "50%",
    "stream": "downstream",
}

CHANGES: list[tuple[tuple[str | int, ...], Any]] = [
    (("name",), "shop2"),
    (("description",), "How bad?"),
    (("toxiproxy",), "embedded"),
    (("topology",), "canary"),
    (("proxies",), {"stock": {"upstream": "127.0.0.1:9001"}}),
    (("proxies", "stock", "upstream"), "127.0.0.1:9003"),
    (("proxies", "stock", "listen"), "127.0.0.1:9103"),
    (("proxies", "stock", "check"), "http://127.0.0.1:9101/x"),
    (("proxies", "stock", "bypass"), ["/usr/local/bin/around", "stock"]),
    (("proxies", "stock", "bypass"), "http://127.0.0.1:9102/bypass"),
    (("traffic", "url"), "http://127.0.0.1:9200/{n}"),
    (("traffic", "control_url"), "http://127.0.0.1:9100/{n}"),
    (("traffic", "rate"), "60/min"),
    (("traffic", "timeout"), "3s"),
    (("traffic", "method"), "POST"),
    (("traffic", "headers"), {"A": "c"}),
    (("traffic", "connections"), "per-request"),
    (("traffic", "control_share"), 0.5),
    (("slos", 0, "name"), "quick"),
    (("slos", 0, "good"), "status in 200 and latency <= 400ms"),
    (("slos", 0, "objective"), "99.9%"),
    (("budget", "window"), "7d"),
    (("budget", "requests"), "3_000_000"),
    (("budget", "spend"), "100%"),
    (("ladders", 0, "proxy"), "other"),
    (("ladders", 0, "from"), "2ms"),
    (("ladders", 0, "to"), "1m30s"),
    (("ladders", 0, "jitter"), "10%"),
    (("ladders", 0, "stream"), "upstream"),
    (("search", "confidence"), 0.99),
    (("search", "resolution"), "5%"),
    (("search", "hold"), "0s"),
    (("search", "hold"), "12s"),
    (("search", "stop"), "gate"),
    (("search", "escalation"), 1.5),
    (("search", "cost_of_bad"), 10),
    (("search", "block"), 4),
    (("search", "max_samples"), 5000),
    (("search", "max_duration"), "1h"),
    (("search", "evidence_ttl"), "20m"),
    (("search", "monotone_check"), True),
    (("guardrails", "max_severity"), "1500ms"),
    (("guardrails", "max_exposure"), "1m"),
    (("guardrails", "abort_if_bad_in_a_row"), 10),
    (("guardrails", "max_unresolved"), 3),
    (("guardrails", "freeze"), ["http://ops.example/freeze", "/run/freeze"]),
    (("timing", "warmup"), "0s"),
    (("timing", "warmup_samples"), 0),
    (("timing", "washout"), "20s"),
    (("timing", "steady_samples"), 200),
    (("require",), {"slow": "> 1s"}),
    (("seed",), 2),
]

# Sections whose change can show in another: a proxy's name in a ladder, the rate in max_exposure.
COMPARED = ("proxies", "traffic", "slos", "ladders", "timing", "topology")

# Keys that decide whether a scenario is taken at all, with a value that is not.
GATES: list[tuple[tuple[str | int, ...], Any]] = [
    (("version",), 2),
    (("ladders", 0, "vary"), "share"),
    (("ladders", 0, "name"), "other"),  # `require` names it
    (("ladders", 0, "toxic"), "errors"),  # its `from` is a share
    (("search", "policy"), "guess"),
    (("slos",), []),
    (("ladders",), []),
    (("traffic",), {}),
    (("budget",), {}),
    (("search",), []),
    (("guardrails",), []),
    (("timing",), []),
]


def read(data: dict[str, Any]) -> Scenario:
    return parse(yaml.safe_dump(data, sort_keys=False), "f.yaml", {}).scenario


def changed(data: dict[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    data = copy.deepcopy(data)
    part: Any = data
    for step in path[:-1]:
        part = part[step]
    assert part[path[-1]] != value
    part[path[-1]] = value
    return data


@pytest.mark.parametrize(("path", "value"), CHANGES)
def test_changing_a_key_changes_the_scenario(path: tuple[str | int, ...], value: Any) -> None:
    assert read(changed(LATENCY, path, value)) != read(LATENCY)


@pytest.mark.parametrize(("path", "value"), GATES)
def test_a_key_decides_whether_the_scenario_is_taken(
    path: tuple[str | int, ...], value: Any
) -> None:
    with pytest.raises(ScenarioError):
        read(changed(LATENCY, path, value))


def test_unsafe_methods_decides_whether_post_is_taken() -> None:
    posting = changed(LATENCY, ("traffic", "method"), "POST")
    assert read(posting).traffic.method == "POST"
    with pytest.raises(ScenarioError, match="unsafe_methods: true"):
        read(changed(posting, ("traffic", "unsafe_methods"), False))
    ordering = {**posting, "traffic": {**posting["traffic"], "body": "a=1"}}
    assert read(ordering) != read(posting)


@pytest.mark.parametrize(
    ("key", "value"),
    [("name", "torn"), ("proxy", "other"), ("from", "2%"), ("to", 0.4), ("stream", "upstream")],
)
def test_the_keys_of_an_errors_ladder_change_the_scenario(key: str, value: Any) -> None:
    errors = changed(LATENCY, ("ladders", 0), ERRORS_LADDER)
    errors["traffic"]["connections"] = "per-request"
    errors["guardrails"], errors["require"] = {}, {}
    assert read(changed(errors, ("ladders", 0, key), value)) != read(errors)


@pytest.mark.parametrize("path", [path for path, _ in CHANGES + GATES], ids=str)
def test_a_key_without_a_value_is_refused(path: tuple[str | int, ...]) -> None:
    with pytest.raises(ScenarioError, match="found `null`"):
        read(changed(LATENCY, path, None))


ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    "",
    "x",
    "9" * 100,
    [],
    [1],
    [[]],
    {},
    {"a": 1},
    {"[key]": "1"},
]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_any_value_anywhere_is_taken_or_refused_in_its_section(odd: Any) -> None:
    refused = 0
    for path, _ in CHANGES + GATES:
        data = copy.deepcopy(LATENCY)
        part: Any = data
        for step in path[:-1]:
            part = part[step]
        part[path[-1]] = odd
        try:
            read(data)
        except ScenarioError as error:
            refused += 1
            keys = [problem.key for problem in error.problems]
            assert any(key.startswith(str(path[0])) for key in keys) or path[0] in COMPARED
    assert refused > len(CHANGES) / 2


def test_no_key_is_forgotten_here() -> None:
    tested = {path[0] for path, _ in CHANGES + GATES}
    tested |= {path[-1] for path, _ in CHANGES + GATES} | {"proxies", "unsafe_methods", "body"}
    made = schema()
    keys = set(made["properties"])
    for part in made["$defs"].values():
        keys |= set(part["properties"])
    assert keys == {key for key in tested if isinstance(key, str)}


def test_defaults_are_the_cores() -> None:
    short = {key: LATENCY[key] for key in ("version", "name", "topology", "slos")}
    short["proxies"] = {"stock": {"upstream": "127.0.0.1:9001"}}
    short["traffic"] = {"url": "http://127.0.0.1:9200/"}
    short["budget"] = {"requests": 2_000_000}
    ladder = {"name": "slow", "proxy": "stock", "toxic": "latency", "from": "1ms", "to": "1s"}
    scenario = read({**short, "ladders": [ladder]})
    assert scenario.search == Search()
    assert scenario.guardrails == Guardrails()
    assert scenario.timing == Timing()
    assert scenario.toxiproxy == "http://127.0.0.1:8474"
    assert scenario.traffic.control_url == scenario.traffic.url
    assert (scenario.traffic.rate_per_s, scenario.traffic.timeout_s) == (10, 5)
    assert scenario.traffic.method == "GET"
    assert not scenario.traffic.fresh_connections
    assert scenario.traffic.control_share == 0.2
    assert (scenario.budget.window_s, scenario.budget.spend) == (30 * 86400, 0.05)
    assert scenario.ladder.dose == Latency(jitter=0, stream="downstream")
    assert (dict(scenario.require), scenario.seed, scenario.description) == ({}, None, "")
