"""A Toxiproxy whose API is far away: refused before anything is put on it, and said by `doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from chaosbandit.cli.demo_services import Stage
from chaosbandit.toxiproxy.calls import Calls
from tests.e2e.runs import chaosbandit, ledger_files, proxies, scenario_with
from tests.servers import running_server

pytestmark = pytest.mark.e2e


@contextmanager
def tunnel(server: str, delay_s: float) -> Iterator[str]:
    """The URL of a way to this API on which every answer takes so long."""
    with running_server("embedded") as url, closing(Calls(url)) as calls:
        place = {"name": "api", "listen": "127.0.0.1:0", "upstream": server.removeprefix("http://")}
        shown = calls.call("POST", "/proxies", place).record()
        slow = {"type": "latency", "attributes": {"latency": round(1000 * delay_s)}}
        assert calls.call("POST", "/proxies/api/toxics", slow).status == 200
        yield f"http://{shown['listen']}"


@pytest.mark.parametrize(
    ("delay_s", "found"),
    [
        (0.5, "found up to 0.5"),
        (1.0, "found up to 1"),
        (2.0, "did not answer"),
    ],
)
def test_a_slow_api_is_refused_before_anything_is_injected(
    shared_stage: Stage, tmp_path: Path, delay_s: float, found: str
) -> None:
    before = proxies(shared_stage.server)
    with tunnel(shared_stage.server, delay_s) as url:
        environment = {**shared_stage.environment, "CB_DEMO_TOXIPROXY": url}
        scenario = scenario_with(tmp_path)
        ran = chaosbandit(tmp_path, "run", scenario, environment=environment).told(6)
        looked = chaosbandit(tmp_path, "doctor", scenario, environment=environment).told(6)
    assert found in ran.err
    assert "FAIL  " + ("API latency" if delay_s < 2 else "toxiproxy") in looked.out
    assert "1 check fails" in looked.out
    assert (proxies(shared_stage.server), ledger_files(tmp_path)) == (before, [])
