"""The asynchronous client against both servers, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import time

import pytest

from chaosbandit.core.model import Toxic
from chaosbandit.errors import ToxiproxyError
from chaosbandit.toxiproxy.adapter import PythonToxiproxy
from chaosbandit.toxiproxy.client import ToxiproxyClient
from tests.fake_api import constant, fake_api, raw

GO_TEXT = "listen tcp 127.0.0.1:1: bind: permission denied"


def test_proxies_are_created_listed_read_and_changed(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        client = ToxiproxyClient(toxiproxy_url + "/")
        assert await client.version()
        made = await client.create("one", "127.0.0.1:0", "127.0.0.1:9", enabled=False)
        assert (made.name, made.listen, made.upstream, made.enabled, made.toxics) == (
            *("one", "127.0.0.1:0", "127.0.0.1:9", False, ()),
        )
        await client.create("two", "127.0.0.1:0", "127.0.0.1:9")
        listed = await client.proxies()
        assert {name: proxy.enabled for name, proxy in listed.items()} == {
            "one": False,
            "two": True,
        }
        changed = await client.update_proxy("one", upstream="127.0.0.1:10", enabled=True)
        assert changed.upstream == "127.0.0.1:10"
        assert changed.enabled
        assert changed.listen.rpartition(":")[2] != "0"
        assert await client.proxy("one") == changed
        moved = await client.update_proxy("one", listen="127.0.0.1:0")
        assert moved.listen != changed.listen
        assert await client.proxy("nobody") is None

    asyncio.run(scenario())


def test_toxics_are_read_alone_and_changed(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        client = ToxiproxyClient(toxiproxy_url)
        host, _, port = toxiproxy_url.removeprefix("http://").partition(":")
        await client.create("one", "127.0.0.1:0", "127.0.0.1:9")
        await PythonToxiproxy(host, int(port)).add_toxic("one", Toxic("latency", {"latency": 5}))
        found = await client.toxic("one", "latency_downstream")
        assert found is not None
        assert found.attributes == {"latency": 5, "jitter": 0}
        changed = await client.update_toxic("one", found.name, {"latency": 7}, toxicity=0.25)
        assert (changed.attributes, changed.toxicity) == ({"latency": 7, "jitter": 0}, 0.25)
        assert await client.toxic("one", found.name) == changed
        kept = await client.update_toxic("one", found.name, toxicity=0.5)
        assert (kept.attributes["latency"], kept.toxicity) == (7, 0.5)
        assert await client.toxic("one", "nothing") is None
        assert await client.toxic("nobody", "nothing") is None

    asyncio.run(scenario())


def test_refusals_carry_status_and_the_servers_own_words(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        client = ToxiproxyClient(toxiproxy_url)
        await client.create("one", "127.0.0.1:0", "127.0.0.1:9")
        with pytest.raises(ToxiproxyError, match="409: proxy already exists") as taken:
            await client.create("one", "127.0.0.1:0", "127.0.0.1:9")
        assert taken.value.status == 409
        used = (await client.proxies())["one"].listen
        with pytest.raises(ToxiproxyError, match="address already in use") as busy:
            await client.create("two", used, "127.0.0.1:9")
        assert busy.value.status == 500
        with pytest.raises(ToxiproxyError, match="proxy not found") as missing:
            await client.update_proxy("nobody", enabled=True)
        assert missing.value.status == 404

    asyncio.run(scenario())


def test_names_are_quoted(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        client = ToxiproxyClient(toxiproxy_url)
        await client.create("a?b#c d", "127.0.0.1:0", "127.0.0.1:9", enabled=False)
        found = await client.proxy("a?b#c d")
        assert found is not None
        assert found.name == "a?b#c d"

    asyncio.run(scenario())


def test_several_servers_at_once(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with fake_api(constant(raw("200 OK", '{"version": "other"}'))) as other:
            clients = [ToxiproxyClient(url) for url in (toxiproxy_url, other) * 4]
            versions = await asyncio.gather(*(client.version() for client in clients))
        assert versions[1::2] == ["other"] * 4
        assert "other" not in versions[::2]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "after_s", "drip_s", "words", "status"),
    [
        (None, 0, 0, "did not answer `GET /version` within 0.5 s", None),
        (raw("200 OK", '{"version": "2"}'), 0, 0.1, "did not answer", None),
        (raw("503 Service Unavailable"), 0.2, 0, "503: no text; a proxy with a stuck", 503),
        (raw("500 Internal Server Error", GO_TEXT, "text/plain"), 0, 0, GO_TEXT, 500),
        (b"\x00\xffgarbage\r\n\r\n", 0, 0, "is a Toxiproxy server running there", None),
        (b"", 0, 0, "is a Toxiproxy server running there", None),
        (raw("200 OK", "<html>"), 0, 0, "does not speak Toxiproxy's API", None),
        (raw("200 OK", "[]"), 0, 0, "does not speak Toxiproxy's API", None),
        (raw("302 Found"), 0, 0, "with 302", 302),
    ],
)
def test_a_server_that_misbehaves_becomes_a_sentence_in_time(
    answer: bytes | None,
    after_s: float,
    drip_s: float,
    words: str,
    status: int | None,
) -> None:
    async def scenario() -> float:
        async with fake_api(constant(answer, after_s), drip_s) as url:
            started_s = time.monotonic()
            with pytest.raises(ToxiproxyError, match=words) as caught:
                await ToxiproxyClient(url, deadline_s=0.5).version()
            assert url in str(caught.value)
            assert caught.value.status == status
            return time.monotonic() - started_s

    assert asyncio.run(scenario()) < 2.0


@pytest.mark.parametrize("body", ['{"one": {}}', '{"one": {"name": 1}}', '{"one": 5}', "null"])
def test_a_strange_listing_is_refused(body: str) -> None:
    async def scenario() -> None:
        async with fake_api(constant(raw("200 OK", body))) as url:
            with pytest.raises(ToxiproxyError, match="does not speak Toxiproxy's API"):
                await ToxiproxyClient(url).proxies()

    asyncio.run(scenario())


def test_nobody_listening_is_a_sentence() -> None:
    with pytest.raises(ToxiproxyError, match="is a Toxiproxy server running there"):
        asyncio.run(ToxiproxyClient("http://127.0.0.1:1").version())


def test_proxies_of_the_environment_are_ignored(
    toxiproxy_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert asyncio.run(ToxiproxyClient(toxiproxy_url).version())
