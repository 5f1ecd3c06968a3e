"""What a clean-up needs: a ledger of its own, and an operator's path on each kind of server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaosbandit.safety.ledger import FaultLedger
from tests.cleaning.operators import OperatorPath, operator_path


@pytest.fixture
def ledger(tmp_path: Path) -> FaultLedger:
    """A ledger that does not exist yet."""
    return FaultLedger(tmp_path / "faults")


@pytest.fixture
def path(toxiproxy_url: str) -> Iterator[OperatorPath]:
    """The operator's path, once on each kind of server."""
    with operator_path(toxiproxy_url) as path:
        yield path
