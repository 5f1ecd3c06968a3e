"""Whatever a file says, the answer is a scenario or a ScenarioError, and it comes soon."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaosbandit.core.scenario import Scenario
from chaosbandit.errors import ScenarioError
from chaosbandit.scenario import parse

TEXTS = [
    path.read_text(encoding="utf-8")
    for path in sorted((Path(__file__).parents[2] / "scenarios").rglob("*.yaml"))
]
PIECES = [
    "{", "}", "[", "]", ":", ": ", "- ", "? ", "\n", "\n  ", "\t", "&a ", "*a", "!!str ", "<<: ",
    "---\n", "%", "'", '"', "|", ">", "#", "$", "${", "${A}", "${A:-1}", "no", "null", "1_0", "012",
    "99%", "-1", ".nan", "1e999", "1:30", "100%", "0s", "\x00", "\ufeff", "\u2028", "é", "\ud800",
    "{n}", "errors", "latency", "toxic", "canary", "edge", "from", "[key]", "[]", "{}", "9" * 5000,
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A shipped scenario after a few cuts, moves, repeats and insertions."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        piece = draw(st.sampled_from(PIECES) | st.text(max_size=5) | st.just(text[start:end] * 2))
        text = text[:start] + piece + text[end:]
    return text


@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(mutated())
def test_mutated_files_are_read_or_refused(text: str) -> None:
    start = perf_counter()
    try:
        answer = parse(text, "f.yaml", {"A": "a"})
    except ScenarioError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.line >= 1
            assert problem.column >= 1
            assert problem.found
            assert problem.wanted
            assert len(problem.found) < 400
    else:
        assert isinstance(answer.scenario, Scenario)
        assert answer.scenario.ladder.severities
    assert perf_counter() - start < 1
