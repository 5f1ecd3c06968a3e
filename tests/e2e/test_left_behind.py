"""Each situation of the matrix strikes one real run; `benchmarks/left_behind.py` strikes many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from random import Random
from signal import SIGTERM

import pytest

from tests.e2e.runs import Ended, proxies, soon
from tests.faultpoints import situations
from tests.faultpoints.outages import GARBAGE, UNKNOWN, Middlebox, Mode, Server
from tests.faultpoints.situations import SITUATIONS, Outage, Place, cut_off
from tests.faultpoints.worlds import Topology, World, call, world
from tests.servers import Kind, real_server_path

KINDS: list[Kind] = ["embedded", "real"] if real_server_path() else ["embedded"]
AROUND_A_FAULT = 1  # a seed that strikes 0.4 s into the first exposure
TOPOLOGIES: list[Topology] = ["canary", "edge"]


class Places:
    """The worlds of this module, each made when first asked for."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._made: dict[tuple[Kind, Topology], tuple[World, Server]] = {}

    def at(self, kind: Kind, topology: Topology, folder: Path) -> Place:
        """One of them, with a folder for one strike."""
        if (kind, topology) not in self._made:
            place = self._folder / f"{kind}-{topology}"
            place.mkdir()
            server = self._stack.enter_context(Server(kind, place))
            there = world(kind, topology, server=server.url, long=True)
            self._made[kind, topology] = (self._stack.enter_context(there), server)
        return Place(*self._made[kind, topology], folder)

    def forget(self, place: Place) -> None:
        """Something was left there, which is not to be held against the next test."""
        del self._made[place.world.kind, place.world.topology]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with ExitStack() as stack:
        yield Places(tmp_path_factory.mktemp("places"), stack)


@pytest.mark.parametrize(
    ("n", "name"), [*enumerate(name for name in SITUATIONS if not name.startswith("API"))]
)
def test_nothing_is_left_behind(places: Places, tmp_path: Path, n: int, name: str) -> None:
    kind, topology = KINDS[n % len(KINDS)], TOPOLOGIES[n // 2 % 2]
    place = places.at(kind, topology, tmp_path)
    outcome = SITUATIONS[name](place, Random(f"{name}/test"))
    if outcome.bad:
        places.forget(place)
    assert not outcome.bad, f"{kind} {topology}, {outcome}"


CUT_OFF: list[tuple[Topology, Mode, bytes]] = [
    ("canary", "silent", b""),
    ("edge", "refused", b""),
    ("edge", "reset", b""),
    ("edge", "garbage", UNKNOWN),
    ("canary", "garbage", UNKNOWN),
]


@pytest.mark.parametrize(("topology", "mode", "garbage"), CUT_OFF)
def test_what_something_else_says_in_the_servers_place_is_no_proof(
    places: Places, tmp_path: Path, topology: Topology, mode: Mode, garbage: bytes
) -> None:
    place = places.at(KINDS[-1], topology, tmp_path)
    outage = Outage(mode, 2.0, SIGTERM, garbage)
    outcome = cut_off(place, Random(AROUND_A_FAULT), outage)
    if outcome.bad:
        places.forget(place)
    assert "into exposure 1, SIGTERM" in outcome.did
    assert not outcome.bad, str(outcome)


# --- the matrix itself sees what it is meant to see -----------------------------------------------


def test_a_fault_that_stays_is_seen(places: Places, tmp_path: Path) -> None:
    place = places.at("embedded", "canary", tmp_path)
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


def test_what_was_written_is_looked_at(places: Places, tmp_path: Path) -> None:
    there = places.at("embedded", "canary", tmp_path).world
    for folder in ("faults", "runs"):
        (tmp_path / "chaosbandit" / folder).mkdir(parents=True)
    (tmp_path / "chaosbandit" / "faults" / "cb.run001.1.1.inventory.json").write_text("{}")
    (tmp_path / "chaosbandit" / "runs" / "torn.jsonl").write_text('{"v": 1, "type": "Stopped"}\n')
    ledger, journal = there.left(tmp_path)
    assert ledger == "ledger file cb.run001.1.1.inventory.json"
    assert journal.startswith("journal: ")


def test_the_middlebox_does_what_it_is_told(places: Places, tmp_path: Path) -> None:
    there = places.at("embedded", "canary", tmp_path).world
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
    assert call(there.server, "DELETE", "/proxies/late") == 204


def _refused(url: str) -> bool:
    try:
        call(url, "GET", "/version")
    except ConnectionRefusedError:
        return True
    except ConnectionError:
        return False
    return False
