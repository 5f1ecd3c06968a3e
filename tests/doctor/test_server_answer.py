"""What servers show when they are asked."""

from __future__ import annotations

import asyncio

from chaosbandit.doctor.server_answer import ServerAnswer, look
from chaosbandit.toxiproxy.round_trip import NUMBER
from tests.doctor.faults import listed, put_on
from tests.fake_api import Answer, constant, fake_api, raw
from tests.operator_path import free_port, operator_path


def shown_by(reply: Answer, *names: str) -> ServerAnswer:
    async def ask() -> ServerAnswer:
        async with fake_api(reply) as url:
            return await look(url, names, deadline_s=0.3)

    return asyncio.run(ask())


def test_a_server_of_each_kind(toxiproxy_url: str) -> None:
    with operator_path(toxiproxy_url) as proxy:
        fault = put_on(proxy, proxy.fault())
        before = listed(proxy)
        seen = asyncio.run(look(toxiproxy_url, ("inventory",)))
        assert seen.listing is not None
        assert [each.name for each in seen.listing.faults()] == [fault.name]
        assert (len(seen.calls_s), seen.hanging, seen.problem.found) == (NUMBER, (), "")
        assert listed(proxy) == before


def test_a_listing_that_means_nothing_is_none() -> None:
    asked = []

    async def reply(method: str, path: str, body: bytes) -> bytes:
        asked.append(path)
        if path == "/version":
            return raw("200 OK", '{"version": "2.12.0"}')
        return raw("200 OK", '{"cart": {"name": "cart"}}')

    seen = shown_by(reply, "cart")
    assert (seen.proxies, seen.is_foreign, seen.is_frozen) == (None, True, False)
    assert "/proxies/cart" not in asked  # of what is no Toxiproxy nothing more is wanted


def test_only_a_frozen_server_is_asked_for_each_proxy() -> None:
    async def reply(method: str, path: str, body: bytes) -> bytes | None:
        if path == "/version":
            return raw("200 OK", '{"version": "2.12.0"}')
        if path in ("/proxies", "/proxies/cart"):
            return None
        return raw("503 Unavailable" if path.lower() == "/proxies/a%2fb" else "404 Not Found")

    seen = shown_by(reply, "inventory", "cart", "a/b")
    assert (seen.is_frozen, seen.hanging) == (True, ("cart", "a/b"))


def test_silence_and_absence_are_told_apart() -> None:
    assert shown_by(constant(None)).is_silent
    nobody = asyncio.run(look(f"http://127.0.0.1:{free_port()}", ()))
    assert (nobody.is_silent, nobody.is_foreign, "refused" in nobody.problem.found) == (0, 0, 1)
