"""A value planted in every key that may hold text: no command shows, writes or keeps any of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from chaosbandit.cli.demo_services import Stage
from chaosbandit.scenario import schema
from tests.e2e.runs import Command, Ended, chaosbandit, proxies

pytestmark = pytest.mark.e2e

# Values that decide how a run goes are settings, spelled out in its results: no secret can be one.
SETTINGS = re.compile(
    r"version|seed|topology|budget\..*|search\..*|timing\..*|slos\.(good|objective)"
    r"|guardrails\.(max_.*|abort_.*)|traffic\.(rate|timeout|method|connections|control_share|unsafe.*)"
    r"|require|ladders\.(proxy|stream|toxic|vary|from|to|jitter)|proxies\.slow_readers"
)
SCENARIO = """\
version: 1
name: "{name}"
description: "{description}"
toxiproxy: "{toxiproxy}"
topology: canary
proxies:
  inventory:
    upstream: "{proxies_upstream}"
    listen: "{proxies_listen}"
    check: "{proxies_check}"
    bypass: {bypass}
traffic:
  url: "{traffic_url}"
  control_url: "{traffic_control_url}"
  rate: 100/s
  timeout: 2s
  headers: {{Authorization: "{traffic_headers}"}}
  method: POST
  unsafe_methods: true
  body: "{traffic_body}"
slos:
  - {{name: "{slos_name}", good: status in 2xx-3xx, objective: 90%}}
budget: {{window: 30d, requests: 2_000_000, spend: 5%}}
ladders:
  - {{name: "{ladders_name}", proxy: inventory, toxic: latency, from: 100ms, to: 1s}}
search: {{confidence: 90%, resolution: 100%, hold: 1s}}
guardrails: {{max_exposure: 20s, freeze: ["{guardrails_freeze}", "{freeze_url}"]}}
timing: {{steady_samples: 40, warmup: 300ms, warmup_samples: 5, washout: 6s}}
"""
NOWHERE = {
    "CB_DEMO_TOXIPROXY": "http://127.0.0.1:9",
    "CB_DEMO_INVENTORY": "127.0.0.1:11",
    "CB_DEMO_LISTEN": "127.0.0.1:12",
    "CB_DEMO_CANARY": "127.0.0.1:13",
    "CB_DEMO_CONTROL": "127.0.0.1:14",
}


def text_keys(found: Mapping[str, Any], defs: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Every key of the schema that may hold text, as `slos.name`."""
    if "$ref" in found:
        yield from text_keys(defs[found["$ref"].rpartition("/")[2]], defs, path)
    if found.get("type") == "string" or "enum" in found or "const" in found:
        yield path
    for each in (*found.get("anyOf", ()), *found.get("oneOf", ())):
        yield from text_keys(each, defs, path)
    named = found.get("patternProperties", {}).values()
    for inner in (found.get("items"), found.get("additionalProperties"), *named):
        if isinstance(inner, dict):
            yield from text_keys(inner, defs, path)
    for name, each in found.get("properties", {}).items():
        yield from text_keys(each, defs, f"{path}.{name}" if path else name)


def planted(stage: Mapping[str, str], *, whole: bool, command: bool) -> tuple[str, dict[str, str]]:
    """A scenario and its variables: a key is one of them, or has one in it."""
    at = {name.removeprefix("CB_DEMO_").lower(): value for name, value in stage.items()}
    texts = {
        "name": "na-S3cr1",
        "description": "des S3cr2 \\'x",
        "toxiproxy": at["toxiproxy"],
        "proxies_upstream": at["inventory"],
        "proxies_listen": at["listen"],
        "proxies_check": f"http://{at['listen']}/stock/1?t=S3cr3",
        "bypass_url": "http://127.0.0.1:15/S3cr4?t=S3cr5",
        "bypass_word": "--token=S3cr6 x",
        "traffic_url": f"http://{at['canary']}/product/{{n}}?t=S3cr7",
        "traffic_control_url": f"http://{at['control']}/product/{{n}}?t=S3cr8",
        "traffic_headers": "Bearer S3cr9",
        "traffic_body": "token=S3cr14&stars=5",
        "slos_name": "slo-S3cr10",
        "ladders_name": "ladder-S3cr11",
        "guardrails_freeze": "/nowhere/S3cr12",
        "freeze_url": f"http://{at['control']}/none/S3cr13",
    }
    variables: dict[str, str] = {}

    def filled(key: str) -> str:
        text, name = texts[key], f"V_{key.upper()}"
        if whole or not re.search("S3cr", text):
            variables[name] = text
            return f"${{{name}}}"
        secret = re.compile(r"S3cr\d+")
        variables.update(
            {f"{name}_{n}": each for n, each in enumerate(dict.fromkeys(secret.findall(text)))}
        )
        for each, value in variables.items():
            text = text.replace(value, f"${{{each}}}") if each.startswith(name) else text
        return text.replace("\\", "\\\\")

    bypass = '"{}"'.format(filled("bypass_url"))
    if command:
        bypass = '["/bin/false", "{}"]'.format(filled("bypass_word"))
    keys = re.findall(r"\{(\w+)\}", SCENARIO)
    shown = {key: filled(key) for key in keys if key not in ("n", "bypass")}
    return SCENARIO.format(**shown, bypass=bypass), variables


def leaks(said: str, variables: Mapping[str, str]) -> list[str]:
    """Which values a text shows, whole or only what is secret in them, with what is around."""
    secrets = {found for value in variables.values() for found in re.findall(r"S3cr\d+", value)}
    found = []
    for value in {*variables.values(), *secrets}:
        for match in re.finditer(re.escape(value) + r"(?!\d)", said, re.IGNORECASE):
            found.append(f"{value}: ...{said[max(0, match.start() - 150) : match.end() + 50]}")
    return found


def kept(state: Path) -> str:
    """All names and contents below a folder."""
    paths = [path for path in state.rglob("*") if path.is_file()]
    return "\n".join(f"{path.relative_to(state)}\n{path.read_text()}" for path in paths)


def test_every_key_that_may_hold_text_is_planted_or_a_setting() -> None:
    found = schema()
    keys = {key for key in text_keys(found, found["$defs"]) if not SETTINGS.fullmatch(key)}
    in_scenario = {key.replace("_", ".", 1) for key in re.findall(r"\{(\w+)\}", SCENARIO)}
    in_scenario |= {"proxies.bypass"}
    assert keys - in_scenario == set()
    assert {"name", "toxiproxy", "proxies.check", "traffic.headers", "guardrails.freeze"} <= keys


@pytest.mark.parametrize("command", [False, True], ids=["url", "command"])
@pytest.mark.parametrize("whole", [False, True], ids=["part", "whole"])
def test_commands_that_reach_nobody(whole: bool, command: bool, tmp_path: Path) -> None:
    text, variables = planted(NOWHERE, whole=whole, command=command)
    file = tmp_path / "s.yaml"
    file.write_text(text)
    broken = tmp_path / "b.yaml"
    broken.write_text(text.replace("${V_NAME", "-- ${V_NAME").replace("canary", "${V_TOXIPROXY}"))
    state = tmp_path / "state"

    for code, *arguments in (
        (0, "validate", file),
        (2, "validate", broken),
        (2, "validate", "--json", broken),
        (0, "plan", "--campaigns", "20", *(["--json"] if command else []), file),
        (6, "doctor", *(["--json"] if whole else []), file),
        (6, "run", file),
        (6, "run", "--json", file),
        (0, "clean"),
    ):
        ended = chaosbandit(state, *arguments, environment=variables)
        assert leaks(ended.out + ended.err, variables) == [], arguments
        assert ended.code == code, (arguments, ended.err, ended.out)
    assert leaks(kept(state), variables) == []


@pytest.mark.parametrize("whole", [False, True], ids=["part", "whole"])
def test_a_run_that_finds_its_answer(whole: bool, shared_stage: Stage, tmp_path: Path) -> None:
    text, variables = planted(shared_stage.environment, whole=whole, command=whole)
    file, state = tmp_path / "s.yaml", tmp_path / "state"
    file.write_text(text)
    with Command(state, "run", "--seed", "1", file, environment=variables) as command:
        command.until_exposed(1)
        locks = [path.read_text() for path in (state / "chaosbandit/faults").glob("claim-*.lock")]
        ended: Ended = command.ended()
    ended.told(0)
    assert leaks(ended.out + ended.err + "\n".join(locks), variables) == []
    assert leaks(kept(state), variables) == []
    assert "${V_SLOS_NAME" in ended.out if whole else "slo-${V_SLOS_NAME_0}" in ended.out
    told = chaosbandit(state, "doctor", "--json", file, environment=variables)
    assert leaks(told.out + told.err, variables) == []
    assert json.loads(told.out)["findings"]


def test_a_killed_run_is_cleaned_up_without_showing_its_addresses(
    shared_stage: Stage, tmp_path: Path
) -> None:
    """The ledger keeps them, for its owner alone; `clean` knows their names from there."""
    text, variables = planted(shared_stage.environment, whole=True, command=True)
    file, state = tmp_path / "s.yaml", tmp_path / "state"
    file.write_text(text)
    with Command(state, "run", "--seed", "1", file, environment=variables) as command:
        folder, found = state / "chaosbandit" / "faults", dict[str, str]()
        while not found:
            for path in folder.glob("cb.*"):
                with suppress(FileNotFoundError):
                    found[path.name] = path.read_text()
                    assert path.stat().st_mode & 0o777 == 0o600
        command.process.kill()
        said = command.ended()
    ((toxic_file, content),) = found.items()
    assert json.loads(content)["fault"]["server"] == shared_stage.server
    fresh = tmp_path / "copied"  # as if the watchdog had died, too
    (fresh / "chaosbandit" / "faults").mkdir(parents=True, mode=0o700)
    (fresh / "chaosbandit").chmod(0o700)
    again = fresh / "chaosbandit" / "faults" / toxic_file
    again.write_text(content)
    again.chmod(0o600)
    for arguments in (["clean", "--dry-run"], ["clean", "--dry-run", "--json"], ["clean"]):
        ended = chaosbandit(fresh, *arguments)
        assert leaks(ended.out + ended.err, variables) == [], arguments
    assert leaks(said.out + said.err, variables) == []
    assert not proxies(shared_stage.server)["inventory"]["toxics"]
