"""URLs that differ from request to request."""

from __future__ import annotations

from collections import Counter
from itertools import count

import pytest

from chaosbandit import hidden_values
from chaosbandit.core.url_template import PLACEHOLDER, example, fillers, literals, wrong_range


def filled(template: str, seq: int) -> list[str]:
    numbers = count()
    return [fill(seq) for fill in fillers(template, lambda: f"new{next(numbers)}")]


def test_each_placeholder_in_its_place() -> None:
    assert filled("http://h/{n}/{uuid}?a={n}&b={uuid}", 7) == ["7", "new0", "7", "new1"]
    assert literals("http://h/{n}/{uuid}?a={n:1..8}") == ["http://h/", "/", "?a=", ""]
    assert filled("http://h/", 7) == []
    assert filled("http://h/{n:5..5}", 7) == ["5"]


def test_a_range_is_used_evenly_by_any_share_of_the_requests() -> None:
    """Not in turns: every eighth request, as one route may have them, would see one page."""
    (fill,) = fillers("http://h/{n:1..8}", str)
    for every in (1, 6, 8):
        seen = Counter(fill(seq) for seq in range(0, 8000 * every, every))
        assert set(seen) == {str(page) for page in range(1, 9)}
        assert max(seen.values()) < 1.15 * 1000


def test_the_same_request_asks_the_same() -> None:
    assert filled("http://h/{n:1..1000000}", 3) == filled("http://h/{n:1..1000000}", 3)


@pytest.mark.parametrize(
    ("template", "url"),
    [
        ("http://h/{n}", "http://h/0"),
        ("http://h/{n:4..4}?{n}", "http://h/4?0"),
        ("http://h/{uuid}", "http://h/00000000-0000-4000-8000-000000000000"),
    ],
)
def test_an_example_is_a_url(template: str, url: str) -> None:
    assert example(template) == url


def test_the_lower_end_comes_first() -> None:
    assert wrong_range("http://h/{n:8..1}")
    assert not wrong_range("http://h/{n:1..8}/{n}/{n:3..3}")


def test_what_is_hidden_knows_the_same_placeholders() -> None:
    assert hidden_values._FILLED.pattern == PLACEHOLDER.pattern
