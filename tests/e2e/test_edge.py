"""`edge` from end to end: our own proxies before a real service, which are gone afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from chaosbandit.cli.demo_services import demo_folder
from tests.e2e.runs import (
    chaosbandit,
    ledger_files,
    processes_with,
    proxies,
    scenario_with,
    service,
    soon,
)

pytestmark = pytest.mark.e2e

EDGE = """\
version: 1
name: edge
toxiproxy: http://127.0.0.1:1
topology: edge
proxies:
  shop: {upstream: "${SHOP}"}
traffic:
  url: http://${SHOP}/stock/{n}
  rate: 100/s
  timeout: 1s
  connections: %s
slos:
  - %s
budget: {window: 30d, requests: 2_000_000, spend: 5%%}
ladders:
  - %s
search: {confidence: 90%%, resolution: 100%%, hold: 0s, max_duration: 8s}
timing: {steady_samples: 40, warmup: 100ms, warmup_samples: 5, washout: 6s}
"""
LATENCY = EDGE % (
    "keep-alive",
    "{name: latency, good: latency <= 135ms, objective: 90%}",
    "{name: slow, proxy: shop, toxic: latency, from: 20ms, to: 1s}",
)
ERRORS = EDGE % (
    "per-request",
    "{name: availability, good: status in 2xx, objective: 70%}",
    "{name: broken, proxy: shop, toxic: errors, from: 5%, to: 90%}",
)


@pytest.fixture
def shop() -> Iterator[str]:
    with service(demo_folder() / "inventory.py") as url:
        yield urlsplit(url).netloc


def test_latency(toxiproxy_url: str, shop: str, tmp_path: Path) -> None:
    arguments = ["run", scenario_with(tmp_path, LATENCY), "--json", "--toxiproxy", toxiproxy_url]
    result = json.loads(chaosbandit(tmp_path, *arguments, environment={"SHOP": shop}).told(0).out)
    (ladder,) = result["ladders"]
    own_s = 0.03  # of the service itself, at most, which the SLO counts as well
    assert ladder["bracket"]["held"] < 0.135 < ladder["bracket"]["broke"] + own_s
    assert ladder["dose_held"]["felt"] == pytest.approx(ladder["bracket"]["held"], abs=0.02)
    assert result["clean"] == "verified"
    _nothing_is_left(toxiproxy_url, tmp_path)


def test_errors(toxiproxy_url: str, shop: str, tmp_path: Path) -> None:
    arguments = ["run", scenario_with(tmp_path, ERRORS), "--json", "--toxiproxy", toxiproxy_url]
    ended = chaosbandit(tmp_path, *arguments, environment={"SHOP": shop})
    result = json.loads(ended.told(ended.code).out)
    assert ended.code in (0, 5)  # it may run out of its eight seconds first
    assert all(exposure["valid"] for exposure in result["exposures"])
    most = max(result["exposures"], key=lambda exposure: exposure["severity"])
    assert most["severity"] > 0.2  # well on the way to 0.3, where it breaks, before time is over
    assert 0 < sum(most["bad"].values()) <= most["samples"]
    assert result["clean"] == "verified"
    _nothing_is_left(toxiproxy_url, tmp_path)


def _nothing_is_left(server: str, folder: Path) -> None:
    assert proxies(server) == {}
    assert ledger_files(folder) == []
    assert soon(lambda: processes_with(str(folder)) == [])
