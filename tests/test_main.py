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

DEMO = str(Path(__file__).parents[1] / "scenarios" / "demo" / "slow-inventory.yaml")


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


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("--help >/dev/full", 6),
        ("--version >/dev/full", 6),
        ("run --help >/dev/full", 6),
        (f"validate {DEMO} >/dev/full", 6),
        ("frobnicate 2>/dev/full", 2),
        ("run none.yaml 2>/dev/full", 2),
    ],
)
def test_where_nothing_can_be_written_there_is_a_sentence_or_a_code(
    command: str, code: int, unbuffered: str
) -> None:
    ended = subprocess.run(
        f"{sys.executable} -m chaosbandit {command}",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    assert ended.returncode == code, ended.stderr
    if ">/dev/full" in command.replace("2>", ""):
        assert ended.stderr.count("\n") == 1
        assert "(No space left on device)" in ended.stderr or "stdout: No space" in ended.stderr


def test_the_version_into_a_closed_pipe_is_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-m", "chaosbandit", "--version"]
        ended = subprocess.run(
            command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, "")


NOBODY = ["unshare", "-U", "--map-user=12345", "--map-group=12345"]  # whom no passwd entry names


@pytest.mark.parametrize(
    "arguments",
    [["clean"], ["doctor"], ["demo"], ["run", DEMO], ["clean", "--expired"]],
)
def test_a_user_without_a_home_is_told_what_is_missing(arguments: list[str]) -> None:
    ended = as_nobody(arguments)
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    assert ended.stderr == (
        "chaosbandit: found neither HOME nor a passwd entry of user 12345, wanted a folder for the "
        "fault ledger and the journals; name one in XDG_STATE_HOME\n"
    )


def test_without_a_home_a_named_folder_is_enough(tmp_path: Path) -> None:
    assert as_nobody(["validate", DEMO]).returncode == 0
    ended = as_nobody(["clean"], XDG_STATE_HOME=str(tmp_path))
    assert (ended.returncode, ended.stderr) == (0, "")


def as_nobody(arguments: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command with an empty environment as a user the system knows nothing of."""
    if subprocess.run([*NOBODY, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no user namespaces for this user")
    return subprocess.run(
        [*NOBODY, sys.executable, "-m", "chaosbandit", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": str(Path(package.__file__).parents[1]), **environ},
    )


@pytest.mark.parametrize(
    ("limit", "arguments", "code", "said"),
    [
        (40, "--help", 0, ""),
        (40, f"validate {DEMO}", 0, ""),
        (40, "clean", 0, ""),
        (40, "doctor", 6, ""),
        (40, "demo", 6, "found a limit of 40, wanted at least 64"),
        (40, "toxiproxy serve --port 0", 6, "found a limit of 40, wanted at least 64"),
        (14, "demo", 6, ""),  # wherever it runs out
    ],
)
def test_few_descriptors_are_said_to_be_few(
    limit: int, arguments: str, code: int, said: str, tmp_path: Path
) -> None:
    ended = subprocess.run(
        f"ulimit -n {limit}; exec {sys.executable} -m chaosbandit {arguments}",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
    )
    assert ended.returncode == code, ended.stderr
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "internal error" not in ended.stderr
