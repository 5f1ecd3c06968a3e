from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosbandit.core.model import Route
from chaosbandit.engine.sample_order import Mix, SendOrder
from tests.simulated import sample

routes = st.sampled_from(list(Route))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({Route.CANARY: 1.0}, {Route.CANARY: 1200}),
        ({Route.CANARY: 1.0, Route.CONTROL: 1.0}, {Route.CANARY: 600, Route.CONTROL: 600}),
        ({Route.CANARY: 1.0, Route.CONTROL: 0.2}, {Route.CANARY: 1000, Route.CONTROL: 200}),
        (
            {Route.CANARY: 1.0, Route.CONTROL: 0.16, Route.CHECK: 0.04},
            {Route.CANARY: 1000, Route.CONTROL: 160, Route.CHECK: 40},
        ),
        ({Route.CANARY: 1.0, Route.CONTROL: 0.0}, {Route.CANARY: 1200}),
    ],
)
def test_shares_are_exact(weights: dict[Route, float], expected: dict[Route, int]) -> None:
    mix = Mix(weights)
    assert Counter(mix.next() for _ in range(1200)) == expected


@given(st.dictionaries(routes, st.floats(0.01, 5.0), min_size=1), st.integers(1, 300))
def test_no_route_is_ever_far_from_its_share(weights: dict[Route, float], slots: int) -> None:
    mix, total = Mix(weights), sum(weights.values())
    seen: Counter[Route] = Counter()
    for slot in range(1, slots + 1):
        seen[mix.next()] += 1
        for route, weight in weights.items():
            assert abs(seen[route] - slot * weight / total) < len(Route) - 1


@given(st.lists(routes, min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_samples_leave_in_order_of_sending_whatever_order_they_finish_in(
    sent: list[Route], chance: object
) -> None:
    order: SendOrder[str] = SendOrder()
    for seq, route in enumerate(sent):
        order.sent(seq, route, f"ticket {seq}")
    finishing = list(enumerate(sent))
    chance.shuffle(finishing)  # type: ignore[attr-defined]  # hypothesis' own random.Random
    done: set[int] = set()
    left: dict[Route, list[int]] = {route: [] for route in Route}
    for seq, route in finishing:
        done.add(seq)
        for ticket, released in order.done(sample(seq, route=route)):
            assert ticket == f"ticket {released.seq}"
            left[released.route].append(released.seq)
        for each in Route:
            mine = [seq for seq, its in enumerate(sent) if its is each]
            ready = next((n for n, seq in enumerate(mine) if seq not in done), len(mine))
            assert left[each] == mine[:ready]  # as many as possible, never one too early
            assert order.unresolved(each) == len(mine) - ready
    assert order.rest() == []


def test_a_cut_stream_lets_go_of_what_is_finished_and_keeps_what_is_not() -> None:
    order: SendOrder[str] = SendOrder()
    for seq in range(5):
        order.sent(seq, Route.CANARY, str(seq))
    order.sent(5, Route.CONTROL, "5")
    for seq in (4, 2, 0):
        order.done(sample(seq))
    assert order.unresolved(Route.CANARY) == 4
    assert [(ticket, held.seq) for ticket, held in order.rest()] == [("2", 2), ("4", 4)]
    assert order.unresolved(Route.CANARY) == 2  # 1 and 3 have no outcome
    assert order.unresolved(Route.CONTROL) == 1
    assert order.rest() == []
