"""Text of others is short, printable and tells no secret, whatever it is."""

from __future__ import annotations

import json

import pytest

from chaosbandit.foreign_text import LONGEST, said
from chaosbandit.hidden_values import forget, hide


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("proxy not found", "proxy not found"),
        ("  a\r\nb\t ", "ab"),
        ("\x1b[31mred\x1b[0m \x9b2Jx", "red x"),
        ("\x1b]0;owned\x07title", "title"),
        ("\x1b]0;never ended", ""),
        ("\x1bcreset", "reset"),
        ("right \u202eto left\u202c\u2066\u200b\ufeff", "right to left"),
        ("a\u2028b\x00\x7f", "ab"),
        ("\ud800x", "x"),
        ("é 日本 😀", "é 日本 😀"),
        ("x" * 10_000_000, "x" * LONGEST),
        ("\x1b[0m" * 1_000_000 + "x", ""),
    ],
)
def test_what_is_said_is_short_and_printable(text: str, shown: str) -> None:
    assert said(text) == shown


def test_what_cannot_even_be_written_is_said() -> None:
    nest: list[object] = []
    for _ in range(100_000):
        nest = [nest]
    assert said(nest) == "a nest of lists"
    while nest:  # taken apart by hand: freeing it at once is deep as well
        nest = nest.pop()  # type: ignore[assignment]
    assert said(10**5000) == "a huge number"
    assert said(json.loads("NaN")) == "nan"


def test_what_variables_held_is_hidden_before_it_is_cut() -> None:
    hide("${TOKEN}", "s3cr3t-s3cr3t", {"TOKEN": "s3cr3t-s3cr3t"})
    try:
        assert said("no: s3cr3t-s3cr3t", longest=10) == "no: ${TOKE"
    finally:
        forget()
