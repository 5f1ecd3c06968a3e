"""The one user of toxiproxy-python, against both servers and against servers that misbehave."""

from __future__ import annotations

import ast
import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import chaosbandit
from chaosbandit.core.model import Toxic
from chaosbandit.errors import ToxiproxyError
from chaosbandit.toxiproxy.adapter import PythonToxiproxy
from chaosbandit.toxiproxy.client import ToxiproxyClient
from tests.fake_api import constant, fake_api, raw

GO_TEXT = "listen tcp 127.0.0.1:1: bind: permission denied"
TOXIC = Toxic("latency", {"latency": 5, "jitter": 1}, "upstream", 0.5)


def package(url: str, deadline_s: float = 2.5) -> PythonToxiproxy:
    host, _, port = url.removeprefix("http://").partition(":")
    return PythonToxiproxy(host, int(port), deadline_s)


def test_a_proxy_is_created_dosed_switched_and_destroyed(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        server, client = package(toxiproxy_url), ToxiproxyClient(toxiproxy_url)
        assert await server.version() == await client.version()
        await server.create("one", "127.0.0.1:0", "127.0.0.1:9", enabled=False)
        await server.add_toxic("one", TOXIC)
        found = await server.get("one")
        assert found is not None
        assert (found.listen, found.upstream, found.enabled) == (
            *("127.0.0.1:0", "127.0.0.1:9", False),
        )
        assert [(t.name, t.attributes, t.toxicity) for t in found.toxics] == [
            ("latency_upstream", {"latency": 5, "jitter": 1}, 0.5)
        ]
        assert found == await client.proxy("one")
        await server.enable("one")
        assert (await client.proxies())["one"].enabled
        await server.disable("one")
        assert not (await client.proxies())["one"].enabled
        await server.destroy("one")
        assert await server.get("one") is None
        await server.destroy("one")  # already gone: no error

    asyncio.run(scenario())


def test_one_proxy_takes_the_address_of_another(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        server, client = package(toxiproxy_url), ToxiproxyClient(toxiproxy_url)
        listen = (await client.create("one", "127.0.0.1:0", "127.0.0.1:9")).listen
        await server.create("two", listen, "127.0.0.1:9", enabled=False)
        await server.enable_instead_of_disabled("two", "one")
        listed = await client.proxies()
        assert (listed["one"].enabled, listed["two"].enabled) == (False, True)
        await server.enable_instead_of_frozen("one", "two")
        listed = await client.proxies()
        assert (listed["one"].enabled, listed["two"].enabled) == (True, False)
        await server.enable_instead_of_frozen("one", "gone")
        await server.close("gone")
        await server.close("one")
        assert not (await client.proxies())["one"].enabled

    asyncio.run(scenario())


def test_refusals_carry_the_status(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        server, client = package(toxiproxy_url), ToxiproxyClient(toxiproxy_url)
        await client.create("one", "127.0.0.1:0", "127.0.0.1:9")
        used = (await client.proxies())["one"].listen
        cases = [
            (server.create("one", "127.0.0.1:0", "127.0.0.1:9"), 409),
            (server.create("two", used, "127.0.0.1:9"), 500),
            (server.add_toxic("nobody", TOXIC), 404),
            (server.add_toxic("one", Toxic("nonsense", {})), 400),
            (server.disable("nobody"), 404),
        ]
        for call, status in cases:
            with pytest.raises(ToxiproxyError) as caught:
                await call
            assert caught.value.status == status, str(caught.value)
            assert toxiproxy_url in str(caught.value)

    asyncio.run(scenario())


def test_an_address_that_is_freed_soon_is_waited_for(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        server, client = package(toxiproxy_url), ToxiproxyClient(toxiproxy_url)
        listen = (await client.create("one", "127.0.0.1:0", "127.0.0.1:9")).listen
        await server.create("two", listen, "127.0.0.1:9", enabled=False)
        waiting = asyncio.create_task(server.enable("two"))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await server.disable("one")
        await waiting
        assert (await client.proxies())["two"].enabled
        started_s = time.monotonic()
        with pytest.raises(ToxiproxyError, match="address already in use"):
            await server.enable("one")
        assert 0.9 < time.monotonic() - started_s < 2.5

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "after_s", "drip_s", "words", "status"),
    [
        (None, 0, 0, "did not answer .* within 0.5 s", None),
        (raw("200 OK", '{"version": "2"}'), 0, 0.1, "did not answer .* within 0.5 s", None),
        (raw("503 Service Unavailable"), 0.2, 0, "503: no text; a proxy with a stuck", 503),
        (raw("500 Internal Server Error", GO_TEXT, "text/plain"), 0, 0, GO_TEXT, 500),
        (b"\x00\xffgarbage\r\n\r\n", 0, 0, "is a Toxiproxy server running there", None),
        (b"", 0, 0, "is a Toxiproxy server running there", None),
        (raw("200 OK", "<html>"), 0, 0, "does not speak Toxiproxy's API", None),
        (raw("200 OK", '["x"]'), 0, 0, "does not speak Toxiproxy's API", None),
        (raw("302 Found"), 0, 0, "with 302", 302),
    ],
)
@pytest.mark.parametrize("what", ["version", "get", "create"])
def test_a_server_that_misbehaves_becomes_a_sentence_in_time(
    what: str,
    answer: bytes | None,
    after_s: float,
    drip_s: float,
    words: str,
    status: int | None,
) -> None:
    async def scenario() -> float:
        async with fake_api(constant(answer, after_s), drip_s) as url:
            server = package(url, deadline_s=0.5)
            calls: dict[str, Callable[[], Awaitable[object]]] = {
                "version": server.version,
                "get": lambda: server.get("one"),
                "create": lambda: server.create("one", "127.0.0.1:0", "127.0.0.1:9"),
            }
            started_s = time.monotonic()
            with pytest.raises(ToxiproxyError, match=words) as caught:
                await calls[what]()
            assert caught.value.status == status
            return time.monotonic() - started_s

    assert asyncio.run(scenario()) < 2.0


def test_nothing_is_sent_after_the_deadline() -> None:
    """`create` is two requests: when the first one answers too late, the second must not follow."""
    seen: list[str] = []

    async def slow(method: str, path: str, body: bytes) -> bytes:
        seen.append(method)
        await asyncio.sleep(0.25)
        return raw("200 OK", "{}")

    async def scenario() -> None:
        async with fake_api(slow) as url:
            with pytest.raises(ToxiproxyError, match="did not answer"):
                await package(url, deadline_s=0.2).create("one", "127.0.0.1:0", "127.0.0.1:9")
            await asyncio.sleep(0.5)

    asyncio.run(scenario())
    assert seen == ["GET"]


def test_a_hanging_call_blocks_no_other_server(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with fake_api(constant(None)) as silent:
            hanging = asyncio.create_task(package(silent, deadline_s=1.5).version())
            await asyncio.sleep(0.1)
            servers = [package(toxiproxy_url) for _ in range(5)]
            await asyncio.gather(*(server.version() for server in servers))
            assert not hanging.done()
            with pytest.raises(ToxiproxyError):
                await hanging

    asyncio.run(scenario())


def test_calls_to_two_servers_never_cross(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with fake_api(constant(raw("200 OK", '{"version": "other"}'))) as other:
            servers = [package(toxiproxy_url), package(other)] * 10
            versions = await asyncio.gather(*(server.version() for server in servers))
        assert versions[1::2] == ["other"] * 10
        assert "other" not in versions[::2]

    asyncio.run(scenario())


def test_other_users_of_the_package_are_left_alone(toxiproxy_url: str) -> None:
    theirs: Any = import_module("toxiproxy.server")
    consumer = theirs.APIConsumer
    before = (consumer.host, consumer.port)
    server = package(toxiproxy_url)
    asyncio.run(server.create("one", "127.0.0.1:0", "127.0.0.1:9"))
    assert (consumer.host, consumer.port) == before
    host, _, port = toxiproxy_url.removeprefix("http://").partition(":")
    direct = theirs.Toxiproxy()
    direct.update_api_consumer(host, int(port))
    try:
        assert set(direct.proxies()) == {"one"}
        direct.update_api_consumer("127.0.0.1", 1)
        assert asyncio.run(server.get("one")) is not None
    finally:
        direct.update_api_consumer(*before)


def test_proxies_of_the_environment_are_ignored(
    toxiproxy_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert asyncio.run(package(toxiproxy_url).version())


def test_a_cancelled_caller_is_free_at_once() -> None:
    async def scenario() -> None:
        async with fake_api(constant(None)) as silent:
            task = asyncio.create_task(package(silent, deadline_s=1.0).version())
            await asyncio.sleep(0.1)
            started_s = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - started_s < 0.5

    asyncio.run(scenario())


def test_a_silent_server_does_not_keep_the_process_alive() -> None:
    program = """
import asyncio, socket, time
from chaosbandit.errors import ToxiproxyError
from chaosbandit.toxiproxy.adapter import PythonToxiproxy
silent = socket.create_server(("127.0.0.1", 0))
server = PythonToxiproxy("127.0.0.1", silent.getsockname()[1], deadline_s=60)
async def main():
    try:
        async with asyncio.timeout(0.2):
            await server.version()
    except TimeoutError:
        print("gave up")
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (0, "gave up\n"), done.stderr


def test_calls_leave_no_threads_behind(toxiproxy_url: str) -> None:
    server = package(toxiproxy_url)
    asyncio.run(server.version())
    deadline_s = time.monotonic() + 5
    while any(thread.name.startswith("toxiproxy:") for thread in threading.enumerate()):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_only_the_adapter_imports_the_package() -> None:
    root = Path(chaosbandit.__file__).parent
    users = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.partition(".")[0] == "toxiproxy" for name in names):
                users.add(path.relative_to(root).as_posix())
    assert users == {"toxiproxy/adapter.py"}


def test_the_package_is_imported_only_when_needed() -> None:
    program = "import sys, chaosbandit.toxiproxy.injector; print('toxiproxy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
