"""The steps of undoing, as data."""

from __future__ import annotations

from chaosbandit.faults import undo_steps
from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.faults.undo_steps import Call, Step, Wait

LATENCY = Toxic("latency", {"latency": 1500, "jitter": 500}, name="cb.run001.5.1")
BANDWIDTH = Toxic("bandwidth", {"rate": 5}, name="cb.run001.5.2")
PROXY = "shop/db é"
AT = "/proxies/shop%2Fdb%20%C3%A9"
OURS = "/proxies/cb-standin.run001.5.shop~2fdb~20~c3~a9"
CLOSED = {"listen": "127.0.0.1:1", "upstream": "127.0.0.1:2", "enabled": False}


def fault(*toxics: Toxic) -> Fault:
    return Fault(
        run="run001",
        server="http://127.0.0.1:8474",
        name="cb.run001.5.1",
        proxy=PROXY,
        listen="127.0.0.1:1",
        upstream="127.0.0.1:2",
        expires_epoch_s=5,
        toxics=toxics,
    )


def shown(plan: tuple[Step, ...]) -> list[object]:
    """Each call as (method, path, body), each wait as its time."""
    return [
        round(step.duration_s, 3)
        if isinstance(step, Wait)
        else (step.method, step.path, step.body and dict(step.body))
        for step in plan
    ]


def test_quiet_softens_lets_go_and_deletes() -> None:
    assert shown(undo_steps.quiet(fault(LATENCY, BANDWIDTH))) == [
        ("POST", f"{AT}/toxics/cb.run001.5.1", {"attributes": {"latency": 0, "jitter": 0}}),
        0.2,
        ("DELETE", f"{AT}/toxics/cb.run001.5.1", None),
        ("DELETE", f"{AT}/toxics/cb.run001.5.2", None),
    ]


def test_what_cannot_be_softened_is_not_waited_for() -> None:
    assert shown(undo_steps.quiet(fault(BANDWIDTH))) == [
        ("DELETE", f"{AT}/toxics/cb.run001.5.2", None)
    ]


def test_cut_keeps_its_mark_until_the_proxy_is_open() -> None:
    plan = fault(LATENCY)
    mark = {"name": OURS.rpartition("/")[2], **CLOSED}
    assert shown(
        (*undo_steps.close_and_stand_in(plan), *undo_steps.empty(plan), *undo_steps.swap_back(plan))
    ) == [
        ("POST", "/proxies", mark),
        ("POST", AT, {"enabled": False}),
        ("POST", OURS, {"enabled": True}),
        2.2,
        ("DELETE", f"{AT}/toxics/cb.run001.5.1", None),
        ("POST", OURS, {"enabled": False}),
        ("POST", AT, {"enabled": True}),
        ("DELETE", OURS, None),
    ]


def test_only_the_close_goes_ahead_and_only_openings_are_tried_again() -> None:
    plan = fault(LATENCY)
    calls = [*undo_steps.close_and_stand_in(plan), *undo_steps.swap_back(plan)]
    assert [call.ahead for call in calls] == [False, True, False, False, False, False]
    opening = [call.body == {"enabled": True} for call in calls]
    assert [call.again_s > 0 for call in calls] == opening


def test_a_longer_wait_for_what_is_shown_to_hold_more() -> None:
    (wait, *_) = undo_steps.empty(fault(LATENCY), [Toxic("latency", {"latency": 4000})])
    assert isinstance(wait, Wait)
    assert wait.duration_s == 4.2


def test_replaced_and_dropped() -> None:
    assert shown(undo_steps.replace(fault())) == [
        ("DELETE", AT, None),
        ("POST", "/proxies", {"name": PROXY, **CLOSED}),
    ]
    assert shown(undo_steps.drop(fault())) == [
        ("POST", AT, {"enabled": False}),
        ("DELETE", AT, None),
    ]


def test_no_call_is_waited_for_longer_than_half_a_second() -> None:
    plan = fault(LATENCY, BANDWIDTH)
    every = [
        *undo_steps.quiet(plan),
        *undo_steps.close_and_stand_in(plan),
        *undo_steps.empty(plan),
        *undo_steps.replace(plan),
        *undo_steps.swap_back(plan),
        *undo_steps.drop(plan),
    ]
    assert all(step.within_s <= 0.5 for step in every if isinstance(step, Call))
