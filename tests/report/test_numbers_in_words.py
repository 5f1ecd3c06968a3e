from __future__ import annotations

import pytest

from chaosbandit.report.numbers_in_words import (
    about,
    clock,
    count,
    duration,
    listed,
    plural,
    share,
    spanned,
    window,
    writable,
)


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0.0, "0 ms"),
        (0.0004, "0.4 ms"),
        (0.19, "190 ms"),
        (0.9996, "1 s"),
        (4.25, "4.25 s"),
        (59.96, "1 min 00 s"),
        (72.0, "1 min 12 s"),
        (7500.0, "2 h 05 min"),
        (30 * 86400.0, "30 days"),
    ],
)
def test_duration(duration_s: float, text: str) -> None:
    assert duration(duration_s) == text


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (30 * 86400.0, "30-day"),
        (86400.0, "1-day"),
        (12 * 3600.0, "12-hour"),
        (90 * 60.0, "90-minute"),
        (45.0, "45-second"),
    ],
)
def test_window(duration_s: float, text: str) -> None:
    assert window(duration_s) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0.0, "0 %"),
        (1e-9, "< 0.01 %"),
        (0.0042, "0.42 %"),
        (0.05, "5 %"),
        (0.123, "12.3 %"),
        (0.95, "95 %"),
        (0.9999, "99.99 %"),
        (1.0, "100 %"),
    ],
)
def test_share(fraction: float, text: str) -> None:
    assert share(fraction) == text


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        ("190 ms", "206 ms", "190 to 206 ms"),
        ("700 ms", "1.2 s", "700 ms to 1.2 s"),
        ("190 ms", "190 ms", "190 ms"),
        ("190 ms", "above 1 s", "190 ms to above 1 s"),
        ("below 10 ms", "20 ms", "below 10 ms to 20 ms"),
        ("below 10 ms", "above 20 ms", "below 10 ms to above 20 ms"),
        ("12.5", "13", "12.5 to 13"),
    ],
)
def test_spanned(start: str, end: str, text: str) -> None:
    assert spanned(start, end) == text


@pytest.mark.parametrize(("words", "text"), [("a", "a"), ("ab", "a and b"), ("abc", "a, b and c")])
def test_listed(words: str, text: str) -> None:
    assert listed(words) == text


@pytest.mark.parametrize(
    ("number", "text"), [(2634.0, "2,600"), (14.2, "14"), (0.3, "0"), (199_500.0, "200,000")]
)
def test_about(number: float, text: str) -> None:
    assert about(number) == text


def test_counts() -> None:
    assert count(12345) == "12,345"
    assert count(10.42) == "10.4"
    assert plural(1, "request") == "1 request"
    assert plural(1200, "request") == "1,200 requests"


@pytest.mark.parametrize(
    ("elapsed_s", "text"), [(-1.0, "0:00"), (7.9, "0:07"), (754.0, "12:34"), (3723.0, "1:02:03")]
)
def test_clock(elapsed_s: float, text: str) -> None:
    assert clock(elapsed_s) == text


def test_what_cannot_be_written_becomes_a_question_mark() -> None:
    assert writable("größe ≤ 3", "ascii") == "gr??e ? 3"
    assert writable("größe ≤ 3", "utf-8") == "größe ≤ 3"
    assert writable("größe", None) == "gr??e"
