"""What is published about the format, made from the models: JSON Schema and the reference of keys.

After a change of `file_keys`:
`python -c "from chaosbandit.scenario.schema_and_reference import write; write()"`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chaosbandit.scenario.doses import LADDERS
from chaosbandit.scenario.file_keys import Document

SCHEMA_FILE = Path(__file__).with_name("schema.json")
REFERENCE_FILE = Path(__file__).parents[2] / "scenarios" / "REFERENCE.md"

_OPENING = """\
# Every key of a scenario file

Made from the models in `chaosbandit/scenario/file_keys.py`. A key without a default is required.

- Durations have a unit (`400ms`, `2s`, `1m`, `1h30m`, `30d`), rates too (`50/s`, `300/min`).
- Shares are written `99%` or `0.99`; 1 and more need the `%` sign.
- Whole numbers may be grouped: `2_000_000`.
- `${NAME}` and `${NAME:-default}` in a value are taken from the environment; `$$` is one `$`. What
  a variable held is never shown, logged or written into a journal: `${NAME}` stands there. A plain
  word (`staging`), a loopback address, a short number with or without a unit and whatever has fewer
  than 4 characters is hidden only as part of its key's whole text. Between `{ }` or `[ ]` it needs
  quotes: `{upstream: "${ADDRESS}"}`.
- YAML 1.2: `no`, `on` and `yes` are text. Anchors, aliases, tags, merge keys, duplicate keys and
  several documents in a file are refused.
"""


def schema() -> dict[str, Any]:
    """The JSON Schema of scenario files, for editors and checks before commit."""
    made = _without_null_defaults(Document.model_json_schema(by_alias=True, mode="validation"))
    assert isinstance(made, dict)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def reference() -> str:
    """scenarios/REFERENCE.md: a line for each key."""
    lines = [_OPENING]
    for title, properties, required in _sections(schema()):
        lines += [f"\n## {title}\n", "| key | meaning | default | example |", "|---|---|---|---|"]
        lines += [_line(key, about, key in required) for key, about in properties.items()]
    return "\n".join(lines) + "\n"


def write() -> None:
    """Bring both files up to date."""
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
    REFERENCE_FILE.write_text(reference(), encoding="utf-8")


def schema_text() -> str:
    """The JSON Schema as it is committed."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _sections(made: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    top = {key: _with_meaning(about, made["$defs"]) for key, about in made["properties"].items()}
    yield "Top level", top, made["required"]
    titles = {
        "ProxyKeys": "proxies.NAME",
        "TrafficKeys": "traffic",
        "SloKeys": "slos[]",
        "BudgetKeys": "budget",
        **{keys.__name__: f"ladders[] with toxic: {toxic}" for toxic, keys in LADDERS.items()},
        "SearchKeys": "search",
        "GuardrailKeys": "guardrails",
        "TimingKeys": "timing",
    }
    for name, title in titles.items():
        part = made["$defs"][name]
        yield title, part["properties"], part.get("required", [])


def _with_meaning(about: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    part = parts.get(about.get("$ref", "").rpartition("/")[2], {})
    return {"description": part.get("description", ""), **about}


def _line(key: str, about: dict[str, Any], required: bool) -> str:
    default = "required" if required else _code(about.get("default"))
    examples = about.get("examples") or [None]
    cells = (f"`{key}`", about.get("description", ""), default, _code(examples[0]))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _code(value: object) -> str:
    if value is None or value == "":
        return ""
    shown = value if isinstance(value, str) else json.dumps(value)
    return f"`{shown}`"


def _without_null_defaults(part: Any) -> Any:
    if isinstance(part, dict):
        return {
            key: _without_null_defaults(value)
            for key, value in part.items()
            if not (key == "default" and value is None)
        }
    if isinstance(part, list):
        return [_without_null_defaults(item) for item in part]
    return part
