from __future__ import annotations

import io
import re
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from chaosbandit.report.bracket_axis import ASCII, UNICODE
from chaosbandit.report.live import LiveView, glyphs_of, progress
from chaosbandit.report.plain_progress import PlainLines

if TYPE_CHECKING:
    from tests.report.conftest import Tell

STORIES = ["answered", "out of budget", "not clean", "not steady", "void", "cut off"]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def terminal(width: int, *, no_color: bool = False) -> Console:
    return Console(
        file=Terminal(),
        force_terminal=True,
        width=width,
        height=30,
        no_color=no_color,
        color_system="standard",
        _environ={"TERM": "xterm"},
    )


def shown(console: Console) -> str:
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def watch_all(tell: Tell, story: str, console: Console) -> str:
    with LiveView(console) as view:
        for event, campaign in tell(story).moments:
            view.accept(event, campaign)
            view._live.refresh()
    return shown(console)


@pytest.mark.parametrize("width", [40, 80, 160])
@pytest.mark.parametrize("story", STORIES)
def test_it_draws_every_story_at_every_width(tell: Tell, story: str, width: int) -> None:
    text = watch_all(tell, story, terminal(width))
    assert "steady state" in text
    assert "budget" in text
    assert "Traceback" not in text


def test_it_shows_bracket_purpose_and_finished_exposures(tell: Tell) -> None:
    text = watch_all(tell, "answered", terminal(80))
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    for part in (
        "to show it breaks",
        "halves the gap",
        "held 192 ms",
        "broke 206 ms",
        "exposure 2: 192 ms, 80 requests, none bad",
        "stopped: the bracket is closed",
    ):
        assert part in plain
    assert "\x1b[32m" in text  # green: held


def test_no_color_is_respected(tell: Tell) -> None:
    text = watch_all(tell, "answered", terminal(80, no_color=True))
    assert "━" in text
    assert re.findall(r"\x1b\[[0-9;]*3[0-7]m", text) == []


def test_the_terminal_is_given_back(tell: Tell) -> None:
    before = threading.active_count()
    console = terminal(80)
    with pytest.raises(KeyboardInterrupt), LiveView(console) as view:
        for event, campaign in tell("cut off").moments:
            view.accept(event, campaign)
        raise KeyboardInterrupt
    assert shown(console).count("\x1b[?25l") == shown(console).count("\x1b[?25h") == 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.name.startswith("Thread-"):
            thread.join(timeout=10)
    assert threading.active_count() <= before


@pytest.mark.parametrize("error", [BrokenPipeError, OSError, ValueError])
def test_a_failing_terminal_never_stops_a_run(
    tell: Tell, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    class Broken(Terminal):
        def write(self, text: str) -> int:
            raise error

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    view = progress(Broken())
    assert isinstance(view, LiveView)
    for event, campaign in tell("answered").moments:
        view.accept(event, campaign)
        view._live.refresh()  # as its thread does
    view.close()
    assert view._scene.exposure == 3


@pytest.mark.parametrize(("encoding", "glyphs"), [("utf-8", UNICODE), ("ascii", ASCII)])
def test_glyphs_follow_the_encoding(encoding: str, glyphs: object) -> None:
    with io.TextIOWrapper(io.BytesIO(), encoding=encoding) as stream:
        assert glyphs_of(Console(file=stream)) is glyphs


def test_the_view_suits_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    assert isinstance(progress(io.StringIO()), PlainLines)
    assert isinstance(progress(Terminal()), LiveView)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress(Terminal()), PlainLines)


def test_rich_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, chaosbandit.report.live; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
