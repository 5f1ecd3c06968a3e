"""The instrument does not disturb: real databases behind pools that trust their connections."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.gentle import PROXY, by_runs, measured
from benchmarks.pooled_app import running_app
from chaosbandit.toxiproxy.calls import Calls
from tests.operator_path import free_port
from tests.real_parts import PARTS, needs
from tests.servers import Kind, running_server

pytestmark = pytest.mark.e2e

LIMIT_MS = 120
SCENARIO = """\
version: 1
name: stale-pool
toxiproxy: {api}
topology: canary
proxies:
  {proxy}: {{upstream: "{upstream}", listen: "{listen}"}}
traffic:
  url: {canary}/item/{{n}}
  control_url: {control}/item/{{n}}
  rate: 50/s
  timeout: 1s
slos:
  - {{name: availability, good: status in 2xx, objective: 95%}}
budget: {{window: 30d, requests: 2_000_000, spend: 5%}}
ladders:
  - {{name: slow-database, proxy: {proxy}, toxic: latency, from: 10ms, to: 1s}}
search: {{resolution: 50%, hold: 3s, max_duration: 2m}}
timing: {{warmup: 200ms, warmup_samples: 5, steady_samples: 80}}
"""


def test_no_request_fails_because_of_us_behind_a_pool_of_postgresql() -> None:
    needs("postgresql")
    tally = measured("postgresql", by_runs, times=1, exposures=5)
    assert tally.exposures >= 5
    assert (tally.failed.total(), tally.cut) == (0, 0)


def test_a_pool_of_26_breaks_where_its_application_gives_up_and_not_before(
    toxiproxy_kind: Kind, tmp_path: Path
) -> None:
    """Replacing the proxy cut all of them, each met by a request: certified to break at 10 ms."""
    needs("redis")
    pool = ("--pool", "26", "--dependency-timeout", f"{LIMIT_MS / 1000}")
    with running_server(toxiproxy_kind) as api, PARTS["redis"].start() as part:
        listen = f"127.0.0.1:{free_port()}"
        proxy = {"name": PROXY, "listen": listen, "upstream": part.address}
        with closing(Calls(api)) as calls:
            assert calls.call("POST", "/proxies", proxy).status == 201
        with (
            running_app("redis", part.address, *pool) as control,
            running_app("redis", listen, *pool) as canary,
        ):
            scenario = tmp_path / "scenario.yaml"
            scenario.write_text(
                SCENARIO.format(
                    api=api, proxy=PROXY, upstream=part.address, listen=listen,
                    canary=canary, control=control,
                )
            )  # fmt: skip
            run = [sys.executable, "-m", "chaosbandit", "run", str(scenario)]
            done = subprocess.run(
                [*run, "--json", "--seed", "1"],
                env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
                capture_output=True,
                text=True,
                timeout=170,
            )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    bracket = result["ladders"][0]["bracket"]
    assert bracket["held"] < LIMIT_MS / 1000 <= bracket["broke"]
    assert result["connections_cut"] == 0
