"""Fixtures for the tests of the relay."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.proxied import PATIENCE_S, ProxiedPath


@pytest.fixture
def path(toxiproxy_url: str) -> Iterator[ProxiedPath]:
    """Proxy `p` of a fresh server of each kind, leading to the test itself."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as upstream:
        upstream.settimeout(PATIENCE_S)
        path = ProxiedPath(toxiproxy_url, upstream)
        with contextlib.closing(path):
            yield path
