"""What pydantic refuses, said as file, line, column, key, found and wanted.

pydantic's own sentences are not used: they repeat values, and a value may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from chaosbandit.scenario import file_keys
from chaosbandit.scenario.doses import ASSUMED, LADDERS
from chaosbandit.scenario.other_names import meant
from chaosbandit.scenario.quantities import WantedError, did_you_mean, nearest
from chaosbandit.scenario.tree import Path, Tree, printable

SECTIONS: dict[str, type[BaseModel]] = {
    "proxies": file_keys.ProxyKeys,
    "traffic": file_keys.TrafficKeys,
    "slos": file_keys.SloKeys,
    "budget": file_keys.BudgetKeys,
    "search": file_keys.SearchKeys,
    "guardrails": file_keys.GuardrailKeys,
    "timing": file_keys.TimingKeys,
}
_STATUS = re.compile(r"[1-5](xx|[0-9]{2})( ?- ?[1-5](xx|[0-9]{2}))?")
_SECRET = (("traffic", "headers"), ("traffic", "body"))
_SHAPES = {
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
    "dict_type": "a mapping",
    "list_type": "a list (`- ...` lines or [...])",
    "too_short": "at least one entry",
    "string_type": "text",
}


def path_of(error: Mapping[str, Any]) -> Path:
    """The path of an error in the file: without pydantic's own marks."""
    path: Path = error["loc"]
    if path[:1] == ("ladders",) and len(path) > 2:
        path = (*path[:2], *path[3:])  # the third part names the dose
    if _is_about_a_name(error):
        path = path[:-1]
    if error["type"].startswith("union_tag"):
        path = (*path, "toxic")
    raised = error.get("ctx", {}).get("error")
    return (*path, *raised.at) if isinstance(raised, WantedError) else path


def is_unknown_key(error: Mapping[str, Any]) -> bool:
    """Whether an error is about a key that does not exist."""
    return bool(error["type"] == "extra_forbidden")


def report(tree: Tree, error: Mapping[str, Any]) -> None:
    """Record one of pydantic's errors as a problem of the file."""
    path = path_of(error)
    if tree.is_broken(path):
        return
    kind, raised = error["type"], error.get("ctx", {}).get("error")
    if is_unknown_key(error):
        known = tuple(_fields(_model_at(path[:-1], tree)))
        guess = meant(str(path[-1]), known) or nearest(path[-1], known)
        if guess is not None and (*path[:-1], guess) not in tree.values:
            tree.broken.add((*path[:-1], guess))  # nobody is told as well that it is missing
        tree.problem(path, tree.keys[path], _instead_of(path, known, guess), "an unknown key")
    elif _is_about_a_name(error):
        tree.problem(path, tree.keys[path], str(raised), f"the key `{printable(str(path[-1]))}`")
    elif kind == "missing" or (kind.startswith("union_tag") and path not in tree.values):
        tree.problem(path, tree.nearest(path), _meaning(path, tree))
    elif isinstance(raised, WantedError):
        found = "a value that is not shown" if path[:2] in _SECRET else None
        tree.problem(path, tree.nearest(path), str(raised), found)
    else:
        shape = _shape(error)
        wanted = f"{shape}{_such_as(path, tree)}" if shape else _meaning(path, tree)
        tree.problem(path, tree.nearest(path), wanted)


def _is_about_a_name(error: Mapping[str, Any]) -> bool:
    """Whether the name in a mapping of names is wrong; a key of the file may be `[key]` as well."""
    loc = error["loc"]
    names = loc[:-2] in (("proxies",), ("require",), ("traffic", "headers"))
    return bool(names and loc[-1] == "[key]" and not is_unknown_key(error))


def _shape(error: Mapping[str, Any]) -> str | None:
    details = error.get("ctx", {})
    if error["type"] == "too_long":
        return f"at most {details['max_length']} entries"
    expected: str | None = details.get("expected")
    return _SHAPES.get(error["type"]) or expected


def default_of(path: Path) -> str:
    """What a key of a section is when it is left out, as it would be written."""
    model = SECTIONS.get(str(path[0]))
    known = _fields(model) if model else {}
    return f"`{known[str(path[-1])].default}`" if str(path[-1]) in known else "nothing"


def _model_at(path: Path, tree: Tree) -> type[BaseModel] | None:
    match path:
        case ():
            return file_keys.Document
        case ("ladders", int(index)):
            toxic = tree.values.get(("ladders", index, "toxic"))
            return LADDERS.get(toxic.shown.strip("`") if toxic else "", ASSUMED)
        case ("proxies" | "slos" as name, _) | (str(name),):
            return SECTIONS.get(name)
    return None


def _fields(model: type[BaseModel] | None) -> dict[str, Any]:
    known = model.model_fields.items() if model else ()
    return {field.alias or name: field for name, field in known}


def _such_as(path: Path, tree: Tree) -> str:
    """The shape of a section as one would write it."""
    match path:
        case ("ladders" | "slos" as name,):
            return f", such as `{name}: [{_written(_model_at((name, 0), tree))}]`"
        case ("proxies",):
            return f", such as `proxies: {{inventory: {_written(_model_at(path, tree))}}}`"
        case (str(name),) if name in SECTIONS:
            return f", such as `{name}: {_written(_model_at(path, tree))}`"
        case ("ladders" | "slos" | "proxies", _):
            return f", such as `{_written(_model_at(path, tree))}`"
    return ""


def _written(model: type[BaseModel] | None) -> str:
    """The keys that a section must have, with their examples, between { }."""
    needed = {name: field for name, field in _fields(model).items() if field.is_required()}
    values = {name: str(field.examples[0]) for name, field in needed.items() if field.examples}
    return f"{{{', '.join(f'{name}: {_quoted(text)}' for name, text in values.items())}}}"


def _quoted(text: str) -> str:
    return f'"{text}"' if set(text) & set(",[]{}") else text


def _instead_of(path: Path, known: tuple[str, ...], guess: str | None) -> str:
    """What to write for an unknown key: `guess`, or one of those known there."""
    found = str(path[-1])
    if guess is not None:
        return f"a known key (did you mean `{guess}`?)"
    if path[0] == "slos" and _STATUS.fullmatch(found):
        return 'quotes around a condition with a comma, as in {good: "status in 200-299,404"}'
    if homes := [home for home in _homes(found) if home != path[0]]:
        return f"a key of this place; `{found}` belongs into `{homes[0]}`"
    return f"one of {', '.join(known)}"


def _homes(name: str) -> Iterator[str]:
    sections: dict[str, type[BaseModel]] = {**SECTIONS, "ladders": ASSUMED}
    return (section for section, model in sections.items() if name in _fields(model))


def _meaning(path: Path, tree: Tree) -> str:
    field = _fields(_model_at(path[:-1], tree)).get(str(path[-1]))
    if field is None:
        return "what scenarios/REFERENCE.md says of this key"
    if path[-1] == "toxic":
        known = tuple(LADDERS)
        return f"one of {', '.join(known)}{did_you_mean(_word(path, tree), known)}"
    example = f", such as {field.examples[0]}" if field.examples else ""
    return f"this key{example}: {(field.description or '').rstrip('.')}"


def _word(path: Path, tree: Tree) -> str:
    place = tree.values.get(path)
    return place.shown.strip("`") if place else ""
