"""YAML as far as scenarios use it: YAML 1.2's types, no cleverness, no way to hurt the reader."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import pytest

from chaosbandit.errors import Problem, ScenarioError
from chaosbandit.scenario import load, parse
from chaosbandit.scenario.file_text import LARGEST
from chaosbandit.scenario.yaml_to_tree import DEEPEST, compose


def problem_at(text: str, line: int, column: int) -> Problem:
    """The problem of that place; such short texts have others, as most keys are missing."""
    with pytest.raises(ScenarioError) as caught:
        parse(text, "f.yaml", {})
    problems = [p for p in caught.value.problems if not p.wanted.startswith("this key")]
    return next(p for p in problems if (p.line, p.column) == (line, column))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("y", "y"),
        ("1:30", "1:30"),
        ("012", 12),
        ("0o14", 12),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("+1", 1),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        (".inf", float("inf")),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("2026-01-01", "2026-01-01"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("=", "="),
        ("9" * 50, "9" * 50),
    ],
)
def test_types_are_yaml_1_2(written: str, meant: object) -> None:
    tree = compose(f"key: {written}\n", "f", {})
    assert not tree.problems
    assert (tree.data, type(tree.data["key"])) == ({"key": meant}, type(meant))


@pytest.mark.parametrize(
    ("text", "line", "column", "found", "wanted"),
    [
        ("", 1, 1, "nothing", "version: 1"),
        ("# only a comment\n", 1, 1, "nothing", "version: 1"),
        ("- a\n- b\n", 1, 1, "a list", "a mapping"),
        ("hello", 1, 1, "`hello`", "a mapping"),
        ("a: 1\n---\nb: 2\n", 2, 1, "a second document", "one scenario a file"),
        ("name: a\nname: b\n", 2, 1, "the key again", "the first is in line 1"),
        ("a: {b: 1, b: 2}\n", 1, 11, "the key again", "line 1"),
        ("name: &x shop\n", 1, 7, "an anchor", "the value alone"),
        ("a: &x [1]\nname: *x\n", 1, 4, "an anchor", "the value alone"),
        ("name: !!str shop\n", 1, 7, "a tag", "the value alone"),
        ("name: !!python/object:os.system x\n", 1, 7, "a tag", "the value alone"),
        ("<<: {a: 1}\n", 1, 1, "a merge key", "the keys themselves"),
        ("? [a]\n: 1\n", 1, 3, "a list as a key", "a key of letters"),
        ("a:\n\tb: 1\n", 2, 1, "a tab", "spaces"),
        ("a: {b: 1\n", 2, 1, "syntax", "brackets"),
        ("a: b: c\n", 1, 5, "mapping values", "YAML"),
        (
            "a:\n  b: 1\n   c: 2\n",
            3,
            5,
            "mapping values",
            "`c` is indented by 3, the line above by 2",
        ),
        ("a:\n  b: 1\n c: 2\n", 3, 2, "syntax", "`c` is indented by 1, the line above by 2"),
        ("a: {url: http://h/{n}}\n", 1, 19, "syntax", "quotes around a URL with {n}"),
        ("a: @b\n", 1, 4, "`@` where a value starts", "quotes"),
        ("a: > 150ms\n", 1, 6, "syntax", "YAML"),
        ('a: "b\n', 2, 1, "syntax", "quotes"),
        ("a: {b: ${C}}\n", 1, 9, "syntax", "quotes around"),
        ("a: x\x07y\n", 1, 5, "U+0007", "readable text"),
        ("a: 1\nb: \ud800\n", 2, 4, "U+D800", "readable text"),
        ("[" * 1000, 1, DEEPEST + 1, "one more level", "levels"),
        ("- " * 1000, 1, 2 * DEEPEST + 1, "one more level", "levels"),
        ("a: '" + "x" * LARGEST + "'", 1, 1, "more", "256 kB"),
    ],
)
def test_what_is_no_scenario_is_refused_in_place(
    text: str, line: int, column: int, found: str, wanted: str
) -> None:
    problem = problem_at(text, line, column)
    assert found in problem.found
    assert wanted in problem.wanted


def test_an_alias_is_refused_where_it_stands() -> None:
    with pytest.raises(ScenarioError) as caught:
        parse("seed: &x 1\ndescription: *x\n", "f.yaml", {})
    alias = next(p for p in caught.value.problems if p.key == "description")
    assert (alias.line, alias.column, alias.found) == (2, 14, "an alias")


def test_laughs_are_not_multiplied() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 60)]
    start = perf_counter()
    with pytest.raises(ScenarioError):
        parse("\n".join(lines), "f.yaml", {})
    assert perf_counter() - start < 1


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"key{n}: 1\n" for n in range(20000)),
        "a: {" + "b," * 120_000 + "}",
        "slos:\n" + "- x\n" * 60_000,
        "ladders:\n" + "- {toxic: latency, a: 1}\n" * 9000,
        "{" * 200_000,
        "? " * 100_000,
        "name: " + "${A" * 60_000,
        "traffic: {timeout: " + "1" * 200_000 + "}",
    ],
)
def test_large_nonsense_is_refused_soon(text: str) -> None:
    start = perf_counter()
    with pytest.raises(ScenarioError):
        parse(text, "f.yaml", {})
    assert perf_counter() - start < 5  # measured: up to 0.5 s


@pytest.mark.parametrize(
    ("raw", "line", "column", "words"),
    [
        (b"version: 1\nname: caf\xe9\n", 2, 10, "the byte 0xe9"),
        ("name: ü\n".encode() + b"b: \xff", 2, 4, "the byte 0xff"),
        (b"\xff\xfev\x00", 1, 1, "UTF-16"),
        (bytes(range(256)), 3, 115, "the byte 0x80"),
        (b"\x00" * 10, 1, 1, "U+0000"),
        (b"", 1, 1, "nothing"),
        (b"#" * (LARGEST + 1), 1, 1, "256 kB"),
        (b"#" * (LARGEST + 2) + b"\xc3\xa4", 1, 1, "256 kB"),
    ],
)
def test_any_bytes_are_answered_with_a_problem(
    tmp_path: Path, raw: bytes, line: int, column: int, words: str
) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(raw)
    with pytest.raises(ScenarioError) as caught:
        load(path, {})
    problem = caught.value.problems[0]
    assert (problem.line, problem.column) == (line, column)
    assert words in str(problem)


@pytest.mark.parametrize("name", [".", "missing.yaml", "nul\0byte"])
def test_what_cannot_be_read_is_a_problem_too(tmp_path: Path, name: str) -> None:
    with pytest.raises(ScenarioError, match="no readable file"):
        load(tmp_path / name, {})
