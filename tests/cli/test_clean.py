"""`clean` as a command; what it does to faults is tested in tests/cleaning."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from pathlib import Path

import pytest

from chaosbandit.faults.names import Kind, written
from tests.e2e.runs import chaosbandit, proxies
from tests.servers import running_server


def test_nothing_to_do(tmp_path: Path) -> None:
    ended = chaosbandit(tmp_path, "clean").told(0)
    assert (ended.out, ended.err) == ("nothing of ours was found in the ledger\n", "")


def test_a_leftover_is_undone_and_others_are_not_touched(tmp_path: Path) -> None:
    ours = written(Kind.PATH, "abcdefgh", int(time.time()) - 5, n=1)
    with running_server("embedded") as url:
        for name in (ours, "theirs"):
            _create(url, name)
        arguments = ["clean", "--toxiproxy", url]
        dry = chaosbandit(tmp_path, *arguments, "--dry-run").told(7)
        assert f"would be undone: {ours} at {url}; by:" in dry.out
        assert f"curl -sS -m 40 {url}/proxies/{ours} -X DELETE" in dry.out
        report = json.loads(chaosbandit(tmp_path, *arguments, "--dry-run", "--json").told(7).out)
        assert (report["exit_code"], report["confirmed"], report["dry_run"]) == (7, False, True)
        assert [one["name"] for one in report["would_undo"]] == [ours]
        assert set(proxies(url)) == {ours, "theirs"}
        assert f"undone: {ours} at {url}" in chaosbandit(tmp_path, *arguments).told(0).out
        assert set(proxies(url)) == {"theirs"}
        chaosbandit(tmp_path, *arguments, "--dry-run").told(0)


def test_the_report_as_json(tmp_path: Path) -> None:
    ours = written(Kind.PATH, "abcdefgh", int(time.time()) + 500, n=1)
    with running_server("embedded") as url:
        _create(url, ours)
        arguments = ["clean", "--json", "--toxiproxy", url]
        first = json.loads(chaosbandit(tmp_path, *arguments).told(0).out)
        second = json.loads(chaosbandit(tmp_path, *arguments, "--run", "abcdefgh").told(0).out)
    assert (first["schema"], first["exit_code"], first["confirmed"]) == (1, 0, True)
    assert [one["name"] for one in first["skipped"]] == [ours]
    assert [one["name"] for one in second["undone"]] == [ours]
    third = json.loads(chaosbandit(tmp_path, *arguments).told(7).out)
    assert (third["exit_code"], third["unreachable"][0]["server"]) == (7, url)


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_server_that_is_not_there_is_not_confirmed(tmp_path: Path, more: list[str]) -> None:
    ended = chaosbandit(tmp_path, "clean", "--toxiproxy", "http://127.0.0.1:1", *more).told(7)
    assert ended.out == (
        "NOT REACHED: http://127.0.0.1:1: connection refused; is a Toxiproxy server running "
        "there?\n"
    )


def test_the_help_tells_what_a_dry_run_and_a_named_run_mean(tmp_path: Path) -> None:
    words = " ".join(chaosbandit(tmp_path, "clean", "--help").told(0).out.replace("│", " ").split())
    assert "with --dry-run: 7 when there is something to do" in words
    assert "a living run may inject anew. Stop it first, by SIGTERM or a freeze file" in words
    assert "will notice" not in words


def test_what_takes_long_is_told_while_it_does(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        ended = chaosbandit(tmp_path, "clean", "--toxiproxy", url).told(7)
    assert ended.err.endswith(f"looking at {url}\n")
    assert "restart that Toxiproxy" in ended.out


WRONG = [
    (["--toxiproxy", "foo"], "wanted http://host:port"),
    (["--toxiproxy", "embedded"], "wanted http://host:port"),
    (["--toxiproxy", "http://[::1:8"], "wanted http://host:port"),
    (["--run", "abc*"], "wanted 6-16 characters"),
    (["--run", "abcdefgh", "--expired"], "--run RUN takes all of one run away"),
    (["--every", "5s"], "without --watch"),
    (["--ledger", "/proc/no-such-ledger"], "found no --ledger /proc/no-such-ledger"),
    (["--ledger", "/dev/null"], "wanted a directory"),
    (["--watch", "--toxiproxy", "http://127.0.0.1:1"], "cannot know which runs are alive"),
    (["--watch", "--expired"], "the servers to watch over"),
]
WATCHED = ["--watch", "--expired", "--toxiproxy", "http://127.0.0.1:1"]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        *WRONG,
        ([*WATCHED, "--run", "abcdefgh"], "no --run"),
        ([*WATCHED, "--json"], "with --dry-run or --json"),
        ([*WATCHED, "--dry-run"], "with --dry-run or --json"),
        ([*WATCHED, "--every", "10"], "a bare number has no unit"),
        ([*WATCHED, "--every", "0.5s"], "wanted 1s to 3m"),
        ([*WATCHED, "--every", "4m"], "wanted 1s to 3m"),
        ([*WATCHED, "--ledger", "/dev/null"], "wanted a directory"),
        ([*WATCHED, "--ledger", "/proc/no-such-ledger"], "found no --ledger"),
    ],
)
def test_wrong_usage_says_what_is_wanted(arguments: list[str], wanted: str, tmp_path: Path) -> None:
    ended = chaosbandit(tmp_path, "clean", *arguments).told(2)
    assert wanted in (json.loads(ended.out)["stop_reason"] if ended.out else ended.err)
    assert bool(ended.out) == ("--json" in arguments)


def _create(url: str, name: str) -> None:
    body = {"name": name, "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1"}
    request = urllib.request.Request(f"{url}/proxies", json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=5):
        pass
