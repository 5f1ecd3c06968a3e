"""Thousands of generated files: a scenario or a clear error, soon, in little memory.

`benchmarks/scenario_files.py` reads ten thousand of them; here are the first of each kind, and each
defect they have shown as a test of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from random import Random
from time import perf_counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaosbandit.errors import Problem, ScenarioError
from chaosbandit.scenario import parse
from chaosbandit.scenario.tree import printable
from chaosbandit.scenario.yaml_scalars import MOST_FILLED_IN
from chaosbandit.scenario.yaml_to_tree import MOST_VALUES, compose
from tests.scenario.generated import KINDS, PLACES, SECRET
from tests.scenario.judged import MOST_MB, Answer, complaints, survey, survey_places, validate
from tests.scenario.oddities import TEXTS
from tests.scenario.styled import as_yaml
from tests.scenario.written import valid

EDGE = next(text for text in TEXTS if "name: edge-latency\n" in text)
MOST_ODD = sorted(set(KINDS) - {"valid ones"})


def problems(text: str, environment: Mapping[str, str] | None = None) -> tuple[Problem, ...]:
    with pytest.raises(ScenarioError) as caught:
        parse(text, "f.yaml", environment or {})
    return caught.value.problems


def test_valid_ones_mean_what_was_written(tmp_path: Path) -> None:
    tally = survey("valid ones", range(100), tmp_path)
    assert tally.complaints == []
    assert (tally.valid, tally.files) == (100, 100)


@pytest.mark.parametrize("kind", MOST_ODD)
def test_odd_ones_are_read_or_refused_clearly(kind: str, tmp_path: Path) -> None:
    tally = survey(kind, range(30), tmp_path)
    assert tally.complaints == []
    assert tally.refused >= 20
    assert 20 < tally.peak_mb <= MOST_MB


@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    st.sampled_from([kind for kind in KINDS if kind not in ("huge ones", "deep nests")]),
    st.randoms(use_true_random=False),
)
def test_whatever_chance_finds_is_read_or_refused(kind: str, rng: Random) -> None:
    file = KINDS[kind](rng)
    text, outcome, scenario = "", "valid", None
    try:
        scenario = parse(file.raw.decode(errors="replace"), "f.yaml", file.environment).scenario
    except ScenarioError as error:
        text, outcome = str(error), "refused"
    answer = Answer(outcome, text, 0.0, 0.0)
    assert not [*complaints(answer, Path("f.yaml"), file.raw)]
    assert file.scenario is None or scenario == file.scenario


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.randoms(use_true_random=False))
def test_what_is_valid_is_valid_in_every_style(rng: Random) -> None:
    said = valid(rng)
    loaded = parse(as_yaml(rng, said.data), "f.yaml", said.environment)
    assert loaded.scenario == said.scenario


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    tally = survey_places(tmp_path)
    assert tally.complaints == []
    unreadable = os.geteuid() != 0  # to root nothing is
    assert tally.refused == len(PLACES) - (not unreadable)


def test_the_command_answers_for_every_kind_and_place(tmp_path: Path) -> None:
    paths = []
    for place, put in PLACES.items():
        put(tmp_path / place)
        paths.append(tmp_path / place)
    for kind, generate in KINDS.items():
        for number in range(4):
            paths.append(tmp_path / f"{kind} {number}.yaml")
            paths[-1].write_bytes(generate(Random(f"{kind} {number}")).raw)
    said = validate(paths, {"A": SECRET})
    assert said.returncode == 2
    assert "internal error" not in said.stderr
    for line in said.stderr.splitlines():
        assert line.startswith(str(tmp_path))
    assert SECRET not in said.stderr + said.stdout
    told = {line.removeprefix(str(tmp_path)).split(":")[0] for line in said.stderr.splitlines()}
    valid_too = {
        line.removeprefix(str(tmp_path)).split(":")[0] for line in said.stdout.splitlines()
    }
    assert told | valid_too == {f"/{path.name}" for path in paths}
    assert {problem["file"] for problem in json.loads(validate(paths[:3], {}, "--json").stdout)[
        "problems"
    ]} == {str(path) for path in paths[:3]}  # fmt: skip


def test_the_judge_complains_of_bad_answers() -> None:
    path, raw = Path("f.yaml"), b"a: 1\n"
    bad = [
        Answer("refused", "f.yaml:1:1: a: found `1`, wanted 2", 1.5, 10.0),
        Answer("refused", "f.yaml:1:1: a: found `1`, wanted 2", 0.1, 300.0),
        Answer("refused", "f.yaml:3:1: a: found `1`, wanted 2", 0.1, 10.0),
        Answer("refused", "f.yaml:1:9: a: found `1`, wanted 2", 0.1, 10.0),
        Answer("refused", "f.yaml: a is bad", 0.1, 10.0),
        Answer("refused", "f.yaml:1:1: a: found ValueError('x'), wanted 2", 0.1, 10.0),
        Answer("refused", f"f.yaml:1:1: a: found {SECRET}, wanted 2", 0.1, 10.0),
        Answer("refused", "\n".join(["f.yaml:1:1: a: found `1`, wanted 2"] * 200), 0.1, 10.0),
        Answer("traceback", "Traceback ...", 0.1, 10.0),
    ]
    for answer in bad:
        assert len([*complaints(answer, path, raw)]) == 1
    assert not [*complaints(Answer("refused", bad[0].text, 0.1, 10.0), path, raw)]


# What the generated files have shown.


@pytest.mark.parametrize(
    ("before", "key"),
    [("", "[key]"), ("traffic:", "traffic.[key]"), ("  shop: {", "proxies.shop.[key]")],
)
def test_a_key_named_like_the_validators_own_mark(before: str, key: str) -> None:
    assert before in EDGE
    if before.endswith("{"):
        text = EDGE.replace(before, before + '"[key]": 1, ')
    elif before:
        text = EDGE.replace(before, before + '\n  "[key]": 1')
    else:
        text = EDGE + '"[key]": 1\n'
    (problem,) = problems(text)
    assert (problem.key, problem.found) == (key, "an unknown key")


def test_a_proxy_named_like_the_validators_own_mark() -> None:
    found = problems(EDGE.replace("proxies:\n", 'proxies:\n  "[key]": 1\n'))
    assert {problem.key for problem in found} == {"proxies.[key]"}
    assert found[0].wanted.startswith("a name of 1 to 64")


@pytest.mark.parametrize("letter", ["x", "é"])
def test_problems_under_a_very_long_key_are_told_soon(letter: str) -> None:
    start = perf_counter()
    found = problems(f"? {letter * 100_000}\n: {{{'a, ' * 3000}}}\n")
    assert len(found) == 101
    assert perf_counter() - start < 2  # it was 5 s, and is 0.05 s


def test_problems_under_many_long_keys_are_told_soon() -> None:
    levels = "".join(f"{'  ' * n}? {'k' * 2400}\n{'  ' * n}:\n" for n in range(48))
    start = perf_counter()
    assert len(problems(f"{levels}{'  ' * 48}{{{'a, ' * 1500}}}\n")) == 101
    assert perf_counter() - start < 1  # it was 2.3 s, and is 0.03 s


def test_a_long_name_of_a_variable_is_not_repeated() -> None:
    found = problems(EDGE.replace("description: ", "description: ${" + "A" * 200_000 + "} "))
    assert all(len(str(problem)) < 300 for problem in found)


@pytest.mark.parametrize("text", ["a: '{}'", "a: ['{}']"])
def test_variables_do_not_multiply(text: str) -> None:
    many = "${B}" * 2000 if "[" not in text else "', '".join(["${B}"] * 2000)
    tree = compose(text.format(many), "f.yaml", {"B": "x" * 10_000})
    assert tree.problems
    assert f"at most {MOST_FILLED_IN:,} characters" in tree.problems[0].wanted
    assert len(str(tree.data)) < MOST_FILLED_IN + 4 * len(many)


def test_what_is_worth_no_look_is_cut_off_by_its_number_of_values() -> None:
    for text in ("a: [" + "1, " * 30_000 + "]", "".join(f"k{n}: 1\n" for n in range(20_000))):
        (problem,) = problems(text)
        assert problem.wanted == f"at most {MOST_VALUES:,} values"


@pytest.mark.parametrize("held", ["\udcff", "a\x1b[31mb", "a\x00b"])
def test_a_variable_brings_no_control_characters_into_a_scenario(held: str) -> None:
    (problem,) = problems(EDGE.replace("description: ", "description: ${A} "), {"A": held})
    assert (problem.key, problem.wanted) == ("description", "text without control characters")


def test_an_escape_brings_no_control_characters_into_a_scenario() -> None:
    text = EDGE.replace("{upstream:", '{bypass: ["/bin/a", "b\\0"], upstream:')
    (problem,) = problems(text)
    assert problem.key == "proxies.shop.bypass[1]"


@pytest.mark.parametrize("written", ["２", "' 2 '", "'1_0'", "infinity", "nan", "'1e999'", "[2]"])
def test_numbers_are_written_in_digits(written: str) -> None:
    (problem,) = problems(EDGE + f"search: {{escalation: {written}}}\n")
    assert problem.key == "search.escalation"
    assert "number, such as 2 or 1.5" in problem.wanted


def test_a_number_may_come_from_a_variable() -> None:
    loaded = parse(EDGE + "search: {escalation: '${A}'}\n", "f.yaml", {"A": "1.5"})
    assert loaded.scenario.search.escalation == 1.5


def test_how_many_entries_there_may_be_is_said_for_each_list() -> None:
    many = ", ".join(["/a"] * 11)
    (problem,) = problems(EDGE.replace("guardrails: {", f"guardrails: {{freeze: [{many}], "))
    assert (problem.key, problem.wanted) == ("guardrails.freeze", "at most 10 entries")


def test_a_hundred_proxies_are_not_all_listed() -> None:
    more = "".join(f"  p{'x' * 60}{n}: {{upstream: '127.0.0.1:1'}}\n" for n in range(99))
    text = EDGE.replace("traffic:", more + "traffic:").replace("proxy: shop", "proxy: shopp")
    (problem,) = problems(text)
    assert "did you mean `shop`?" in problem.wanted
    assert len(str(problem)) < 900


def test_an_empty_key_is_shown() -> None:
    (problem,) = problems(EDGE + "'': 1\n")
    assert str(problem).startswith("f.yaml:24:1: '': found an unknown key")


@pytest.mark.parametrize("end", ["\r", "\r\n", "\x85", "\u2028"])
def test_lines_are_counted_as_yaml_counts_them(end: str) -> None:
    (problem,) = problems(f"a: 1{end}b: 2{end}c: \x07")
    assert (problem.line, problem.column) == (3, 4)


def test_the_middle_of_credentials_is_no_place_to_cut() -> None:
    secret = "h" * 2000
    assert "hh" not in printable(f"http://u:{secret}@127.0.0.1/")
    assert printable("a" * 5000) == "a" * 47 + "…"


@pytest.mark.parametrize(("text", "place"), [("a: {b", (1, 6)), ("a:\n  - 'b", (2, 7))])
def test_what_is_missing_at_the_end_is_told_in_the_last_line(
    text: str, place: tuple[int, int]
) -> None:
    (problem,) = problems(text)
    assert (problem.line, problem.column) == place
