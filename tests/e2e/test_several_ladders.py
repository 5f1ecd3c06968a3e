"""Two dependencies of one service in one run: both answers, one budget, nothing left of either."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from chaosbandit.cli.child_processes import child
from chaosbandit.cli.demo_services import demo_folder
from chaosbandit.core.certified_claims import bracket
from chaosbandit.core.climb import climbs
from chaosbandit.core.events import RunStarted
from chaosbandit.core.policies import policy
from chaosbandit.core.replay import replay
from chaosbandit.scenario import parse
from chaosbandit.store.journal import read
from tests.e2e.runs import (
    chaosbandit,
    journals,
    ledger_files,
    processes_with,
    proxies,
    scenario_with,
    service,
    soon,
)
from tests.faultpoints.worlds import call

pytestmark = pytest.mark.e2e

WAITS_MS = {"inventory": 300, "prices": 90}  # the page gives up on a dependency after this
SCENARIO = """\
version: 1
name: two-dependencies
toxiproxy: ${CB_TOXIPROXY}
topology: canary
proxies:
  inventory: {upstream: "${CB_INVENTORY}", listen: "${CB_LISTEN_INVENTORY}",
              check: "http://${CB_LISTEN_INVENTORY}/stock/1"}
  prices: {upstream: "${CB_PRICES}", listen: "${CB_LISTEN_PRICES}",
           check: "http://${CB_LISTEN_PRICES}/stock/1"}
traffic:
  url: http://${CB_CANARY}/product/{n}
  control_url: http://${CB_CONTROL}/product/{n}
  rate: 100/s
  timeout: 2s
slos:
  - {name: availability, good: status in 2xx-3xx, objective: 90%}
budget: {window: 30d, requests: 100_000, spend: 5%}
ladders:
  - {name: slow-inventory, proxy: inventory, toxic: latency, from: 50ms, to: 1s}
  - {name: slow-prices, proxy: prices, toxic: latency, from: 20ms, to: 500ms}
search: {confidence: 90%, resolution: 60%, hold: 1s}
guardrails: {max_exposure: 20s}
timing: {steady_samples: 40, warmup: 300ms, warmup_samples: 5, washout: 6s}
require: {slow-inventory: "> 100ms"}
"""


@pytest.fixture
def environment(toxiproxy_url: str) -> Iterator[dict[str, str]]:
    """Two dependencies, the operator's proxies before them, and a page that needs both."""
    with ExitStack() as stack:
        found = {"CB_TOXIPROXY": toxiproxy_url}
        for name in WAITS_MS:
            url = stack.enter_context(service(demo_folder() / "inventory.py"))
            upstream = urlsplit(url).netloc
            body = {"name": name, "listen": "127.0.0.1:0", "upstream": upstream}
            assert call(toxiproxy_url, "POST", "/proxies", body) == 201
            found[f"CB_{name.upper()}"] = upstream
            found[f"CB_LISTEN_{name.upper()}"] = proxies(toxiproxy_url)[name]["listen"]
        found["CB_CONTROL"] = stack.enter_context(_page(found, "CB_"))
        found["CB_CANARY"] = stack.enter_context(_page(found, "CB_LISTEN_"))
        yield found


@contextmanager
def _page(found: Mapping[str, str], prefix: str) -> Iterator[str]:
    needs = [f"--needs={found[prefix + name.upper()]}={ms}" for name, ms in WAITS_MS.items()]
    script = str(Path(__file__).with_name("page_of_dependencies.py"))
    with child([sys.executable, script, *needs], "the page") as url:
        yield urlsplit(url).netloc


def test_both_dependencies_are_bracketed_in_one_run(
    environment: dict[str, str], tmp_path: Path
) -> None:
    server = environment["CB_TOXIPROXY"]
    before = proxies(server)
    scenario = scenario_with(tmp_path, SCENARIO)
    ended = chaosbandit(tmp_path, "run", scenario, "--json", "--seed", 1, environment=environment)
    result = json.loads(ended.told(0).out)
    assert [ladder["ladder"] for ladder in result["ladders"]] == ["slow-inventory", "slow-prices"]
    for ladder in result["ladders"]:
        wait_s = WAITS_MS[ladder["proxy"]] / 1000
        held, broke = ladder["bracket"]["held"], ladder["bracket"]["broke"]
        # The page's own work takes a few ms of the wait, on a busy machine some more.
        assert held < wait_s, ladder["answer"]
        assert broke > 0.75 * wait_s, ladder["answer"]
        assert ladder["bracket"]["closed"]
        assert ladder["dose_broke"]["delivered"] == pytest.approx(broke, abs=0.05)
    gates = [ladder["gate"] for ladder in result["ladders"]]
    assert [gate and gate["outcome"] for gate in gates] == ["passed", None]
    (budget,) = result["budgets"]
    assert 0 < budget["spent"] <= budget["allowed"]
    named = re.findall(r"exposure \d+: (slow-\w+) \d+ ms, ", ended.err)
    assert named == [exposure["ladder"] for exposure in result["exposures"]]
    assert set(named) == {"slow-inventory", "slow-prices"}
    assert result["clean"] == "verified"
    assert before == proxies(server)
    assert ledger_files(tmp_path) == []
    assert soon(lambda: processes_with(str(tmp_path)) == [])
    _assert_replays(tmp_path, environment, result["ladders"])


def _assert_replays(folder: Path, environment: dict[str, str], ladders: list[Any]) -> None:
    """The journal alone gives every decision again, and both brackets."""
    (journal,) = journals(folder)
    events = read(journal)
    header = events[0]
    assert isinstance(header, RunStarted)
    asked = parse(header.source, "journal", environment).scenario
    again = replay(events, asked, policy(asked.search.policy))
    assert again.difference is None
    for climb, ladder in zip(climbs(again.campaign), ladders, strict=True):
        found = bracket(climb)
        assert (found.held, found.broke) == (ladder["bracket"]["held"], ladder["bracket"]["broke"])
