"""The help: complete, in lines that fit, with no sentence cut off."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from chaosbandit.cli.app import app
from chaosbandit.errors import Exit

COMMANDS = [
    [],
    ["run"],
    ["plan"],
    ["demo"],
    ["validate"],
    ["schema"],
    ["doctor"],
    ["clean"],
    ["toxiproxy"],
    ["toxiproxy", "serve"],
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_fits(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"], terminal_width=80)
    assert result.exit_code == 0
    usage, *lines = result.stdout.splitlines()
    assert usage.startswith("Usage: ")
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if line.endswith("...")]


def test_the_exit_codes_are_in_the_help() -> None:
    text = " ".join(CliRunner().invoke(app, ["--help"]).stdout.split())
    for code in Exit:
        assert str(int(code)) in text.partition("Exit codes: ")[2]
