"""Fixtures that more than one part of the tests needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from tests.servers import Kind, real_server_path, running_server
from tests.tiers import mark


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Sort them into tiers."""
    mark(items)


@pytest.fixture(params=["embedded", "real"])
def toxiproxy_kind(request: pytest.FixtureRequest) -> Kind:
    """Which Toxiproxy server the test runs against; the real one is skipped where it is missing."""
    kind: Kind = request.param
    if kind == "real" and real_server_path() is None:
        pytest.skip("no real Toxiproxy server: run .ci/toxiproxy, which builds it")
    return kind


@pytest.fixture
def toxiproxy_url(toxiproxy_kind: Kind) -> Iterator[str]:
    """The API of a fresh Toxiproxy server, once of each kind."""
    with running_server(toxiproxy_kind) as url:
        yield url
