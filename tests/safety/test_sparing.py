"""Who is left alone, for each kind of proxy, each state of its run and each way of asking."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaosbandit.core.model import Fault
from chaosbandit.core.names import SWEEPER, fault_name, lease_name
from chaosbandit.safety.sparing import Life, Orders, is_on_duty, spared

NOW = 1_700_000_000
RUN = "run001"


def fault(name: str, expires_in_s: int, restores: str | None = None) -> Fault:
    return Fault(
        run=RUN,
        server="http://127.0.0.1:8474",
        name=name,
        listen="127.0.0.1:0",
        upstream="127.0.0.1:1",
        restores=restores,
        expires_epoch_s=NOW + expires_in_s,
        toxics=(),
    )


def stand_in(expires_in_s: int) -> Fault:
    return fault(fault_name(RUN, NOW + expires_in_s, 1, "db"), expires_in_s, "db")


def edge(expires_in_s: int) -> Fault:
    return fault(fault_name(RUN, NOW + expires_in_s, 1, "db", stands_in=False), expires_in_s)


def lease(expires_in_s: int) -> Fault:
    return fault(lease_name(RUN, NOW + expires_in_s), expires_in_s)


PLAIN = Orders(NOW)
EXPIRED = Orders(NOW, expired=True)
NAMED = Orders(NOW, run=RUN)
BOTH = Orders(NOW, run=RUN, expired=True)


@pytest.mark.parametrize("one", [stand_in(43), edge(43), lease(43)])
@pytest.mark.parametrize(
    ("orders", "life", "why"),
    [
        (PLAIN, Life.ALIVE, "run run001 is alive"),
        (PLAIN, Life.DEAD, None),
        (PLAIN, Life.ELSEWHERE, "may be alive on another host until 22:14:03Z (in 43 s)"),
        (NAMED, Life.ALIVE, None),
        (NAMED, Life.ELSEWHERE, None),
        (EXPIRED, Life.ALIVE, "until 22:14:03Z (in 43 s), and only expired"),
        (EXPIRED, Life.DEAD, "only expired faults were asked for"),
        (BOTH, Life.DEAD, "only expired faults were asked for"),
    ],
)
def test_before_its_expiry(one: Fault, orders: Orders, life: Life, why: str | None) -> None:
    found = spared(one, dosed=True, life=life, lease_end_epoch_s=NOW + 43, orders=orders)
    assert found is None if why is None else found is not None and why in found


@pytest.mark.parametrize("orders", [PLAIN, EXPIRED, NAMED, BOTH])
@pytest.mark.parametrize("life", list(Life))
@pytest.mark.parametrize(
    ("one", "dosed"),
    [(stand_in(0), True), (stand_in(-1), False), (edge(-1), True), (lease(-1), False)],
)
def test_past_its_expiry_a_dose_goes_whatever_lease_there_is(
    one: Fault, dosed: bool, life: Life, orders: Orders
) -> None:
    found = spared(one, dosed=dosed, life=life, lease_end_epoch_s=NOW + 43, orders=orders)
    assert found is None


@pytest.mark.parametrize(
    ("orders", "life", "lease_in_s", "why"),
    [
        (PLAIN, Life.ELSEWHERE, 43, "run001 holds a lease on this server until 22:14:03Z"),
        (EXPIRED, Life.ELSEWHERE, 43, "holds a lease"),
        (BOTH, Life.ELSEWHERE, 43, "holds a lease"),
        (EXPIRED, Life.ELSEWHERE, 0, None),
        (EXPIRED, Life.ALIVE, -5, "run run001 is alive"),
        (EXPIRED, Life.DEAD, 43, None),
        (NAMED, Life.ALIVE, 43, None),
    ],
)
def test_past_its_expiry_a_path_without_a_dose_lives_as_long_as_its_run(
    orders: Orders, life: Life, lease_in_s: int, why: str | None
) -> None:
    found = spared(
        edge(-1), dosed=False, life=life, lease_end_epoch_s=NOW + lease_in_s, orders=orders
    )
    assert found is None if why is None else found is not None and why in found


def test_far_ends_are_told_with_their_day() -> None:
    found = spared(
        stand_in(200_000), dosed=True, life=Life.ELSEWHERE, lease_end_epoch_s=0, orders=PLAIN
    )
    assert found is not None
    assert "until 2023-11-17T05:46:40Z" in found


def test_a_sweeper_is_on_duty_until_its_lease_ends() -> None:
    name = lease_name(SWEEPER, NOW + 1)
    sweeper = replace(fault(name, 1), run=SWEEPER)
    assert is_on_duty(sweeper, NOW)
    assert not is_on_duty(sweeper, NOW + 1)
    assert not is_on_duty(lease(1), NOW)
    assert not is_on_duty(replace(edge(1), run=SWEEPER), NOW)
