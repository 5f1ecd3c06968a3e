"""Requests, threads and children, none of which outlasts its deadline."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from chaosbandit.doctor.http_request import Answer, ask
from tests.fake_api import constant, fake_api, raw
from tests.operator_path import free_port


def asked(reply: bytes | None, within_s: float = 2.0) -> Answer:
    async def run() -> Answer:
        async with fake_api(constant(reply)) as url:
            return await ask(f"{url}/x", within_s)

    return asyncio.run(run())


def test_an_answer_and_its_times() -> None:
    date = b"Date: Sun, 22 Nov 2026 12:00:00 GMT\r\n"
    reply = raw("418 Teapot", "short and stout").replace(b"Connection", date + b"Connection")
    found = asked(reply)
    assert (found.status, found.text, found.date_epoch_s) == (418, "short and stout", 1795348800.0)
    assert found.asked_epoch_s <= found.answered_epoch_s <= time.time()


@pytest.mark.parametrize("date", [b"", b"Date: yesterday\r\n"])
def test_answers_without_a_date(date: bytes) -> None:
    assert asked(raw("200 OK").replace(b"Connection", date + b"Connection")).date_epoch_s is None


def test_silence_ends() -> None:
    began_s = time.monotonic()
    with pytest.raises(TimeoutError):
        asked(None, within_s=0.2)
    assert time.monotonic() - began_s < 5


def test_nobody_there() -> None:
    with pytest.raises(httpx.ConnectError):
        asyncio.run(ask(f"http://127.0.0.1:{free_port()}/", 2.0))
