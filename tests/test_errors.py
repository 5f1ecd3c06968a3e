from __future__ import annotations

import pickle
import re
from collections.abc import Iterator

import pytest

from chaosbandit import errors
from chaosbandit.errors import (
    ChaosbanditError,
    CleanupError,
    Exit,
    HarnessError,
    PolicyError,
    Problem,
    ScenarioError,
    ToxiproxyError,
    Trouble,
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
    error = CleanupError("it is still there", do="by hand", commands=["curl -X DELETE a", "rm b"])
    assert error.trouble.commands == ("curl -X DELETE a", "rm b")
    assert str(error) == "it is still there; by hand:\n  curl -X DELETE a\n  rm b"


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        (Trouble("it hangs"), "it hangs"),
        (Trouble("it hangs", do="restart it"), "it hangs; restart it"),
        (Trouble("2", "3"), "found 2, wanted 3"),
        (Trouble("2", "3", "add one", "a.yaml:1"), "a.yaml:1: found 2, wanted 3; add one"),
        (Trouble("it stays", commands=("rm a",)), "it stays:\n  rm a"),
    ],
)
def test_a_sentence_is_made_of_its_parts(trouble: Trouble, sentence: str) -> None:
    parts = {"wanted": trouble.wanted, "do": trouble.do, "where": trouble.where}
    error = ToxiproxyError(trouble.found, **parts, commands=trouble.commands)
    assert error.trouble == trouble == ToxiproxyError(trouble).trouble
    assert str(error) == str(trouble) == sentence


def test_an_error_has_its_parts_in_another_process_too() -> None:
    error = HarnessError("2", wanted="3", do="add one")
    assert pickle.loads(pickle.dumps(error)).trouble == error.trouble
