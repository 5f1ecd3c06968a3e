"""Servers we start say their URL or why they did not start, and end with us."""

from __future__ import annotations

import asyncio
import sys

import pytest

from chaosbandit.child_server import child_server, module_as_server
from chaosbandit.errors import HarnessError
from tests.e2e.runs import processes_with, soon


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise SystemExit('port 1 is taken')", "port 1 is taken"),
        ("print('hello')", "hello"),
        ("import sys; sys.exit('first line\\nthe last one')", "the last one"),
        ("pass", "no output"),
    ],
)
def test_what_a_server_said_instead_of_starting(program: str, said: str) -> None:
    with (
        pytest.raises(HarnessError) as refusal,
        child_server([sys.executable, "-c", program], "the shop"),
    ):
        pass
    assert refusal.value.trouble.where == "the shop did not start"
    assert refusal.value.trouble.found == said


def test_a_server_that_never_says_anything_is_ended() -> None:
    program = "import time; time.sleep(60)  # silent-81237"
    with (
        pytest.raises(HarnessError, match=r"found no output, wanted its address within 0\.5 s"),
        child_server([sys.executable, "-c", program], "the shop", 0.5),
    ):
        pass
    assert processes_with("silent-81237") == []


def test_a_server_that_complains_a_lot_starts() -> None:
    """Nobody reads its complaints: they must not fill a pipe and stop it."""
    program = (
        "import sys; sys.stderr.write('e' * 500_000); print('on http://x', flush=True);"
        "sys.stdin.read(1)"
    )
    with child_server([sys.executable, "-c", program], "the shop") as url:
        assert url == "http://x"


def test_a_module_that_is_no_server() -> None:
    async def start() -> None:
        async with module_as_server("this"):
            pass

    with pytest.raises(HarnessError, match="this did not start"):
        asyncio.run(start())


def test_a_module_as_server_ends() -> None:
    async def start() -> str:
        async with module_as_server("chaosbandit.doctor.ceiling_server", "unheeded-4711"):
            return "".join(processes_with("unheeded-4711"))

    assert "ceiling_server" in asyncio.run(start())
    assert soon(lambda: processes_with("unheeded-4711") == [])
