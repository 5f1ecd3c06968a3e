"""Runs on a Toxiproxy that freezes, hangs or dies under them (long form: benchmarks/frozen.py)."""

from __future__ import annotations

import pytest

from tests.e2e.strikes import (
    REMOVED_S,
    SERVED_S,
    Strike,
    delete_the_toxic,
    delete_the_toxic_unread,
    fallback_removals,
    kill_and_start,
    kill_the_engine,
    reckless,
    removals,
    stop_for,
    struck,
)
from tests.faultpoints.outages import Heard
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


@pytest.mark.matrix
def test_a_freeze_that_does_not_end_is_exit_7_with_the_path_served_until_a_restart() -> None:
    trial = struck(delete_the_toxic_unread, codes=(7,))
    assert trial.froze
    assert trial.kept, f"{trial}\n{trial.ended.err}{trial.ended.out}"
    assert "users are served by cb-standin." in " ".join(trial.ended.out.split())


@pytest.mark.matrix
def test_the_watchdog_cuts_under_the_freezing_traffic() -> None:
    trial = struck(kill_the_engine)
    assert trial.kept, f"{trial}\n{trial.ended.err}{trial.ended.out}"


@pytest.mark.matrix
@pytest.mark.parametrize("strike", [stop_for(5.0)], ids=["stopped"])
def test_the_path_survives_a_server_that_hangs(strike: Strike) -> None:
    trial = struck(strike)
    assert trial.kept, f"{trial}\n{trial.ended.err}{trial.ended.out}"


@pytest.mark.matrix
def test_a_server_that_comes_back_empty_is_exit_6_and_the_printed_command_mends_it() -> None:
    trial = struck(kill_and_start(with_config=False), codes=(6,))
    assert trial.commands_worked
    assert trial.kept, f"{trial}\n{trial.ended.err}{trial.ended.out}"


@pytest.mark.matrix  # `undo` alone does the same with every change, toxiproxy/test_undo_freeze
def test_users_are_well_at_once_after_our_own_removal() -> None:
    """While others give up on the path, softening freezes one time in fifteen or so."""
    for removed in removals(1):
        froze = removed.unanswered > 0
        assert removed.exit_code in ((0, 7) if froze else (0,)), str(removed)
        assert removed.normal_s is not None
        assert removed.normal_s < (SERVED_S if froze else REMOVED_S)
        assert not removed.lied


@pytest.mark.matrix
def test_a_service_that_gives_up_behind_a_fallback_does_not_freeze_the_server() -> None:
    for removed in fallback_removals(3):
        assert removed.kept, str(removed)


def test_a_deletion_of_a_proxy_that_was_not_seen_to_close_is_seen() -> None:
    def call(line: str, body: str = "", status: int | None = 200) -> Heard:
        return Heard(f"{line} HTTP/1.1\r\n\r\n{body}".encode(), status)

    close = '{"enabled": false}'
    fine = [call("POST /proxies/p", close), call("DELETE /proxies/p", status=204)]
    toxic = [call("POST /proxies/p", close, None), call("DELETE /proxies/p/toxics/t", status=None)]
    assert reckless(fine) == reckless(toxic) == ()
    assert reckless([*toxic, call("DELETE /proxies/q"), *fine]) == ()
    assert reckless([*toxic, call("DELETE /proxies/p", status=None)]) == ("DELETE p",)
