from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from chaosbandit import errors
from chaosbandit.errors import (
    ChaosbanditError,
    CleanupError,
    Exit,
    PolicyError,
    Problem,
    ScenarioError,
    ToxiproxyError,
)


def tree(kind: type[ChaosbanditError]) -> Iterator[type[ChaosbanditError]]:
    for leaf in kind.__subclasses__():
        if leaf.__module__ == errors.__name__:
            yield leaf
            yield from tree(leaf)


def test_the_drawing_at_the_top_is_the_tree() -> None:
    assert errors.__doc__ is not None
    drawn = dict(re.findall(r"[├└]── (\w+) +(\d+) ", errors.__doc__))
    assert drawn == {kind.__name__: str(int(kind.exit_code)) for kind in tree(ChaosbanditError)}


def test_every_error_has_a_meaning_for_the_shell() -> None:
    assert ChaosbanditError.exit_code is Exit.INTERNAL
    for kind in tree(ChaosbanditError):
        # A policy that breaks the rules is a bug in a program, perhaps somebody else's.
        internal = kind is PolicyError
        assert (kind.exit_code is Exit.INTERNAL) == internal, kind


@pytest.mark.parametrize(
    ("meaning", "code"),
    [
        (Exit.ANSWERED, 0),
        (Exit.INTERNAL, 1),
        (Exit.USAGE, 2),
        (Exit.GATE_FAILED, 3),
        (Exit.INCONCLUSIVE, 4),
        (Exit.GUARDRAIL, 5),
        (Exit.HARNESS, 6),
        (Exit.NOT_CLEAN, 7),
        (Exit.SIGINT, 130),
        (Exit.SIGTERM, 143),
    ],
)
def test_exit_codes_are_stable(meaning: Exit, code: int) -> None:
    assert int(meaning) == code
    assert len(Exit) == 10


def test_a_scenario_error_lists_every_problem_with_its_place() -> None:
    first = Problem("a.yaml", 3, 5, "rate", "'fast'", "a number")
    second = Problem("a.yaml", 9, 1, "slos", "none", "at least one")
    error = ScenarioError([first, second])
    assert error.problems == (first, second)
    assert str(error) == (
        "a.yaml:3:5: rate: found 'fast', wanted a number\n"
        "a.yaml:9:1: slos: found none, wanted at least one"
    )


def test_a_cleanup_error_says_what_to_type() -> None:
    error = CleanupError("it is still there", ["curl -X DELETE a", "curl -X POST b"])
    assert error.commands == ("curl -X DELETE a", "curl -X POST b")
    assert str(error) == "it is still there\n  curl -X DELETE a\n  curl -X POST b"


def test_a_toxiproxy_error_keeps_the_status() -> None:
    assert ToxiproxyError("not found", 404).status == 404
    assert ToxiproxyError("hangs").status is None
