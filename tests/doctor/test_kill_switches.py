"""Kill switches: at rest, pulled, or not to be asked."""

from __future__ import annotations

import asyncio
from pathlib import Path

from chaosbandit.doctor.findings import Finding
from chaosbandit.doctor.kill_switches import findings
from tests.doctor.looking import levels
from tests.fake_api import constant, fake_api, raw
from tests.operator_path import free_port


def test_files(tmp_path: Path) -> None:
    pulled, resting = tmp_path / "pulled", tmp_path / "resting"
    pulled.write_text("release day\n")
    found = asyncio.run(findings([str(pulled), str(resting)]))
    assert levels(found) == ["warn", "ok"]
    assert "says freeze: release day" in found[0].found
    assert "remove the file" in found[0].do
    assert str(resting) in found[1].found


def test_urls() -> None:
    async def ask(status: str) -> list[Finding]:
        async with fake_api(constant(raw(status))) as url:
            return await findings([f"{url}/freeze"])

    assert levels(asyncio.run(ask("404 Not Found"))) == ["ok"]
    assert levels(asyncio.run(ask("200 OK"))) == ["warn"]
    assert levels(asyncio.run(ask("500 Oops"))) == ["fail"]


def test_what_cannot_be_asked_fails() -> None:
    found = asyncio.run(findings([f"http://127.0.0.1:{free_port()}/freeze"]))
    assert levels(found) == ["fail"]
    assert "counts as pulled" in found[0].wanted
