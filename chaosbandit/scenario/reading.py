"""A scenario file -> `Loaded`, or one `ScenarioError` with all that is wrong with the file."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from chaosbandit.core.scenario import EMBEDDED, Scenario
from chaosbandit.errors import Problem, ScenarioError
from chaosbandit.hidden_values import Hide
from chaosbandit.scenario import pydantic_problems
from chaosbandit.scenario.build import scenario_of
from chaosbandit.scenario.file_keys import Document
from chaosbandit.scenario.file_text import text_of
from chaosbandit.scenario.section_checks import findings
from chaosbandit.scenario.tree import Path as KeyPath
from chaosbandit.scenario.tree import Tree, printable
from chaosbandit.scenario.yaml_to_tree import ENOUGH_PROBLEMS, compose

MOST_PROBLEMS = 100  # a message shows

# Stands in for sections that were refused, so that the others can still be compared.
_STAND_IN: dict[str, Any] = {
    "version": 1,
    "name": "stand-in",
    "topology": "edge",
    "proxies": {"stand-in": {"upstream": "127.0.0.1:1"}},
    "traffic": {"url": "http://127.0.0.1/"},
    "slos": [{"name": "stand-in", "good": "status in 2xx", "objective": "50%"}],
    "budget": {"requests": 1000},
    "ladders": [
        {"name": "stand-in", "proxy": "stand-in", "toxic": "latency", "from": "1ms", "to": "1s"}
    ],
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A scenario and where it came from; `source` keeps its `${VARIABLES}` unexpanded."""

    scenario: Scenario = field(repr=False)  # may hold secrets
    source: str = field(repr=False)  # for the journal
    path: Path


def load(path: Path, env: Mapping[str, str], hide: Hide | None = None) -> Loaded:
    """Read a scenario file, whatever bytes it holds; `hide` is told what its variables meant."""
    return parse(text_of(path), str(path), env, hide)


def parse(text: str, file_name: str, env: Mapping[str, str], hide: Hide | None = None) -> Loaded:
    """Read a scenario from text; every problem of it is in the one error that is raised."""
    tree = compose(text, file_name, env, hide)
    document = _document(tree) if tree.readable else None
    if document is None or tree.problems:
        raise ScenarioError(_in_order(tree.problems))
    return Loaded(scenario_of(document), text, Path(file_name))


def refuse_embedded_canary(loaded: Loaded) -> None:
    """Refuse `embedded` with `canary`: no service is wired to a server that lives for one run."""
    topology = loaded.scenario.topology
    if loaded.scenario.toxiproxy != EMBEDDED or topology.allows_embedded:
        return
    tree = compose(loaded.source, str(loaded.path), {})  # for the place alone
    wanted = (
        f"the URL of the Toxiproxy the service is wired to: in `{topology.name}` a server that "
        "lives only as long as this run serves nobody"
    )
    path: KeyPath = ("toxiproxy",)
    tree.problems.clear()
    tree.problem(path, tree.nearest(path), wanted)
    raise ScenarioError(tree.problems)


def _document(tree: Tree) -> Document | None:
    if not isinstance(tree.data, dict):
        if not tree.is_broken(()):
            found = "nothing" if tree.data is None else None
            place = tree.nearest(())
            tree.problem((), place, "a mapping that starts with `version: 1`", found)
        return None
    data = copy.deepcopy(tree.data)
    for error in _errors(data):
        if pydantic_problems.is_unknown_key(error):
            if len(tree.problems) < ENOUGH_PROBLEMS:
                pydantic_problems.report(tree, error)
            _remove(data, pydantic_problems.path_of(error))
    refused = set()
    for error in _errors(data):
        if len(tree.problems) < ENOUGH_PROBLEMS:
            pydantic_problems.report(tree, error)
        refused.add(str(error["loc"][0]))
    return _compare(tree, data, refused)


def _compare(tree: Tree, data: dict[str, Any], refused: set[str]) -> Document:
    kept = {section: value for section, value in data.items() if section not in refused}
    stand_ins = {section: _STAND_IN[section] for section in refused if section in _STAND_IN}
    document = Document.model_validate({**kept, **stand_ins})

    def shown(path: KeyPath) -> str:
        return (
            tree.values[path].shown if path in tree.values else pydantic_problems.default_of(path)
        )

    for finding in findings(document, refused, shown):
        if tree.is_broken(finding.path):
            continue
        if finding.key:
            place = tree.keys[finding.path]
            tree.problem(finding.path, place, finding.wanted, f"`{printable(place.shown)}`")
        else:
            tree.problem(finding.path, tree.nearest(finding.path), finding.wanted)
    return document


def _errors(data: dict[str, Any]) -> Sequence[Any]:
    try:
        Document.model_validate(data)
    except ValidationError as error:
        return error.errors(include_url=False, include_input=False)
    return ()


def _remove(data: Any, path: KeyPath) -> None:
    for part in path[:-1]:
        data = data[part]
    del data[path[-1]]


def _in_order(problems: Sequence[Problem]) -> list[Problem]:
    ordered = sorted(dict.fromkeys(problems), key=lambda problem: (problem.line, problem.column))
    if len(ordered) <= MOST_PROBLEMS:
        return ordered
    last = ordered[MOST_PROBLEMS - 1]
    more = Problem(
        last.file, last.line, last.column, "scenario", "more problems", "those above mended first"
    )
    return [*ordered[:MOST_PROBLEMS], more]
