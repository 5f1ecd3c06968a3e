"""The storefront, its inventory and a proxy on a fresh server of each kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chaosbandit.cli.stage import Stage, standing
from tests.servers import Kind, real_server_path, running_server


@pytest.fixture(scope="module", params=["embedded", "real"])
def shared_stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """One stage for all tests of a module; who uses it leaves it as it was."""
    kind: Kind = request.param
    if kind == "real" and real_server_path() is None:
        pytest.skip("no real Toxiproxy server: run .ci/toxiproxy, which builds it")
    with running_server(kind) as url, standing(url) as stage:
        yield stage


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
