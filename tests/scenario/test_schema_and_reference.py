"""What is shipped with the format is current and valid."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from chaosbandit.errors import ScenarioError
from chaosbandit.scenario import load, parse, refuse_embedded_canary, schema
from chaosbandit.scenario.schema_and_reference import (
    REFERENCE_FILE,
    SCHEMA_FILE,
    reference,
    schema_text,
)
from chaosbandit.scenario.yaml_to_tree import compose

SHIPPED = sorted(REFERENCE_FILE.parent.rglob("*.yaml"))


def test_the_files_made_from_the_models_are_current() -> None:
    how = 'python -c "from chaosbandit.scenario.schema_and_reference import write; write()"'
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), how
    assert REFERENCE_FILE.read_text(encoding="utf-8") == reference(), how


def test_every_key_has_a_line_with_a_meaning() -> None:
    made = schema()
    for part in (made, *made["$defs"].values()):
        for key in part["properties"]:
            assert re.search(rf"\| `{key}` \| [A-Z`].+ \|", reference()), key


def test_there_are_scenarios_to_start_from() -> None:
    assert {path.name for path in SHIPPED} >= {
        "slow-inventory.yaml",
        "edge-latency.yaml",
        "edge-errors.yaml",
    }


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_scenarios_are_valid(path: Path) -> None:
    loaded = load(path, {})
    assert loaded.scenario.description
    first = loaded.source.splitlines()[0]
    named = re.fullmatch(r"# yaml-language-server: \$schema=(.+)", first)
    assert named is not None
    assert (path.parent / named[1]).resolve() == SCHEMA_FILE.resolve()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_scenarios_fit_the_json_schema(path: Path) -> None:
    # Unexpanded, as an editor sees them.
    environment = dict.fromkeys(re.findall(r"\$\{(\w+)", path.read_text()), "${X}")
    made = schema()
    assert not misfits(compose(path.read_text(), "f", environment).data, made, made)


def test_the_json_schema_refuses_what_we_refuse() -> None:
    made = schema()
    data = compose(SHIPPED[0].read_text(), "f", {}).data
    assert not misfits(data, made, made)
    for key, value in [("version", 2), ("name", "a b"), ("topology", "x"), ("zzz", 1)]:
        assert misfits({**data, key: value}, made, made), key
    assert misfits({**data, "budget": {"requests": "many"}}, made, made)
    del data["slos"]
    assert misfits(data, made, made)


def test_the_demo_takes_its_addresses_from_the_environment() -> None:
    demo = next(path for path in SHIPPED if path.name == "slow-inventory.yaml")
    names = ("INVENTORY", "LISTEN", "CANARY", "CONTROL")
    environment = {f"CB_DEMO_{name}": f"127.0.0.1:{port}" for port, name in enumerate(names, 1)}
    scenario = load(demo, {**environment, "CB_DEMO_TOXIPROXY": "embedded"}).scenario
    assert scenario.proxies[0].upstream == "127.0.0.1:1"
    assert scenario.proxies[0].listen == "127.0.0.1:2"
    assert scenario.proxies[0].check == "http://127.0.0.1:2/stock/1"
    assert scenario.traffic.url == "http://127.0.0.1:3/product/{n}"
    assert scenario.traffic.control_url == "http://127.0.0.1:4/product/{n}"
    assert scenario.toxiproxy == "embedded"


def test_embedded_with_canary_is_refused_on_demand_at_its_place() -> None:
    demo = next(path for path in SHIPPED if path.name == "slow-inventory.yaml")
    refuse_embedded_canary(load(demo, {}))
    loaded = load(demo, {"CB_DEMO_TOXIPROXY": "embedded"})
    with pytest.raises(ScenarioError) as caught:
        refuse_embedded_canary(loaded)
    (problem,) = caught.value.problems
    line = loaded.source.splitlines()[problem.line - 1]
    assert line[problem.column - 1 :].startswith("${CB_DEMO_TOXIPROXY")
    edge = next(path for path in SHIPPED if path.name == "edge-latency.yaml")
    refuse_embedded_canary(load(edge, {}))


def test_json_is_yaml_too() -> None:
    text = json.dumps(compose(SHIPPED[0].read_text(), "f", {}).data)
    assert parse(text, "f.json", {}).scenario == load(SHIPPED[0], {}).scenario


def misfits(value: Any, part: dict[str, Any], made: dict[str, Any]) -> list[str]:
    """The few words of JSON Schema that ours uses, checked by hand."""
    if "$ref" in part:
        return misfits(value, made["$defs"][part["$ref"].rpartition("/")[2]], made)
    for union in ("anyOf", "oneOf"):
        if union in part and all(misfits(value, choice, made) for choice in part[union]):
            return [f"{value!r} fits none of {union}"]
    wrong = []
    types = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
    types["number"] = (int, float)  # type: ignore[assignment]
    if "type" in part and part["type"] != "null" and not isinstance(value, types[part["type"]]):
        return [f"{value!r} is no {part['type']}"]
    if part.get("type") == "null" and value is not None:
        return [f"{value!r} is not null"]
    if "const" in part and value != part["const"]:
        wrong.append(f"{value!r} is not {part['const']!r}")
    if "enum" in part and value not in part["enum"]:
        wrong.append(f"{value!r} is not in {part['enum']}")
    if "pattern" in part and not re.search(part["pattern"], value):
        wrong.append(f"{value!r} does not match {part['pattern']}")
    if isinstance(value, list):
        wrong += [w for item in value for w in misfits(item, part.get("items", {}), made)]
    if isinstance(value, dict):
        known = part.get("properties", {})
        wrong += [f"{key} is missing" for key in part.get("required", []) if key not in value]
        rest = part.get("additionalProperties", {})
        for key, item in value.items():
            if key not in known and rest is False and "patternProperties" not in part:
                wrong.append(f"{key} is unknown")
            wrong += misfits(item, known.get(key, rest or {}), made)
    return wrong
