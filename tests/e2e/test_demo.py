"""The main job as a user runs it: `demo` as a process, on both servers (long form: benchmarks/)."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from chaosbandit.core.certified_claims import bracket as bracket_of
from chaosbandit.core.climb import Climb
from chaosbandit.core.events import Decided, Event, RunStarted, Stopped
from chaosbandit.core.policies import policy
from chaosbandit.core.replay import replay
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.scenario import parse
from chaosbandit.store.journal import read
from tests.e2e.runs import Command, processes_with, soon
from tests.faultpoints.worlds import wait_for_watchdogs

pytestmark = pytest.mark.e2e

PROOF = re.compile(r"(\d+) ms\s+(\w+): (\d+) of (\d+) bad = .* between ([\d.]+)% and ([\d.]+)%")
ALLOWED = 1.0  # per cent bad that the demo's objectives allow


def demo(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chaosbandit", "demo", *arguments],
        env={**os.environ, "XDG_STATE_HOME": str(home), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def proxies(server: str) -> dict[str, object]:
    with httpx.Client(trust_env=False) as client:
        found: dict[str, object] = client.get(f"{server}/proxies").json()
    return found


def assert_replays(events: Sequence[Event], answer: str) -> None:
    """The journal alone gives every decision again, and the answer."""
    header, end = events[0], events[-1]
    assert isinstance(header, RunStarted)
    assert isinstance(end, Stopped)
    asked = parse(header.source, "journal", {}).scenario
    again = replay(events, asked, policy(asked.search.policy))
    assert again.difference is None
    assert again.decisions == sum(isinstance(event, Decided) for event in events) > 10
    bracket = bracket_of(Climb(again.campaign))
    assert bracket.held is not None
    assert bracket.broke is not None
    text = asked.ladder.text
    assert f"holds at {text(bracket.held)} and breaks at {text(bracket.broke)} " in answer


@pytest.mark.matrix  # the demo with its own server tells the same story
def test_demo_brackets_the_breaking_point(toxiproxy_url: str, tmp_path: Path) -> None:
    done = demo(
        tmp_path, "--toxiproxy", toxiproxy_url, "--json", "--prove", "--prove-samples", "400"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    (ladder,) = result["ladders"]
    held, broke = ladder["bracket"]["held"], ladder["bracket"]["broke"]
    assert held < broke <= 1.1 * held * 1.001
    measured = {
        (int(ms), name): (float(low), float(high))
        for ms, name, _, _, low, high in PROOF.findall(done.stderr)
    }
    ends = (round(held * 1000), round(broke * 1000))
    assert {ms for ms, _ in measured} == set(ends), done.stderr
    # What holds is not shown to break, and what breaks breaks at least one SLO.
    assert all(measured[ends[0], slo][0] <= ALLOWED for slo in ("availability", "latency"))
    assert max(measured[ends[1], slo][1] for slo in ("availability", "latency")) >= ALLOWED


def test_demo_leaves_nothing_behind(toxiproxy_url: str, tmp_path: Path) -> None:
    done = demo(tmp_path, "--toxiproxy", toxiproxy_url, "--crash")
    assert done.returncode == 0, done.stdout + done.stderr
    recovered = re.search(r"(\d+) ms later a user's request was answered normally", done.stdout)
    assert recovered is not None, done.stdout
    assert int(recovered[1]) < 2000
    assert proxies(toxiproxy_url) == {}
    assert wait_for_watchdogs([tmp_path]) == []
    assert proxies(toxiproxy_url) == {}


def test_demo_with_its_own_server_tells_the_whole_story(tmp_path: Path) -> None:
    done = demo(tmp_path, "--seed", "7", "--journal", str(tmp_path / "journal"))
    assert done.returncode == 0, done.stdout + done.stderr
    first, *rest = done.stdout.splitlines()
    assert re.fullmatch(
        r"slow-inventory holds at \d+ ms and breaks at \d+ ms \(95 % confidence\)\.", first
    )
    story = "\n".join(rest)
    for words in ("requests:", "bad)", "error budget", "delivered", "felt", "clean: verified"):
        assert words in story, words
    journal = Path(next(line.split()[-1] for line in rest if "journal:" in line))
    assert_replays(read(journal), first)
    # Without a terminal: one plain line an exposure, no escape codes.
    assert "\x1b" not in done.stderr
    assert len(re.findall(r"exposure \d+: ", done.stderr)) >= 5


def test_the_watchdog_leaves_soon_when_the_demos_own_services_are_dead(tmp_path: Path) -> None:
    with Command(tmp_path, "demo", "--seed", "7") as running:
        running.until_exposed(1)
        watchdogs = [line for line in processes_with(str(tmp_path)) if "watchdog.py" in line]
        assert watchdogs
        running.send(signal.SIGKILL)
        killed_s = time.monotonic()
        assert soon(lambda: not processes_with(str(tmp_path)), 5.0)
        assert time.monotonic() - killed_s < 5.0
    assert FaultLedger(tmp_path / "chaosbandit" / "faults").entries().entries == ()
