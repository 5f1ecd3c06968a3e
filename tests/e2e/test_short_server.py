"""An embedded Toxiproxy short of descriptors in mid-run: its own trouble, not the target's."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from chaosbandit.cli.demo_services import Stage, standing
from tests.e2e.runs import Command, journals, ledger_files, proxies, scenario_with

pytestmark = pytest.mark.e2e

SHORT = 'ulimit -n 80 && exec "$@"'  # 20 connections
SERVER = [sys.executable, "-m", "chaosbandit.toxiproxy.server", "--port", "0", "--exit-with-stdin"]
WORDS = "ran out of file descriptors or local ports meanwhile"


@pytest.fixture
def short_stage() -> Iterator[Stage]:
    with subprocess.Popen(
        ["sh", "-c", SHORT, "sh", *SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        with standing(process.stdout.readline().split()[-1]) as stage:
            yield stage
        process.communicate("", timeout=10.0)


@contextmanager
def flood(stage: Stage) -> Iterator[None]:
    """Two hundred connections held through the operator's proxy."""
    host, port = stage.environment["CB_DEMO_LISTEN"].split(":")
    with ExitStack() as held:
        for _ in range(200):
            held.enter_context(socket.create_connection((host, int(port)), 10.0))
        yield


def validities(state: Path) -> list[tuple[bool, str]]:
    """Of each exposure in the only journal."""
    (journal,) = journals(state)
    events = map(json.loads, journal.read_text().splitlines())
    ended = [event["validity"] for event in events if event["type"] == "ExposureEnded"]
    return [(validity["valid"], validity["why"]) for validity in ended]


def nothing_is_left(stage: Stage, state: Path) -> bool:
    shown = proxies(stage.server)
    return (
        [*shown] == ["inventory"] and not shown["inventory"]["toxics"] and not ledger_files(state)
    )


def test_an_exposure_meanwhile_is_void_and_the_rest_counts(
    short_stage: Stage, tmp_path: Path
) -> None:
    file = scenario_with(tmp_path)
    with Command(tmp_path, "run", file, environment=short_stage.environment) as run:
        run.until_exposed(1)
        with flood(short_stage):
            time.sleep(2.0)
        ended = run.ended().told(0)
    (valid, why), *others = validities(tmp_path)
    assert (valid, WORDS in why) == (False, True)
    assert others
    assert all(valid for valid, _ in others)
    assert " ".join(ended.out.split()).count(WORDS) == 1
    assert nothing_is_left(short_stage, tmp_path)


def test_a_steady_state_meanwhile_is_not_the_targets_failure(
    short_stage: Stage, tmp_path: Path
) -> None:
    file = scenario_with(tmp_path)
    with (
        flood(short_stage),
        Command(tmp_path, "run", file, environment=short_stage.environment) as run,
    ):
        ended = run.ended().told(6)
    assert f"stopped: Toxiproxy at ${{CB_DEMO_TOXIPROXY}} {WORDS}" in " ".join(ended.out.split())
    assert nothing_is_left(short_stage, tmp_path)
