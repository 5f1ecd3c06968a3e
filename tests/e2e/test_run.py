"""`run` on the demo's path: the answer, every way to end, and where the words go."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaosbandit.cli.demo_services import Stage
from chaosbandit.core.events import Stopped
from chaosbandit.store.journal import read
from tests.e2e.runs import (
    QUICK,
    Command,
    chaosbandit,
    journals,
    ledger_files,
    listener,
    processes_with,
    proxies,
    scenario_with,
    soon,
)

pytestmark = pytest.mark.e2e

ESCAPE = "\x1b"


@pytest.mark.parametrize("shared_stage", ["real"], indirect=True)
def test_the_answer_is_on_stdout_and_progress_on_stderr(
    shared_stage: Stage, tmp_path: Path
) -> None:
    before = proxies(shared_stage.server)
    scenario = scenario_with(tmp_path)
    ended = chaosbandit(
        tmp_path, "run", scenario, "--seed", 1, environment=shared_stage.environment
    ).told(0)
    assert ended.out.startswith("slow-inventory holds at ")
    assert "clean: verified" in ended.out
    ended_exposures = re.findall(r"(?m)^ +\d:\d\d  exposure (\d+): ", ended.err)
    assert ended_exposures == [str(n + 1) for n in range(len(ended_exposures))] != []
    assert ended.err.count("\n") == 3 + len(ended_exposures)  # the header, steady state and the end
    assert ESCAPE not in ended.out + ended.err
    assert before == proxies(shared_stage.server)
    assert ledger_files(tmp_path) == []
    assert soon(lambda: processes_with(str(tmp_path)) == [])
    (journal,) = journals(tmp_path)
    assert str(journal) in ended.out
    assert isinstance(read(journal)[-1], Stopped)


@pytest.mark.parametrize("shared_stage", ["embedded"], indirect=True)
def test_a_failed_gate_as_json(shared_stage: Stage, tmp_path: Path) -> None:
    scenario = scenario_with(tmp_path, QUICK.replace("from: 100ms", "from: 400ms"))
    scenario.write_text(scenario.read_text() + 'require: {slow-inventory: "> 900ms"}\n')
    ended = chaosbandit(
        tmp_path, "run", scenario, "--json", "--quiet", environment=shared_stage.environment
    ).told(3)
    result = json.loads(ended.out)
    assert (result["exit_code"], result["clean"], ended.err) == (3, "verified", "")
    (ladder,) = result["ladders"]
    assert ladder["gate"]["outcome"] == "failed"
    assert ladder["bracket"]["broke"] <= 0.9


@pytest.mark.parametrize(
    ("found", "wanted", "code", "said"),
    [
        ("confidence: 90%", "max_samples: 5", 5, "Raise search.max_samples"),
        ("2_000_000", "2_000", 5, "raise budget.spend"),
        ("<= 500ms", "<= 1ms", 6, "steady state not met, nothing was injected"),
    ],
)
@pytest.mark.parametrize("shared_stage", ["embedded"], indirect=True)
def test_other_ways_to_end(
    shared_stage: Stage, tmp_path: Path, found: str, wanted: str, code: int, said: str
) -> None:
    scenario = scenario_with(tmp_path, QUICK.replace(found, wanted))
    before = proxies(shared_stage.server)
    ended = chaosbandit(tmp_path, "run", scenario, environment=shared_stage.environment)
    assert said in " ".join(ended.told(code).out.split())
    assert before == proxies(shared_stage.server)
    assert ledger_files(tmp_path) == []


@pytest.mark.parametrize("shared_stage", ["embedded"], indirect=True)
def test_a_reader_who_leaves_early_does_not_change_the_exit_code(
    shared_stage: Stage, tmp_path: Path
) -> None:
    scenario = scenario_with(tmp_path, QUICK.replace("<= 500ms", "<= 1ms"))
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "chaosbandit", "run", str(scenario), "-q"],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            env={
                **os.environ,
                **shared_stage.environment,
                "XDG_STATE_HOME": str(tmp_path),
            },
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (6, "")


# --- what cannot be used --------------------------------------------------------------------------


@pytest.mark.parametrize("shared_stage", ["embedded"], indirect=True)
def test_a_toxiproxy_that_never_answers(shared_stage: Stage, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began_s = time.monotonic()
        ended = chaosbandit(
            tmp_path,
            *("run", scenario_with(tmp_path), "--toxiproxy", url),
            environment=shared_stage.environment,
        ).told(6)
    assert time.monotonic() - began_s < 10
    assert ended.out == ""
    assert f"Toxiproxy at {url} did not answer" in ended.err
    assert journals(tmp_path) == []


@pytest.mark.parametrize("shared_stage", ["embedded"], indirect=True)
def test_a_journal_that_cannot_be_written(shared_stage: Stage, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    before = proxies(shared_stage.server)
    arguments = ["run", scenario_with(tmp_path), "--journal", blocked / "runs"]
    ended = chaosbandit(tmp_path, *arguments, environment=shared_stage.environment).told(6)
    assert (ended.out, before) == ("", proxies(shared_stage.server))
    assert "Nothing is injected that cannot be recorded" in ended.err


def test_a_foreign_toxic_refuses_the_run(embedded_stage: Stage, tmp_path: Path) -> None:
    import http.client
    from urllib.parse import urlsplit

    place = urlsplit(embedded_stage.server)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=5)
    body = '{"name": "theirs", "type": "latency", "attributes": {"latency": 1}}'
    connection.request("POST", "/proxies/inventory/toxics", body)
    assert connection.getresponse().status == 200
    connection.close()
    before = proxies(embedded_stage.server)
    ended = chaosbandit(
        tmp_path, "run", scenario_with(tmp_path), environment=embedded_stage.environment
    ).told(6)
    assert "toxics that are not ours: theirs; remove them" in ended.err
    assert before == proxies(embedded_stage.server)


# --- what dies on the way -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("victim", "codes", "said"),
    [
        ("CANARY", (6, 7), "all connect-error"),
        ("CONTROL", (6,), "the control route broke"),
        ("INVENTORY", (6,), "the control route"),
    ],
)
def test_a_service_that_dies_is_no_breaking_point(
    embedded_stage: Stage, tmp_path: Path, victim: str, codes: tuple[int, ...], said: str
) -> None:
    timing = "{steady_samples: 40, warmup: 300ms, warmup_samples: 5, washout: 2s}"
    scenario = scenario_with(tmp_path, timing=timing)
    before = proxies(embedded_stage.server)
    arguments = ["run", scenario, "--json", "--seed", 1]
    with Command(tmp_path, *arguments, environment=embedded_stage.environment) as run:
        run.until_exposed(1)
        os.kill(listener(embedded_stage.environment[f"CB_DEMO_{victim}"]), signal.SIGKILL)
        ended = run.ended()
    result = json.loads(ended.told(ended.code).out)
    assert ended.code in codes
    assert result["ladders"][0]["bracket"]["broke"] is None
    assert said in ended.out
    assert before == proxies(embedded_stage.server)
    assert ledger_files(tmp_path) == []


@pytest.mark.parametrize("toxiproxy_kind", ["real"], indirect=True)
def test_a_toxiproxy_that_dies_takes_our_fault_and_the_operators_proxy_with_it(
    stage: Stage, tmp_path: Path
) -> None:
    with Command(tmp_path, "run", scenario_with(tmp_path), environment=stage.environment) as run:
        run.until_exposed(1)
        assert soon(lambda: bool(proxies(stage.server)["inventory"]["toxics"]))
        time.sleep(0.2)
        os.kill(listener(stage.server.removeprefix("http://")), signal.SIGKILL)
        ended = run.ended().told(6)
    told = " ".join(ended.out.split())
    assert f"stopped: Toxiproxy at {stage.server} is dead, and proxy inventory with it" in told
    assert "create it: curl -sS " in told
    assert "breaks at" not in told
    assert soon(lambda: not ledger_files(tmp_path), 20.0)  # of a lease it is not said so soon
    assert soon(lambda: not processes_with(str(tmp_path)))
    assert isinstance(read(journals(tmp_path)[0])[-1], Stopped)
