"""Quantities are read exactly as people write them."""

from __future__ import annotations

import pytest

from chaosbandit.scenario import quantities, severities
from chaosbandit.scenario.addresses import header_value, host_port, numbered_url, toxiproxy
from chaosbandit.scenario.quantities import Amount, WantedError
from chaosbandit.scenario.slo_conditions import condition


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("400ms", 0.4),
        ("190 ms", 0.19),
        ("2s", 2),
        ("0.5s", 0.5),
        ("1m", 60),
        ("2min", 120),
        ("1h30m", 5400),
        ("30d", 2_592_000),
        ("0s", 0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert quantities.duration(text) == seconds


@pytest.mark.parametrize(
    "value", ["", "s", "1", "1 s s", "1w", "1,5s", "-1s", "1e3s", "1m s", "١s", 5, 1.5, None, True]
)
def test_no_durations(value: object) -> None:
    with pytest.raises(WantedError, match="with its unit"):
        quantities.duration(value)


@pytest.mark.parametrize(
    ("value", "fraction"),
    [("99%", 0.99), ("99.9 %", 0.999), (0.99, 0.99), ("0.99", 0.99), ("100%", 1), (0, 0)],
)
def test_shares(value: object, fraction: float) -> None:
    assert quantities.share(value) == fraction


@pytest.mark.parametrize("value", [1, 99, "99", "1", "100.1%", -0.1, "%", True, None, float("nan")])
def test_no_shares(value: object) -> None:
    with pytest.raises(WantedError, match=r"99% or 0\.99"):
        quantities.share(value)


@pytest.mark.parametrize(
    ("text", "per_s"),
    [("50/s", 50), ("300/min", 5), ("300 / min", 5), ("7200/h", 2), ("0.5/s", 0.5)],
)
def test_rates(text: str, per_s: float) -> None:
    assert quantities.rate(text) == per_s


@pytest.mark.parametrize(
    ("value", "number"), [(12, 12), (2e6, 2_000_000), ("2_000_000", 2_000_000), ("07", 7)]
)
def test_whole_numbers(value: object, number: int) -> None:
    assert quantities.whole(value) == number


@pytest.mark.parametrize("value", [1.5, "1__0", "_1", "1_", "0x1F", "", True, None, float("inf")])
def test_no_whole_numbers(value: object) -> None:
    with pytest.raises(WantedError, match="a whole number"):
        quantities.whole(value)


def test_severities_keep_their_unit() -> None:
    assert severities.amount("2s") == Amount("s", 2)
    assert severities.amount("10%") == Amount("share", 0.1)
    assert severities.gate("> 150ms") == Amount("s", 0.15)
    assert severities.gate(">2%") == Amount("share", 0.02)


@pytest.mark.parametrize(
    ("text", "statuses", "latency_s"),
    [
        ("status in 2xx-3xx", ((200, 399),), None),
        ("status in 2xx", ((200, 299),), None),
        ("status in 200-299,404", ((200, 299), (404, 404)), None),
        ("status in 200 - 204, 3xx", ((200, 204), (300, 399)), None),
        ("latency <= 400ms", (), 0.4),
        ("status in 2xx and latency <= 1s", ((200, 299),), 1.0),
        ("latency<=1s and status in 2xx", ((200, 299),), 1.0),
    ],
)
def test_conditions(
    text: str, statuses: tuple[tuple[int, int], ...], latency_s: float | None
) -> None:
    sli = condition(text)
    assert (sli.text, sli.statuses, sli.latency_s) == (text, statuses, latency_s)


def test_addresses() -> None:
    assert host_port("[::1]:80") == "[::1]:80"
    assert host_port("stock.shop.svc:9001") == "stock.shop.svc:9001"
    assert numbered_url("https://shop/p/{n}?x={n}") == "https://shop/p/{n}?x={n}"
    assert toxiproxy("http://127.0.0.1:8474/") == "http://127.0.0.1:8474"
    assert header_value("Bearer x y") == "Bearer x y"
