"""What counts as another machine, and that it is refused before anything is connected to."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from chaosbandit.cli.targets import refuse_unmeant, server_named, touched
from chaosbandit.errors import UsageError
from chaosbandit.scenario import load
from tests.e2e.runs import QUICK, chaosbandit, scenario_with

FAR = "192.0.2.1"  # of a network that is never used, RFC 5737
DEMO = {
    "CB_DEMO_TOXIPROXY": "http://127.0.0.1:8474",
    "CB_DEMO_INVENTORY": "127.0.0.1:9001",
    "CB_DEMO_LISTEN": "127.0.0.1:9101",
    "CB_DEMO_CANARY": "127.0.0.1:9200",
    "CB_DEMO_CONTROL": "127.0.0.1:9100",
}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_this_machine_needs_no_yes(host: str) -> None:
    refuse_unmeant([host], yes=False)


@pytest.mark.parametrize("host", [FAR, "2001:db8::1", "10.0.0.1", "0.0.0.0"])
def test_others_need_it(host: str) -> None:
    with pytest.raises(UsageError, match=f"found {host}, which is not on this machine"):
        refuse_unmeant([host], yes=False)
    refuse_unmeant([host], yes=True)


def test_a_name_without_an_address_is_left_to_those_who_ask_for_it() -> None:
    refuse_unmeant(["no-such-host.invalid"], yes=False)


@pytest.mark.parametrize(
    "variable", ["CB_DEMO_TOXIPROXY", "CB_DEMO_CANARY", "CB_DEMO_CONTROL", "CB_DEMO_LISTEN"]
)
def test_every_host_that_gets_requests_or_faults_counts(variable: str, tmp_path: Path) -> None:
    there = f"http://{FAR}:80" if variable == "CB_DEMO_TOXIPROXY" else f"{FAR}:80"
    scenario = load(scenario_with(tmp_path), {**DEMO, variable: there}).scenario
    assert FAR in touched(scenario, scenario.toxiproxy)


def test_in_edge_the_upstream_counts(tmp_path: Path) -> None:
    text = QUICK.replace("topology: canary", "topology: edge")
    scenario = load(
        scenario_with(tmp_path, text), {**DEMO, "CB_DEMO_INVENTORY": f"{FAR}:80"}
    ).scenario
    assert FAR in touched(scenario, "embedded")


def test_the_embedded_server_is_here() -> None:
    assert server_named("embedded") == "embedded"
    assert server_named(None) is None
    assert server_named("http://127.0.0.1:8474/") == "http://127.0.0.1:8474"


@pytest.mark.parametrize(
    "option",
    ["garbage", "https://127.0.0.1:1", "http://", "http://h:99999", "http://[::1:8", "http://h/x"],
)
def test_other_texts_are_no_servers(option: str) -> None:
    with pytest.raises(UsageError, match=r"found --toxiproxy .*, wanted http://host:port"):
        server_named(option)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--toxiproxy", f"http://{FAR}:8474"],
        ["demo", "--toxiproxy", f"http://{FAR}:8474"],
    ],
)
def test_refusals_come_at_once(arguments: list[str], tmp_path: Path) -> None:
    if arguments[0] == "run":
        arguments = [*arguments, str(scenario_with(tmp_path))]
    with socket.create_server(("127.0.0.1", 0)) as canary:
        host, port = canary.getsockname()
        environment = {**DEMO, "CB_DEMO_CANARY": f"{host}:{port}"}
        ended = chaosbandit(tmp_path, *arguments, environment=environment).told(2)
        canary.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            canary.accept()  # nobody has knocked
    assert f"found {FAR}, which is not on this machine" in ended.err
    assert ended.out == ""
