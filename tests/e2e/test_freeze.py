"""The kill switch on real runs: a file or a URL ends them, and the fault goes at once."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaosbandit.cli.demo_services import Stage
from chaosbandit.core.events import Stopped
from chaosbandit.store.journal import read
from tests.e2e.runs import Command, journals, ledger_files, proxies, scenario_with, soon


def frozen(folder: Path) -> Path:
    """The user's own freeze file."""
    path = folder / "chaosbandit" / "freeze"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("incident in progress\n")
    return path


@contextmanager
def freeze_server() -> Iterator[tuple[str, threading.Event]]:
    """A URL that says freeze once the event is set."""
    pulled = threading.Event()

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if pulled.is_set() else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/freeze", pulled
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_frozen_machine_is_left_alone(embedded_stage: Stage, tmp_path: Path) -> None:
    path = frozen(tmp_path)
    before = proxies(embedded_stage.server)
    with Command(
        tmp_path, "run", scenario_with(tmp_path), environment=embedded_stage.environment
    ) as run:
        text = " ".join(run.ended().told(5).out.split())
    assert f"kill switch: {path} says freeze: incident in progress" in text
    assert "was not tested: nothing was injected" in text
    assert before == proxies(embedded_stage.server)


def test_a_freeze_file_removes_a_standing_fault_at_once(
    shared_stage: Stage, tmp_path: Path
) -> None:
    before = proxies(shared_stage.server)
    scenario = scenario_with(tmp_path)
    with Command(
        tmp_path, "run", scenario, "--seed", 1, environment=shared_stage.environment
    ) as run:
        run.until_exposed(2)
        assert soon(lambda: before != _operators(shared_stage))
        frozen(tmp_path)
        pulled_s = time.monotonic()
        assert soon(lambda: before == _operators(shared_stage))
        assert time.monotonic() - pulled_s < 4.0
        text = " ".join(run.ended().told(5).out.split())
    assert "kill switch:" in text
    assert "clean: verified" in text
    assert before == proxies(shared_stage.server)
    assert not ledger_files(tmp_path)
    (journal,) = journals(tmp_path)
    last = read(journal)[-1]
    assert isinstance(last, Stopped)
    assert (last.exit_code, last.clean) == (5, True)


def test_a_freeze_url_ends_a_run(embedded_stage: Stage, tmp_path: Path) -> None:
    with freeze_server() as (url, pulled):
        text = scenario_with(tmp_path).read_text()
        changed = text.replace("{max_exposure: 20s}", f"{{max_exposure: 20s, freeze: ['{url}']}}")
        assert changed != text
        scenario = scenario_with(tmp_path, changed)
        with Command(tmp_path, "run", scenario, environment=embedded_stage.environment) as run:
            run.until_exposed(1)
            pulled.set()
            told = " ".join(run.ended().told(5).out.split())
    assert f"kill switch: {url} says freeze" in told


def _operators(stage: Stage) -> dict[str, object]:
    """The proxies at the server without leases, which hurt nobody."""
    found = proxies(stage.server)
    return {name: proxy for name, proxy in found.items() if not name.startswith("cb-lease.")}
