"""Findings as text and as JSON."""

from __future__ import annotations

import io
import json

import pytest

from chaosbandit.doctor.findings import Finding, fail, note, ok, warn
from chaosbandit.doctor.findings_table import is_coloured, to_json, to_text

COMMAND = "chaosbandit clean --expired --watch --toxiproxy http://h:1"
FINDINGS: list[Finding] = [
    ok("watchdog", "ready after 80 ms"),
    note("sweeper", "none", "one", f"start `{COMMAND}`"),
    warn("clock skew", "9 s ahead " * 12, "at most 2 s", "set both clocks"),
    fail("a check with a long name", "nothing at all", "something", "mend it " * 15),
]


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_it_fits(width: int) -> None:
    lines = to_text(FINDINGS, width).splitlines()
    assert max(len(line) for line in lines) <= max(width, 90)  # the command stays whole
    assert sum(len(line) > width for line in lines) <= 1
    assert [line[:4] for line in lines if line[:1].strip()][:4] == ["ok  ", "note", "warn", "FAIL"]


def test_what_to_do_is_below_what_was_found() -> None:
    text = to_text(FINDINGS[:2], 80)
    assert text.splitlines()[0] == "ok    watchdog  ready after 80 ms"
    assert text.splitlines()[1] == "note  sweeper   none, wanted one"
    assert text.splitlines()[2].strip() == "do: start:"
    assert text.splitlines()[3].strip() == COMMAND
    assert text.endswith("\nAll is well. Nothing was changed\n")


def test_words_of_others_do_nothing_to_a_terminal() -> None:
    proxy = "cart\x1b]0;mine\x07\x9b2J"
    found = [note("proxies", f"disabled: {proxy}", proxy, f"enable {proxy}")]
    for text in (to_text(found), to_json(found)):
        assert all(c.isprintable() or c == "\n" for c in text)
        assert "\\u001b" not in text
        assert text.count("cart ]0;mine") == 3


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_command_stands_alone_and_whole(width: int) -> None:
    command = f"curl -sS -m 40 -X DELETE http://h:8474/proxies/{'x' * width}"
    do = f"wait, or change `protect`; if it is dead, run `{command}`; restart it after that"
    lines = [line.strip() for line in to_text([fail("a", "b", "c", do)], width).splitlines()]
    assert lines[1:4] == [
        "do: wait, or change `protect`; if it is dead, run:",
        command,
        "restart it after that",
    ]


def test_a_long_address_is_not_broken() -> None:
    url = f"http://{'h' * 90}.example:8474/x"
    assert f" {url}\n" in to_text([warn("a", f"slow {url}", do=f"look at {url}")], 80)


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        (FINDINGS[:2], "All is well."),
        (FINDINGS[:3], "Nothing fails, 1 warning."),
        (FINDINGS, "1 check fails, 1 warning: a run would not work"),
        (FINDINGS[3:] * 2, "2 checks fail, no warnings: a run would not work"),
    ],
)
def test_the_end_sums_up(findings: list[Finding], said: str) -> None:
    assert said in to_text(findings).splitlines()[-1]


def test_colours_are_only_where_they_are_wanted() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    xterm = {"TERM": "xterm"}
    assert is_coloured(Terminal(), xterm)
    assert not is_coloured(Terminal(), {**xterm, "NO_COLOR": "1"})
    assert not is_coloured(Terminal(), {"TERM": "dumb"})
    assert not is_coloured(io.StringIO(), xterm)
    assert "\x1b" in to_text(FINDINGS, coloured=True)
    assert "\x1b" not in to_text(FINDINGS)


def test_json() -> None:
    found = json.loads(to_json(FINDINGS))
    assert (found["schema"], found["exit_code"], len(found["findings"])) == (1, 6, 4)
    assert found["findings"][0] == {
        "check": "watchdog",
        "level": "ok",
        "found": "ready after 80 ms",
        "wanted": "",
        "do": "",
    }
