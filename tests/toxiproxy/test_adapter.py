"""The one user of toxiproxy-python, against both servers and against servers that misbehave."""

from __future__ import annotations

import ast
import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import chaosbandit
from chaosbandit.faults.fault import Toxic
from chaosbandit.toxiproxy import adapter
from chaosbandit.toxiproxy.adapter import RefusedError
from chaosbandit.toxiproxy.calls import Calls, UnansweredError
from chaosbandit.toxiproxy.listing import StrangeError, all_proxies, one_proxy
from tests.fake_api import constant, fake_api, raw
from tests.toxiproxy.misbehaving import always, answer, misbehaving

GO_TEXT = "listen tcp 127.0.0.1:1: bind: permission denied"
TOXIC = Toxic("latency", {"latency": 5, "jitter": 1}, "upstream", 0.5, "mine")
PLACE = ("127.0.0.1:0", "127.0.0.1:9")


@pytest.fixture
def calls(toxiproxy_url: str) -> Iterator[Calls]:
    with closing(Calls(toxiproxy_url)) as found:
        yield found


@pytest.mark.parametrize("name", ["one", "one more", "q?#%41", "ä"])
def test_a_proxy_is_created_dosed_and_destroyed(calls: Calls, name: str) -> None:
    assert adapter.version(calls) == calls.call("GET", "/version").record()["version"]
    adapter.create(calls, name, *PLACE)
    adapter.add_toxic(calls, name, TOXIC)
    found = one_proxy(calls, name)
    assert found is not None
    assert (found.name, found.upstream, found.enabled) == (name, PLACE[1], True)
    assert [(t.name, t.attributes, t.stream, t.toxicity) for t in found.toxics] == [
        ("mine", {"latency": 5, "jitter": 1}, "upstream", 0.5)
    ]
    adapter.destroy(calls, name)
    assert one_proxy(calls, name) is None


def test_refusals_carry_the_status_and_the_servers_words(calls: Calls) -> None:
    adapter.create(calls, "one", *PLACE)
    adapter.add_toxic(calls, "one", TOXIC)
    used = all_proxies(calls).proxies["one"].listen
    cases: list[tuple[Callable[[], object], int, str]] = [
        (lambda: adapter.create(calls, "one", *PLACE), 409, "POST /proxies was .*already exists"),
        (lambda: adapter.create(calls, "two", used, PLACE[1]), 500, "address already in use"),
        (lambda: adapter.add_toxic(calls, "nobody", TOXIC), 404, "proxy not found"),
        (lambda: adapter.add_toxic(calls, "one", TOXIC), 409, "toxic already exists"),
        (lambda: adapter.add_toxic(calls, "one", Toxic("no", {}, name="x")), 400, "invalid toxic"),
        (lambda: adapter.destroy(calls, "nobody"), 404, "proxy not found"),
    ]
    for call, status, words in cases:
        with pytest.raises(RefusedError, match=words) as caught:
            call()
        assert caught.value.status == status


BROKEN: list[tuple[bytes | None, float, float, type[Exception], str]] = [
    (None, 0, 0, UnansweredError, "no whole answer within 0.5 s"),
    (raw("200 OK", '{"version": "2"}'), 0, 0.1, UnansweredError, "no whole answer within 0.5 s"),
    (raw("503 Service Unavailable"), 0.2, 0, RefusedError, "answered 503"),
    (raw("500 Internal Server Error", GO_TEXT, "text/plain"), 0, 0, RefusedError, GO_TEXT),
    (raw("302 Found"), 0, 0, RefusedError, "answered 302"),
    (b"\x00\xffgarbage\r\n\r\n", 0, 0, UnansweredError, "GET|POST"),
    (b"", 0, 0, UnansweredError, "GET|POST"),
    (raw("200 OK", "<html>"), 0, 0, StrangeError, "JSONDecodeError"),
]


@pytest.mark.parametrize(("answer", "after_s", "drip_s", "kind", "words"), BROKEN)
@pytest.mark.parametrize("what", ["version", "create", "add_toxic"])
def test_a_server_that_misbehaves_becomes_an_error_in_time(
    what: str,
    answer: bytes | None,
    after_s: float,
    drip_s: float,
    kind: type[Exception],
    words: str,
) -> None:
    async def scenario() -> float:
        async with fake_api(constant(answer, after_s), drip_s) as url:
            with closing(Calls(url)) as calls:
                does: dict[str, Callable[[], object]] = {
                    "version": lambda: adapter.version(calls, 0.5),
                    "create": lambda: adapter.create(calls, "one", *PLACE, 0.5),
                    "add_toxic": lambda: adapter.add_toxic(calls, "one", TOXIC, 0.5),
                }
                started_s = time.monotonic()
                with pytest.raises(kind, match=words):
                    await asyncio.to_thread(does[what])
                return time.monotonic() - started_s

    assert asyncio.run(scenario()) < 2.0


@pytest.mark.parametrize("body", ['["x"]', "3", "{}", "null"])
def test_a_version_that_is_none_is_no_toxiproxy(body: str) -> None:
    async def scenario() -> None:
        async with fake_api(constant(raw("200 OK", body))) as url:
            with closing(Calls(url)) as calls, pytest.raises(StrangeError, match="its answer"):
                await asyncio.to_thread(adapter.version, calls)

    asyncio.run(scenario())


def test_each_is_one_call() -> None:
    """The package's own `create` and look-up list every proxy of the server first."""
    seen: list[tuple[str, str]] = []

    async def note(method: str, path: str, body: bytes) -> bytes:
        seen.append((method, path))
        return raw("200 OK", '{"version": "2"}')

    async def scenario() -> None:
        async with fake_api(note) as url:
            with closing(Calls(url)) as calls:
                for does in (
                    lambda: adapter.version(calls),
                    lambda: adapter.create(calls, "one", *PLACE),
                    lambda: adapter.add_toxic(calls, "one", TOXIC),
                    lambda: adapter.destroy(calls, "one"),
                ):
                    await asyncio.to_thread(does)

    asyncio.run(scenario())
    assert seen == [
        ("GET", "/version"),
        ("POST", "/proxies"),
        ("POST", "/proxies/one/toxics"),
        ("DELETE", "/proxies/one"),
    ]


def test_calls_in_many_threads_to_two_servers_never_cross(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        async with fake_api(constant(raw("200 OK", '{"version": "other"}'))) as other:
            urls = [toxiproxy_url, other] * 10
            versions = await asyncio.gather(*(asyncio.to_thread(_version, url) for url in urls))
        assert versions[1::2] == ["other"] * 10
        assert "other" not in versions[::2]

    asyncio.run(scenario())


def _version(url: str) -> str:
    with closing(Calls(url)) as calls:
        return adapter.version(calls)


def test_a_hanging_call_blocks_no_other_server(toxiproxy_url: str) -> None:
    async def scenario() -> None:
        asked = asyncio.Event()

        async def hang(method: str, path: str, body: bytes) -> bytes | None:
            asked.set()
            return None

        async with fake_api(hang) as silent:
            with closing(Calls(silent)) as calls:
                hanging = asyncio.create_task(asyncio.to_thread(adapter.version, calls, 1.5))
                await asked.wait()
                await asyncio.gather(*(asyncio.to_thread(_version, toxiproxy_url) for _ in "12345"))
                assert not hanging.done()
                with pytest.raises(UnansweredError):
                    await hanging

    asyncio.run(scenario())


def test_other_users_of_the_package_are_left_alone(calls: Calls, toxiproxy_url: str) -> None:
    theirs: Any = import_module("toxiproxy.server")
    consumer = theirs.APIConsumer
    before = (consumer.host, consumer.port)
    adapter.create(calls, "one", *PLACE)
    assert (consumer.host, consumer.port) == before
    host, _, port = toxiproxy_url.removeprefix("http://").partition(":")
    direct = theirs.Toxiproxy()
    direct.update_api_consumer(host, int(port))
    try:
        assert set(direct.proxies()) == {"one"}
        direct.update_api_consumer("127.0.0.1", 1)
        assert adapter.version(calls)
        with pytest.raises(OSError, match="refused"):  # theirs goes where they say, also now
            direct.proxies()
    finally:
        direct.update_api_consumer(*before)


def test_after_an_error_the_package_is_theirs_again(toxiproxy_url: str) -> None:
    theirs: Any = import_module("toxiproxy.api")
    with closing(Calls("http://127.0.0.1:1")) as nowhere, pytest.raises(UnansweredError):
        adapter.version(nowhere)
    assert theirs.requests.get is import_module("requests").get
    assert theirs.requests.exceptions is import_module("requests").exceptions


def test_proxies_of_the_environment_are_ignored(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert adapter.version(calls)


def test_calls_leave_no_threads_behind(calls: Calls) -> None:
    before = threading.active_count()
    adapter.version(calls)
    assert threading.active_count() == before


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


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b'{"version":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"version":' + b"9" * 100_000 + b"}",
    ],
)
def test_a_version_that_no_parser_takes_is_strange(body: bytes) -> None:
    with misbehaving(always(answer(body))) as server, closing(Calls(server.url)) as calls:
        with pytest.raises(StrangeError) as raised:
            adapter.version(calls)
    assert len(str(raised.value)) < 400


def test_a_version_is_short_and_printable() -> None:
    said = answer({"version": "2.12\x1b[31m\u202e" + "x" * 10_000})
    with misbehaving(always(said)) as server, closing(Calls(server.url)) as calls:
        assert adapter.version(calls) == "2.12" + "x" * 56
