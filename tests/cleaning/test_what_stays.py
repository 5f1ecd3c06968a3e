"""Who is left alone, for each kind of fault, each state of its run and each way of asking."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaosbandit.cleaning.what_stays import Life, Orders, is_honoured, is_on_duty, reason_to_stay
from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.faults.names import HONOURED_S, SWEEPER, Kind, written

NOW = 1_700_000_000
RUN = "run001"


def fault(kind: Kind, expires_in_s: int) -> Fault:
    name = written(kind, RUN, NOW + expires_in_s, proxy="db" if kind is Kind.STAND_IN else "")
    on_operators = kind in (Kind.TOXIC, Kind.STAND_IN)
    return Fault(
        run=RUN,
        server="http://127.0.0.1:8474",
        name=name,
        proxy="db" if on_operators else name,
        listen="127.0.0.1:0",
        upstream="127.0.0.1:1",
        expires_epoch_s=NOW + expires_in_s,
        toxics=(Toxic("latency", {"latency": 1}, name=name),) if kind is Kind.TOXIC else (),
        owned=not on_operators,
    )


PLAIN = Orders(NOW)
EXPIRED = Orders(NOW, expired=True)
NAMED = Orders(NOW, run=RUN)
BOTH = Orders(NOW, run=RUN, expired=True)


@pytest.mark.parametrize("kind", list(Kind))
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
def test_before_its_expiry(kind: Kind, orders: Orders, life: Life, why: str | None) -> None:
    one = fault(kind, 43)
    found = reason_to_stay(one, dosed=True, life=life, lease_end_epoch_s=NOW + 43, orders=orders)
    assert found is None if why is None else found is not None and why in found


@pytest.mark.parametrize("orders", [PLAIN, EXPIRED, NAMED, BOTH])
@pytest.mark.parametrize("life", list(Life))
@pytest.mark.parametrize(
    ("kind", "expires_in_s", "dosed"),
    [
        (Kind.TOXIC, 0, True),
        (Kind.STAND_IN, -1, False),
        (Kind.PATH, -1, True),
        (Kind.LEASE, -1, False),
    ],
)
def test_past_its_expiry_a_dose_goes_whatever_lease_there_is(
    kind: Kind, expires_in_s: int, dosed: bool, life: Life, orders: Orders
) -> None:
    one = fault(kind, expires_in_s)
    lease_end = NOW + 43
    assert (
        reason_to_stay(one, dosed=dosed, life=life, lease_end_epoch_s=lease_end, orders=orders)
        is None
    )


def test_toxics_on_a_path_of_ours_go_past_their_expiry() -> None:
    one = replace(fault(Kind.TOXIC, -1), proxy=f"cb-path.{RUN}.{NOW}.1", owned=True)
    assert (
        reason_to_stay(one, dosed=True, life=Life.ALIVE, lease_end_epoch_s=NOW + 43, orders=EXPIRED)
        is None
    )


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
    found = reason_to_stay(
        fault(Kind.PATH, -1),
        dosed=False,
        life=life,
        lease_end_epoch_s=NOW + lease_in_s,
        orders=orders,
    )
    assert found is None if why is None else found is not None and why in found


@pytest.mark.parametrize("orders", [PLAIN, EXPIRED, NAMED, BOTH])
@pytest.mark.parametrize("life", list(Life))
def test_a_lease_that_claims_too_much_time_is_nobodys(life: Life, orders: Orders) -> None:
    def stays(ends_in_s: int, orders: Orders) -> bool:
        one = fault(Kind.LEASE, ends_in_s)
        why = reason_to_stay(one, dosed=False, life=life, lease_end_epoch_s=0, orders=orders)
        return why is not None

    assert not stays(HONOURED_S + 1, orders)
    assert stays(HONOURED_S, EXPIRED)
    assert stays(HONOURED_S, PLAIN) == (life is not Life.DEAD)


def test_far_ends_are_told_with_their_day() -> None:
    found = reason_to_stay(
        fault(Kind.TOXIC, 200_000),
        dosed=True,
        life=Life.ELSEWHERE,
        lease_end_epoch_s=0,
        orders=PLAIN,
    )
    assert found is not None
    assert "until 2023-11-17T05:46:40Z" in found


def test_a_sweeper_is_on_duty_until_its_lease_ends() -> None:
    sweeper = replace(fault(Kind.LEASE, 1), run=SWEEPER)
    assert is_on_duty(sweeper, NOW)
    assert not is_on_duty(sweeper, NOW + 1)
    assert not is_on_duty(sweeper, NOW - HONOURED_S)
    assert not is_on_duty(fault(Kind.LEASE, 1), NOW)
    assert not is_on_duty(replace(fault(Kind.PATH, 1), run=SWEEPER), NOW)
    assert is_honoured(fault(Kind.LEASE, 1), NOW)
    assert not is_honoured(fault(Kind.PATH, 1), NOW)
