"""The live view as rows of (text, style) pieces for any width: headline, why, bracket, bars.

Pure, so that what an operator sees can be tested without a terminal.
"""

from __future__ import annotations

from chaosbandit.core import guardrail
from chaosbandit.core.campaign import Campaign
from chaosbandit.core.certified_claims import bracket
from chaosbandit.core.climb import Climb, climbs
from chaosbandit.core.model import Bracket, Purpose
from chaosbandit.report import bracket_axis
from chaosbandit.report.answer import harshest_allowed
from chaosbandit.report.bracket_axis import FAINT, NOW, UNICODE, Glyphs, Marks, Piece, Row, Scale
from chaosbandit.report.numbers_in_words import clock
from chaosbandit.report.run_progress import DOSED, PURPOSES, Scene, Stage

INDENT = "  "
AXIS_WIDTHS = (20, 60)
BAR_WIDTHS = (8, 24)
_KEY = 8
_ZOOM = 3.0  # how far beyond a bracket the axis still shows
_MOST_LADDERS = 6  # besides the one that is worked on


def picture(
    scene: Scene, campaign: Campaign, width: int, elapsed_s: float, glyphs: Glyphs = UNICODE
) -> list[Row]:
    """All rows, none wider than `width` columns."""
    inner = max(AXIS_WIDTHS[0], width - 2 * len(INDENT))
    drawn = min(inner, AXIS_WIDTHS[1])
    rows: list[Row] = [[], _headline(scene, campaign, drawn, elapsed_s, glyphs)]
    rows += [[(line, FAINT)] for line in _shortened(scene.why, drawn)]
    rows += [[], *_bracket(scene, newest(campaign), drawn, glyphs)]
    rows += [*_others(campaign, drawn), []]
    if scene.purpose is Purpose.HOLD:
        rows.append(_hold(scene, campaign, drawn, glyphs))
    elif scene.wanted:
        rows.append(_samples(scene, drawn, glyphs))
    rows.append(_budget(campaign, drawn, glyphs))
    return [[(INDENT, ""), *row] if row else [] for row in rows]


def newest(campaign: Campaign) -> Climb:
    """The ladder that is worked on, or was last."""
    exposure = campaign.current or (campaign.exposures[-1] if campaign.exposures else None)
    return Climb(campaign, exposure.climb if exposure else 0)


def _headline(
    scene: Scene, campaign: Campaign, width: int, elapsed_s: float, glyphs: Glyphs
) -> Row:
    stage: Row = [(str(scene.stage), "bold")]
    details = []
    if scene.stage in DOSED and scene.severity is not None:
        stage.append((f" {campaign.newest.text(scene.severity)}", "bold cyan"))
        if scene.stage is Stage.HOLDING:
            hold_s = campaign.scenario.search.hold_s
            stage.append((f": {_stood(scene, hold_s)}", "bold cyan"))
        details = [PURPOSES[scene.purpose]] if scene.purpose else []
        details.append(f"exposure {scene.exposure}")
    time = clock(elapsed_s)
    room = width - _length(stage) - len(time) - 1
    while details and len("".join(f" {glyphs.dot} {each}" for each in details)) > room:
        details.pop()
    middle = "".join(f" {glyphs.dot} {each}" for each in details)
    gap = " " * max(1, width - _length(stage) - len(middle) - len(time))
    return [*stage, (middle, FAINT), (gap, ""), (time, FAINT)]


def _bracket(scene: Scene, climb: Climb, width: int, glyphs: Glyphs) -> list[Row]:
    text, known = climb.ladder.text, bracket(climb)
    scale = _scale(climb, known, width)
    now = scene.severity if scene.stage in DOSED else None
    believed = _believed(climb, known)
    marks = Marks(known.held, known.broke, believed, now)
    below: list[tuple[int, str, str]] = []
    for word, severity, style in (
        ("broke", known.broke, bracket_axis.BROKE),
        ("held", known.held, bracket_axis.HELD),
        (f"{glyphs.now}", now, NOW),
        (f"{glyphs.believed} believed", believed, bracket_axis.OPEN),
    ):
        if severity is not None:
            below.append((scale.column(severity), f"{word} {text(severity)}", style))
    rows: list[Row] = [[(climb.ladder.name[:width], "bold")]] if climb.several else []
    rows.append(bracket_axis.ends(width, text(scale.mild), text(scale.harsh)))
    return [*rows, bracket_axis.line(scale, marks, glyphs), bracket_axis.labels(width, below)]


def _others(campaign: Campaign, width: int) -> list[Row]:
    """A line for each ladder that is not worked on now: what is certified of it so far."""
    others = [each for each in climbs(campaign) if each.number != newest(campaign).number]
    if not others:
        return []
    shown = others[:_MOST_LADDERS]
    found = [_so_far(each) for each in shown]
    room = max(width - 2 - max(map(len, found)), _KEY)
    column = min(max(len(each.ladder.name) for each in shown), room)
    rows: list[Row] = [[]]
    for each, said in zip(shown, found, strict=True):
        name = f"{each.ladder.name[:column]:<{column}}  "
        rows.append([(name, FAINT), (said[: width - len(name)], "")])
    left = len(others) - len(shown)
    return [*rows, [(f"and {left} more", FAINT)]] if left else rows


def _so_far(climb: Climb) -> str:
    """`held 190 ms, broke 207 ms`, or as much of that as is certified of a ladder."""
    known, text = bracket(climb), climb.ladder.text
    ends = [("held", known.held), ("broke", known.broke)]
    said = ", ".join(f"{word} {text(at)}" for word, at in ends if at is not None)
    if said:
        return said
    return "not tried yet" if climb.highest_exposed is None else "nothing certified yet"


def _scale(climb: Climb, known: Bracket, width: int) -> Scale:
    """The whole ladder, or its part around the bracket once both ends are certified."""
    severities = climb.ladder.severities
    mild, harsh = severities[0], harshest_allowed(climb)
    if known.held is not None and known.broke is not None:
        mild = max((each for each in severities if each <= known.held / _ZOOM), default=mild)
        harsh = min(max(harsh, known.broke), known.broke * _ZOOM)
    return Scale(mild, max(harsh, mild), width)


def _believed(climb: Climb, known: Bracket) -> float | None:
    """The harshest severity that the model believes to hold, where that says more than `known`."""
    if climb.highest_exposed is None:
        return None  # nothing but a prior yet
    low, high = -1, len(climb.ladder.severities) - 1
    while low < high:  # belief in "broke" only grows with severity
        middle = (low + high + 1) // 2
        low, high = (low, middle - 1) if guardrail.risky(climb, middle) else (middle, high)
    believed = climb.ladder.severities[low] if low >= 0 else None
    return believed if believed is None or believed > (known.held or 0.0) else None


def _hold(scene: Scene, campaign: Campaign, width: int, glyphs: Glyphs) -> Row:
    """How long the held severity has stood, of `search.hold`."""
    hold_s = campaign.scenario.search.hold_s
    share, style = min(1.0, scene.stood_s / hold_s), "cyan" if not scene.bad else "yellow"
    return _barred("hold", share, style, (_stood(scene, hold_s),), width, glyphs)


def _stood(scene: Scene, hold_s: float) -> str:
    return f"{scene.stood_s:.0f} of {hold_s:g} s"


def _samples(scene: Scene, width: int, glyphs: Glyphs) -> Row:
    style = "cyan" if not scene.bad else "yellow"
    return _barred(
        "samples",
        scene.seen / scene.wanted,
        style,
        (f"{scene.seen:,} of {scene.wanted:,}, {scene.bad:,} bad", f"{scene.seen}/{scene.wanted}"),
        width,
        glyphs,
    )


def _budget(campaign: Campaign, width: int, glyphs: Glyphs) -> Row:
    """The SLO with the least budget left."""
    allowed = [campaign.scenario.budget.allowed(slo) for slo in campaign.slos]
    spent = [campaign.spent_bad(s) for s in range(len(campaign.slos))]
    tightest = min(range(len(allowed)), key=lambda s: allowed[s] - spent[s])
    bad, limit = spent[tightest], allowed[tightest]
    share = bad / limit if limit else 1.0
    style = (
        bracket_axis.HELD
        if share < 0.5
        else bracket_axis.OPEN
        if share < 0.8
        else bracket_axis.BROKE
    )
    name = campaign.slos[tightest].name
    texts = (
        f"{bad:,} of {limit:,} bad spent ({name})",
        f"{bad:,} of {limit:,} spent",
        f"{bad}/{limit}",
    )
    return _barred("budget", share, style, texts, width, glyphs)


def _barred(
    key: str, share: float, style: str, texts: tuple[str, ...], width: int, glyphs: Glyphs
) -> Row:
    """A bar with the longest of the texts that fits beside it."""
    room = width - _KEY - BAR_WIDTHS[0] - 2
    text = next((each for each in texts if len(each) <= room), texts[-1])
    drawn = max(BAR_WIDTHS[0], min(BAR_WIDTHS[1], width - _KEY - 2 - len(text)))
    return [
        (f"{key:<{_KEY}}", FAINT),
        *bracket_axis.bar(drawn, share, style, glyphs),
        (f"  {text}", ""),
    ]


def _shortened(text: str, width: int) -> list[str]:
    """At most two lines of text."""
    if not text:
        return []
    lines: list[str] = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 <= width:
            lines[-1] = f"{lines[-1]} {word}".lstrip()
        else:
            lines.append(word[:width])
    if len(lines) > 2:
        lines = [lines[0], lines[1][: width - 4] + " ..."]
    return lines


def _length(pieces: list[Piece]) -> int:
    return sum(len(text) for text, _ in pieces)
