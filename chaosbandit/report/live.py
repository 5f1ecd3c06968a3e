"""The live view on stderr: severity, purpose, bracket, samples and budget, redrawn in place.

rich is imported when a view is made, not before: commands that draw nothing stay fast. Nothing here
may ever stop a run, so whatever fails while drawing is dropped.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.events import Event, RunStarted, Stopped
from chaosbandit.hidden_values import masked
from chaosbandit.report.bracket_axis import ASCII, FAINT, UNICODE, Glyphs, Row
from chaosbandit.report.live_rows import picture
from chaosbandit.report.numbers_in_words import clock, writable
from chaosbandit.report.plain_progress import PlainLines, line_of
from chaosbandit.report.run_progress import Scene, watch

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

REDRAWS_PER_S = 8.0


class LiveView:
    """Sink that redraws a picture of the run in place; one line a finished exposure scrolls by."""

    def __init__(self, console: Console, now_s: Callable[[], float] = time.monotonic) -> None:
        self._console, self._now_s = console, now_s
        self._glyphs = glyphs_of(console)
        self._started_s = now_s()
        self._shown: tuple[Scene, Campaign] | None = None
        self._scene = Scene()
        self._live = _redrawn(console, self._picture)

    def accept(self, event: Event, campaign: Campaign) -> None:
        """Remember the newest campaign; the view's own thread draws it when it is time."""
        with suppress(Exception):
            self._take(event, campaign)

    def close(self) -> None:
        """Remove the picture and give the terminal back; closing twice is harmless."""
        with suppress(Exception):
            self._live.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _take(self, event: Event, campaign: Campaign) -> None:
        self._scene = watch(self._scene, event, campaign)
        self._shown = (
            self._scene,
            campaign,
        )  # one assignment: the drawing thread sees both or none
        if isinstance(event, RunStarted):
            self._started_s = self._now_s()
            self._live.start()
        line = line_of(event, campaign)
        if line is not None:
            self._print(line)
        if isinstance(event, Stopped):
            self.close()

    def _print(self, line: str) -> None:
        elapsed = f"{clock(self._now_s() - self._started_s):>7}  "
        lines = textwrap.wrap(masked(line), max(20, self._console.width - len(elapsed) - 1))
        rows: list[Row] = [[(" " * len(elapsed), ""), (each, "")] for each in lines]
        rows[0][0] = (elapsed, FAINT)
        self._console.print(text_of(rows, self._console.encoding))

    def _picture(self) -> Text:
        """What the drawing thread shows; an empty text when anything goes wrong."""
        with suppress(Exception):
            if self._shown is not None:
                scene, campaign = self._shown
                elapsed_s = self._now_s() - self._started_s
                width = self._console.width
                rows = picture(scene, campaign, width, elapsed_s, self._glyphs)
                return text_of(rows, self._console.encoding)
        return text_of([], self._console.encoding)


def _redrawn(console: Console, picture_now: Callable[[], Text]) -> Live:
    """rich's live display, whose thread survives a terminal that fails."""
    from rich.live import Live

    class Patient(Live):
        def refresh(self) -> None:
            with suppress(Exception):
                super().refresh()

    return Patient(
        console=console,
        get_renderable=picture_now,
        refresh_per_second=REDRAWS_PER_S,
        transient=True,
        redirect_stdout=False,
    )


def text_of(rows: list[Row], encoding: str) -> Text:
    """Rows of pieces as one text of rich."""
    from rich.text import Text

    text = Text(no_wrap=True, overflow="crop")
    for number, row in enumerate(rows):
        text.append("\n" if number else "")
        for piece, style in row:
            text.append(writable(masked(piece), encoding), style=style or None)
    return text


def glyphs_of(console: Console) -> Glyphs:
    """Line drawing where the terminal's encoding has it, ASCII elsewhere."""
    return UNICODE if console.encoding.lower().startswith("utf") else ASCII


def progress(stream: TextIO) -> LiveView | PlainLines:
    """The view that suits the stream: live on a terminal that can redraw, else plain lines."""
    if not stream.isatty():
        return PlainLines(stream)
    console = console_on(stream)
    return PlainLines(stream) if console.is_dumb_terminal else LiveView(console)


def console_on(stream: TextIO) -> Console:
    """A console of rich that falls silent when its terminal goes away.

    rich's own would redirect our stdout, the place of the result, and end the process.
    """
    from rich.console import Console

    class Patient(Console):
        def on_broken_pipe(self) -> None:
            self.quiet = True

    return Patient(file=stream)
