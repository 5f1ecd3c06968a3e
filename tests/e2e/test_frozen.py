"""Runs on a Toxiproxy that freezes, hangs or dies under them (long form: benchmarks/frozen.py)."""

from __future__ import annotations

import pytest

from tests.e2e.strikes import (
    Strike,
    delete_the_toxic,
    kill_and_start,
    removals,
    stop_for,
    struck,
)
from tests.servers import real_server_path

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        real_server_path() is None,
        reason="no real Toxiproxy server: run .ci/toxiproxy, which builds it",
    ),
]


def test_the_deletion_of_our_toxic_freezes_the_server_but_not_the_path_for_long() -> None:
    trial = struck(delete_the_toxic)
    assert trial.froze  # or the recipe is none, and the rest proves nothing
    assert trial.kept, f"{trial}\n{trial.ended.err}{trial.ended.out}"


@pytest.mark.parametrize(
    "strike", [stop_for(5.0), kill_and_start(with_config=False)], ids=["stopped", "restarted-empty"]
)
def test_the_path_survives_a_server_that_hangs_or_dies(strike: Strike) -> None:
    trial = struck(strike)
    assert trial.kept, f"{trial}\n{trial.ended.err}{trial.ended.out}"


def test_our_own_removal_does_not_freeze_the_server() -> None:
    for removed in removals(1):
        assert removed.exit_code == 0
        assert removed.normal_s is not None
        assert removed.normal_s < 2.0
        assert not removed.lied
