"""The entry point as a process: exit codes, streams and the absence of tracebacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import chaosbandit as package
from tests.e2e.runs import chaosbandit


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version(option: str, tmp_path: Path) -> None:
    assert chaosbandit(tmp_path, option).told(0).out == f"chaosbandit {package.__version__}\n"


def test_no_command_shows_the_commands(tmp_path: Path) -> None:
    ended = chaosbandit(tmp_path).told(2)
    assert (ended.out, "Commands:" in ended.err) == ("", True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["run"],
        ["run", "a.yaml", "--frob"],
        ["run", "a.yaml", "--seed", "x"],
        ["run", "a.yaml", "--seed", "-1"],
        ["toxiproxy", "serve", "--port", "70000"],
    ],
)
def test_wrong_usage_says_how_to_get_help(arguments: list[str], tmp_path: Path) -> None:
    ended = chaosbandit(tmp_path, *arguments).told(2)
    assert ended.out == ""
    assert ended.err.startswith("Usage: chaosbandit ")
    assert "Error: " in ended.err


def test_errors_are_sentences_on_stderr(tmp_path: Path) -> None:
    ended = chaosbandit(tmp_path, "run", tmp_path / "none.yaml").told(2)
    assert ended.out == ""
    assert ended.err.startswith(f"chaosbandit: {tmp_path / 'none.yaml'}:1:1: ")


def test_with_json_an_error_is_an_object_too(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("version: 1\nname: [\n")
    ended = chaosbandit(tmp_path, "run", broken, "--json").told(2)
    found = json.loads(ended.out)
    assert (found["schema"], found["exit_code"], found["answered"]) == (1, 2, False)
    assert found["problems"][0]["file"] == str(broken)
    assert f"chaosbandit: {found['stop_reason']}\n" == ended.err


def test_a_closed_pipe_is_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "chaosbandit", "schema"],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_full_disk_is_said_to_be_one() -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "chaosbandit", "schema"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert ended.returncode == 6
    assert "could not be written to stdout: No space left on device" in ended.stderr


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-"])
def test_closed_streams_do_no_harm(closed: str) -> None:
    command = f"{sys.executable} -m chaosbandit schema {closed}"
    assert subprocess.run(command, shell=True, timeout=60, capture_output=True).returncode == 0
