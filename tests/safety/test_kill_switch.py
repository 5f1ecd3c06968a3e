"""The kill switch: what freezes, what does not, and what cannot be asked."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from chaosbandit.safety.kill_switch import Freeze, Frozen, default_places
from tests.fake_api import serving


def ask(*places: object, look_s: float = 1.0) -> str | None:
    """One look at these places."""

    async def asked() -> str | None:
        async with Freeze([str(place) for place in places], look_s=look_s) as freeze:
            return await freeze.pulled()

    return asyncio.run(asked())


def ask_server(status: str, body: str = "", *, look_s: float = 1.0) -> tuple[str | None, int]:
    """What is said of a URL whose server answers so, and how often it was asked."""
    asked = 0

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while head := await reader.readuntil(b"\r\n\r\n"):
            assert head.startswith(b"GET /freeze HTTP/1.1")
            asked += 1
            if status == "silent":
                await asyncio.Event().wait()
            elif status == "garbage":
                writer.write(b"\x00\x01 garbage\r\n\r\n")
            else:
                text = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}"
                writer.write(text.encode())

    async def look() -> str | None:
        async with serving(converse) as address:
            async with Freeze([f"http://{address}/freeze"], look_s=look_s) as freeze:
                return await freeze.pulled()

    return asyncio.run(look()), asked


def test_nothing_there_is_no_freeze(tmp_path: Path) -> None:
    assert ask(tmp_path / "freeze", tmp_path / "no" / "such" / "folder") is None
    assert ask() is None


def test_a_file_freezes_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "freeze"
    path.write_text("incident 4711: ask the shift\nmore\n")
    wanted = f"kill switch: {path} says freeze: incident 4711: ask the shift"
    assert wanted == ask(tmp_path / "other", path)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\x00\x1b[31mred", b"x" * 10_000])
def test_any_content_freezes_and_hurts_no_terminal(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "freeze"
    path.write_bytes(content)
    why = ask(path) or ""
    assert why.startswith(f"kill switch: {path} says freeze")
    assert why.isprintable()
    assert len(why) < len(str(path)) + 350


def test_where_it_freezes_and_why_are_told_in_parts(tmp_path: Path) -> None:
    (tmp_path / "freeze").write_text("incident 4711")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")

    async def look(place: str) -> Frozen | None:
        async with Freeze([place]) as freeze:
            return await freeze.look(place)

    place = str(tmp_path / "freeze")
    assert asyncio.run(look(place)) == Frozen(place, "incident 4711", pulled=True)
    unclear = asyncio.run(look(str(tmp_path / "loop" / "freeze")))
    assert unclear is not None
    assert not unclear.pulled
    assert unclear.why.startswith("cannot be looked at (")


def test_folders_pipes_and_dangling_links_freeze_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "link", "pipe"):
        assert ask(tmp_path / name) == f"kill switch: {tmp_path / name} says freeze"


def test_a_path_that_cannot_be_looked_at_freezes(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    why = ask(tmp_path / "loop" / "freeze") or ""
    assert "cannot be looked at" in why


@pytest.mark.parametrize("status", ["404", "410"])
def test_a_url_that_is_not_there_is_no_freeze(status: str) -> None:
    assert ask_server(status) == (None, 1)


def test_a_url_that_is_there_freezes_and_says_why() -> None:
    why, asked = ask_server("200", "deploy freeze until Monday")
    assert asked == 1
    assert why is not None
    assert why.endswith("/freeze says freeze: deploy freeze until Monday")


@pytest.mark.parametrize("status", ["500", "503", "302", "401", "403"])
def test_an_answer_that_says_neither_freezes_after_a_second_try(status: str) -> None:
    why, asked = ask_server(status)
    assert asked == 2
    assert f"it answered {status}, wanted 404 (go on) or 200 (freeze)" in (why or "")


@pytest.mark.parametrize("status", ["silent", "garbage"])
def test_no_answer_freezes_within_its_deadline(status: str) -> None:
    started_s = time.monotonic()
    why, _ = ask_server(status, look_s=0.2)
    assert time.monotonic() - started_s < 3.0
    assert "nothing is injected" in (why or "")


def test_a_closed_port_freezes() -> None:
    why = ask("http://127.0.0.1:1/freeze") or ""
    assert "http://127.0.0.1:1/freeze cannot be asked" in why


def test_one_place_that_hangs_does_not_hide_another(tmp_path: Path) -> None:
    path = tmp_path / "freeze"
    path.touch()

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def look() -> str | None:
        async with (
            serving(silent) as address,
            Freeze([str(path), f"http://{address}/"], look_s=0.2) as freeze,
        ):
            return await freeze.pulled()

    assert "says freeze" in (asyncio.run(look()) or "")


def test_waiting_ends_when_it_is_pulled(tmp_path: Path) -> None:
    path, looks = tmp_path / "freeze", 0

    async def pull_after_some_looks(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal looks
        while await reader.readuntil(b"\r\n\r\n"):
            looks += 1
            if looks == 3:
                path.write_text("now")
            writer.write(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n")

    async def whole() -> str:
        async with serving(pull_after_some_looks) as address, asyncio.timeout(10):
            places = [f"http://{address}/freeze", str(path)]
            async with Freeze(places, period_s=0.05) as freeze:
                return await freeze.wait()

    assert asyncio.run(whole()).endswith("says freeze: now")
    assert 3 <= looks <= 4


def test_each_user_and_each_machine_has_a_switch(tmp_path: Path) -> None:
    assert default_places({"XDG_STATE_HOME": str(tmp_path)}) == (
        "/etc/chaosbandit/freeze",
        str(tmp_path / "chaosbandit" / "freeze"),
    )
    _, users = default_places({})
    assert users == str(Path.home() / ".local/state/chaosbandit/freeze")
