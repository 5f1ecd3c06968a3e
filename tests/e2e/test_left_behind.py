"""Each situation of the matrix strikes one real run; `benchmarks/left_behind.py` strikes many."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from signal import SIGTERM

import pytest

from tests.e2e.conftest import Kept
from tests.e2e.runs import Ended, proxies, soon
from tests.faultpoints import situations
from tests.faultpoints.meddling import MEDDLING, meddled
from tests.faultpoints.outages import GARBAGE, UNKNOWN, Middlebox, Mode
from tests.faultpoints.situations import SITUATIONS, Outage, Outcome, Place, Situation, cut_off
from tests.faultpoints.worlds import Topology, call, wait_for_watchdogs
from tests.servers import Kind, real_server_path
from tests.tiers import first_alone

KINDS: list[Kind] = ["embedded", "real"] if real_server_path() else ["embedded"]
AROUND_A_FAULT = 1  # a seed that strikes 0.4 s into the first exposure
TOPOLOGIES: list[Topology] = ["canary", "edge"]
NAMES = [name for name in SITUATIONS if not name.startswith("API") and "30 s" not in name]


@pytest.mark.parametrize(("n", "name"), first_alone([*enumerate(NAMES)]))
def test_nothing_is_left_behind(kept: Kept, tmp_path: Path, n: int, name: str) -> None:
    kind, topology = KINDS[n % len(KINDS)], TOPOLOGIES[n // 2 % 2]
    _struck(kept, kept.place(kind, topology, tmp_path), SITUATIONS[name], f"{name}/test")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", first_alone([(name,) for name in MEDDLING]))
def test_what_others_do_is_never_evidence(
    kept: Kept, tmp_path: Path, kind: Kind, name: str
) -> None:
    place = kept.place(kind, "canary", tmp_path)
    _struck(kept, place, meddled(name, times=1), f"{name}/once")


@pytest.mark.parametrize(
    ("n", "name"),
    first_alone([*enumerate(["others delete the toxic", "others edit the toxic"])]),
)
def test_what_others_do_twice_in_a_row_ends_the_run(
    kept: Kept, tmp_path: Path, n: int, name: str
) -> None:
    place = kept.place(KINDS[n % len(KINDS)], TOPOLOGIES[n % 2], tmp_path)
    assert _struck(kept, place, meddled(name, times=2), f"{name}/twice").code == 6


def _struck(kept: Kept, place: Place, situation: Situation, seed: str) -> Outcome:
    outcome = situation(place, Random(seed))
    if outcome.bad:
        kept.forget(place)
    assert not outcome.bad, f"{place.world.name}, {outcome}"
    return outcome


CUT_OFF: list[tuple[Topology, Mode, bytes]] = [
    ("canary", "silent", b""),
    ("edge", "refused", b""),
    ("edge", "reset", b""),
    ("edge", "garbage", UNKNOWN),
    ("canary", "garbage", UNKNOWN),
]


@pytest.mark.parametrize(("topology", "mode", "garbage"), first_alone(CUT_OFF))
def test_what_something_else_says_in_the_servers_place_is_no_proof(
    kept: Kept, tmp_path: Path, topology: Topology, mode: Mode, garbage: bytes
) -> None:
    place = kept.place(KINDS[-1], topology, tmp_path)
    outage = Outage(mode, 2.0, SIGTERM, garbage)
    outcome = cut_off(place, Random(AROUND_A_FAULT), outage)
    if outcome.bad:
        kept.forget(place)
    assert "into exposure 1, SIGTERM" in outcome.did
    assert not outcome.bad, str(outcome)


# --- the matrix itself sees what it is meant to see -----------------------------------------------


def test_a_fault_that_stays_is_seen(kept: Kept, tmp_path: Path) -> None:
    place = kept.place("embedded", "canary", tmp_path)
    there = place.world
    assert there.wait_until_normal(tmp_path, 1.0)[1] == []
    dose = {"type": "latency", "attributes": {"latency": 300}}
    assert call(there.server, "POST", "/proxies/inventory/toxics", dose) == 200
    try:
        assert "latency" in there.wait_until_normal(tmp_path, 0.2)[1][0]
        unchanged = replace(there, before=proxies(there.server))
        assert unchanged.sick()[0].startswith("a request was answered 200 after")
        ended = Ended(0, "     clean: verified\n", "")
        lied = situations.judged(place, "nothing", ended, orderly=True, within_s=0.2).lied
        assert lied[0].startswith("said 'clean: verified' while ")
    finally:
        assert call(there.server, "DELETE", "/proxies/inventory/toxics/latency_downstream") == 204
    assert there.wait_until_normal(tmp_path, 2.0)[1] == []


def test_what_was_written_is_looked_at(kept: Kept, tmp_path: Path) -> None:
    there = kept.place("embedded", "canary", tmp_path).world
    for folder in ("faults", "runs"):
        (tmp_path / "chaosbandit" / folder).mkdir(parents=True)
    fault = tmp_path / "chaosbandit" / "faults" / "cb.run001.1.1.json"
    fault.write_text("{}")
    (tmp_path / "chaosbandit" / "runs" / "torn.jsonl").write_text('{"v": 2, "type": "Stopped"}\n')
    journal, ledger = there.left(tmp_path)
    assert ledger == "ledger file cb.run001.1.1.json"
    assert journal.startswith("journal: ")
    assert wait_for_watchdogs([tmp_path], within_s=0.1) == [f"{tmp_path}: ['{fault.name}'], []"]
    watchdog = [sys.executable, "-c", "input()", "safety/watchdog.py", str(tmp_path)]
    with subprocess.Popen(watchdog, stdin=subprocess.PIPE) as looking:
        assert [line.split()[0] for line in there.left(tmp_path)] == ["journal:"]
        assert len(there.watched(tmp_path)) == 2
        assert looking.stdin is not None
        looking.stdin.close()
    fault.unlink()
    assert wait_for_watchdogs([tmp_path], within_s=0.1) == []


def test_the_middlebox_does_what_it_is_told(kept: Kept, tmp_path: Path) -> None:
    there = kept.place("embedded", "canary", tmp_path).world
    with Middlebox(there.server) as box:
        assert call(box.url, "GET", "/version") == 200
        box.mode, box.garbage = "garbage", GARBAGE[-1]
        assert call(box.url, "GET", "/version") == 502
        box.mode = "reset"
        with pytest.raises(ConnectionError):
            call(box.url, "GET", "/version")
        box.mode = "refused"
        assert soon(lambda: _refused(box.url))
        box.mode = "normal"
        assert soon(lambda: not _refused(box.url))
        box.mode = "silent"
        body = {"name": "late", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1"}
        with pytest.raises(TimeoutError):
            call(box.url, "POST", "/proxies", body, within_s=0.2)
        assert "late" not in proxies(there.server)
        box.mode = "normal"
        assert soon(lambda: "late" in proxies(there.server))
        box.hold(1, 0.5)
        with pytest.raises(TimeoutError):
            call(box.url, "DELETE", "/proxies/late", within_s=0.2)
        assert call(box.url, "GET", "/version") == 200
        assert "late" in proxies(there.server)
        assert box.held == "DELETE /proxies/late"
        assert soon(lambda: "late" not in proxies(there.server))
        assert box.delivered.is_set()


def _refused(url: str) -> bool:
    try:
        call(url, "GET", "/version")
    except ConnectionRefusedError:
        return True
    except ConnectionError:
        return False
    return False
