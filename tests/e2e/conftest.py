"""The storefront, its inventory and a proxy on a fresh server of each kind.

What several tests use stands until the session ends, since watchdogs of killed runs look for late
calls for up to a minute: they are waited for once, then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from signal import SIG_DFL, SIGHUP, signal

import pytest

from chaosbandit.cli.demo_services import Stage, standing
from tests.faultpoints.outages import Server
from tests.faultpoints.situations import Place
from tests.faultpoints.worlds import Topology, World, wait_for_watchdogs, world
from tests.servers import Kind, real_server_path, running_server

signal(SIGHUP, SIG_DFL)  # what nohup ignores, the processes of these tests would inherit


class Kept:
    """Stages and worlds, each made when first asked for, and the state folders of killed runs."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._stages: dict[Kind, Stage] = {}
        self._worlds: dict[tuple[Kind, Topology], tuple[World, Server]] = {}
        self.states: list[Path] = []

    def stage(self, kind: Kind) -> Stage:
        """The stage on this kind of server; who uses it leaves it as it was."""
        if kind not in self._stages:
            url = self._stack.enter_context(running_server(kind))
            self._stages[kind] = self._stack.enter_context(standing(url))
        return self._stages[kind]

    def place(self, kind: Kind, topology: Topology, state: Path) -> Place:
        """The world of this kind and topology, with a state folder for one strike."""
        if (kind, topology) not in self._worlds:
            folder = self._folder / f"{kind}-{topology}-{len(self.states)}"
            folder.mkdir()
            server = self._stack.enter_context(Server(kind, folder))
            there = world(kind, topology, server=server.url, long=True)
            self._worlds[kind, topology] = (self._stack.enter_context(there), server)
        self.states.append(state)
        return Place(*self._worlds[kind, topology], state, self._stack)

    def forget(self, place: Place) -> None:
        """Something was left there, which is not to be held against the next test."""
        del self._worlds[place.world.kind, place.world.topology]
        self.states.remove(place.folder)

    def in_the_end(self) -> list[str]:
        """What is left when no watchdog has anything to wait for any more."""
        left = wait_for_watchdogs(self.states)
        return left + [line for there, _ in self._worlds.values() for line in there.sick()]


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """All that stands until the end, when nothing may be left."""
    with ExitStack() as stack:
        kept = Kept(tmp_path_factory.mktemp("kept"), stack)
        yield kept
        assert kept.in_the_end() == []


@pytest.fixture(params=["embedded", "real"])
def shared_stage(request: pytest.FixtureRequest, kept: Kept) -> Stage:
    """One stage for all tests; who uses it leaves it as it was."""
    kind: Kind = request.param
    if kind == "real" and real_server_path() is None:
        pytest.skip("no real Toxiproxy server: run .ci/toxiproxy, which builds it")
    return kept.stage(kind)


@pytest.fixture
def stage(toxiproxy_url: str) -> Iterator[Stage]:
    """A stage of the test's own, to be broken."""
    with standing(toxiproxy_url) as stage:
        yield stage


@pytest.fixture
def embedded_stage() -> Iterator[Stage]:
    """A stage of the test's own, where the kind of server makes no difference."""
    with running_server("embedded") as url, standing(url) as stage:
        yield stage
