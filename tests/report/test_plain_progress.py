from __future__ import annotations

import io
from typing import TYPE_CHECKING

from chaosbandit.core.events import EvidenceExpired
from chaosbandit.report.plain_progress import PlainLines, line_of

if TYPE_CHECKING:
    from tests.report.conftest import Tell

GUARDRAIL = """\
   0:00  storefront-slow-inventory: run 3fa9c1, seed 7, Toxiproxy 2.12.0 at http://127.0.0.1:8474
   0:01  steady state met: every SLO holds
   0:03  exposure 1: 101 ms, 80 requests, none bad, 102 ms delivered, 101 ms felt
   0:03  stopped: 120 ms is above guardrails.max_severity 100 ms
"""


def told(tell: Tell, story: str) -> str:
    stream = io.StringIO()
    sink = PlainLines(stream)
    for event, campaign in tell(story).moments:
        sink.accept(event, campaign)
    return stream.getvalue()


def test_a_run_in_lines(tell: Tell) -> None:
    assert told(tell, "guardrail") == GUARDRAIL


def test_with_several_ladders_each_exposure_names_its_own(tell: Tell) -> None:
    lines = [line[9:] for line in told(tell, "two ladders").splitlines() if "exposure" in line]
    assert [line.split(" ms")[0] for line in lines] == [
        "exposure 1: slow-inventory 192",
        "exposure 2: slow-prices 20",
        "exposure 3: slow-inventory 206",
        "exposure 4: slow-prices 22",
    ]


def test_bad_news_is_loud(tell: Tell) -> None:
    assert "steady state NOT met: latency is not met" in told(tell, "not steady")
    assert "void: not delivered" in told(tell, "void")


def test_expired_evidence_is_told(tell: Tell) -> None:
    event = EvidenceExpired("evidence is older than an hour", 101.0)
    assert line_of(event, tell("answered").campaign) == event.why


def test_longer_blocks_are_told_with_their_price(tell: Tell) -> None:
    line = next(line for line in told(tell, "clumps").splitlines() if "blocks" in line)
    assert line.endswith(
        "6 bad requests in a row are no chance: from here on, and for all before, evidence is "
        "weighed in blocks of 24, which takes about 24 times the requests"
    )


def test_a_hold_is_told_once_when_it_begins(tell: Tell) -> None:
    lines = [line[9:] for line in told(tell, "holding").splitlines() if "holding" in line]
    assert lines == ["holding 192 ms: 2 of 15 s"]


def test_a_broken_stream_never_stops_a_run(tell: Tell) -> None:
    stream = io.StringIO()
    stream.close()
    sink = PlainLines(stream)
    for event, campaign in tell("guardrail").moments:
        sink.accept(event, campaign)
    assert stream.closed


def test_a_poor_encoding_loses_letters_not_lines(tell: Tell) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    sink = PlainLines(stream)
    for event, campaign in tell("guardrail").moments:
        sink.accept(event, campaign)
    assert len(raw.getvalue().splitlines()) == len(GUARDRAIL.splitlines())
    stream.close()
