"""Servers that take their time, and those that once did."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from chaosbandit.toxiproxy.calls import Calls, UnansweredError
from chaosbandit.toxiproxy.round_trip import NUMBER, SLOWEST_S, is_too_slow, measured_s
from tests.toxiproxy.misbehaving import Converse, Guest, answer, misbehaving

SLOW_S = 1.2 * SLOWEST_S


def waiting(before: Callable[[int], float]) -> Converse:
    """An answer to the n-th request of a connection after `before(n)` seconds."""

    def converse(guest: Guest) -> None:
        n = 0
        while guest.request():
            n += 1
            guest.done.wait(before(n))
            guest.send(answer(status="404 Not Found"))

    return converse


def measured(converse: Converse, within_s: float = 2.0) -> tuple[float, ...]:
    with misbehaving(converse) as server, contextlib.closing(Calls(server.url)) as calls:
        return measured_s(calls, within_s)


def test_a_quick_server(toxiproxy_url: str) -> None:
    with contextlib.closing(Calls(toxiproxy_url)) as calls:
        found = measured_s(calls)
        assert (len(found), is_too_slow(found)) == (NUMBER, False)


@pytest.mark.parametrize("slow", [(1,), (NUMBER,), (2, 5)])
def test_a_hiccup_is_no_slow_server(slow: tuple[int, ...]) -> None:
    found = measured(waiting(lambda n: SLOW_S if n in slow else 0.0))
    assert (len(found), is_too_slow(found)) == (NUMBER, False)


@pytest.mark.parametrize("every", [1, 2, NUMBER])
def test_the_worst_call_counts(every: int) -> None:
    found = measured(waiting(lambda n: 0.0 if n % every else SLOW_S))
    assert (len(found), is_too_slow(found)) == (every, True)
    assert SLOW_S <= max(found) < 2 * SLOW_S


def test_no_answer_is_none() -> None:
    with pytest.raises(UnansweredError):
        measured(Guest.hang, within_s=0.2)
