"""Whole runs above 200/s, whose requests other processes send: finished, killed, interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.runs import Command, journals, ledger_files, processes_with, proxies, soon
from tests.real_parts import needs, nginx
from tests.servers import running_server
from tests.traffic.test_multiprocess_prober import is_gone, senders

pytestmark = pytest.mark.e2e

# 5 % of the latency bound is how late a request may leave: a busy machine must not fail this.
FAST = """\
version: 1
name: fast
toxiproxy: {toxiproxy}
topology: edge
proxies: {{shop: {{upstream: "{address}"}}}}
traffic:
  url: http://{address}/
  rate: 300/s
  timeout: 4s
  headers: {{Cookie: "id=${{SECRET}}"}}
slos:
  - {{name: availability, good: status in 2xx-3xx, objective: 90%}}
  - {{name: latency, good: latency <= 2s, objective: 90%}}
budget: {{window: 30d, requests: 2_000_000, spend: 5%}}
ladders: [{{name: slow, proxy: shop, toxic: latency, from: 20ms, to: 200ms}}]
search: {{confidence: 90%, resolution: 100%, hold: {hold}}}
"""


@contextmanager
def started(folder: Path, hold: str) -> Iterator[tuple[Command, str]]:
    """A run against a real nginx, and the Toxiproxy it uses."""
    needs("nginx")
    with nginx() as shop, running_server("embedded") as toxiproxy:
        file = folder / "fast.yaml"
        file.write_text(FAST.format(toxiproxy=toxiproxy, address=shop.address, hold=hold))
        secret = {"SECRET": "s3cret-value"}
        with Command(folder / "state", "run", file, "--seed", 1, environment=secret) as command:
            yield command, toxiproxy


def test_a_fast_run_is_valid(tmp_path: Path) -> None:
    with started(tmp_path, "1s") as (command, toxiproxy):
        ended = command.ended().told(0)
        assert "slow holds at 200 ms" in ended.out
        assert "void" not in ended.out
        assert proxies(toxiproxy) == {}
    assert "s3cret" not in ended.out + ended.err + journals(tmp_path / "state")[0].read_text()


def test_a_prober_process_that_is_killed_ends_the_run_as_harness_trouble(tmp_path: Path) -> None:
    with started(tmp_path, "20s") as (command, toxiproxy):
        command.until_exposed(1)
        (prober,) = senders(command.process.pid)
        os.kill(prober, signal.SIGKILL)
        ended = command.ended().told(6)
        assert f"the prober's own process {prober} ended by SIGKILL" in ended.err + ended.out
        assert proxies(toxiproxy) == {}
        assert ledger_files(tmp_path / "state") == []
        assert processes_with(str(tmp_path / "state")) == []


def test_an_engine_that_is_killed_leaves_no_prober_process(tmp_path: Path) -> None:
    with started(tmp_path, "20s") as (command, toxiproxy):
        command.until_exposed(1)
        (prober,) = senders(command.process.pid)
        command.send(signal.SIGKILL)
        assert is_gone(prober)
        command.process.wait()
        state = {**os.environ, "XDG_STATE_HOME": str(command.state)}
        clean = [sys.executable, "-m", "chaosbandit", "clean", "--toxiproxy", toxiproxy]
        assert soon(lambda: "cb" not in str(proxies(toxiproxy).get("shop", "")), 10.0)
        subprocess.run(clean, env=state, check=False, capture_output=True, timeout=60)
        assert soon(lambda: proxies(toxiproxy) == {}, 10.0)


def test_ctrl_c_at_the_terminal_reaches_the_run_and_not_the_prober(tmp_path: Path) -> None:
    with started(tmp_path, "20s") as (command, toxiproxy):
        command.until_exposed(1)
        os.killpg(command.process.pid, signal.SIGINT)
        ended = command.ended().told(130)
        assert "requests through the path are back in the control band" in ended.out or (
            "clean: verified" in ended.out
        )
        assert proxies(toxiproxy) == {}
