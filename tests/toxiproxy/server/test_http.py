"""The embedded server as a process, how it speaks HTTP, and toxiproxy-python against it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from chaosbandit.errors import ToxiproxyError
from chaosbandit.toxiproxy.server import http as server_http
from chaosbandit.toxiproxy.server.__main__ import main
from chaosbandit.toxiproxy.server.http import running, serve
from tests.servers import Kind, connection, running_server

PATIENCE_S = 10.0

# by name, since type checkers take this folder for the package
TOXIPROXY_PYTHON = importlib.import_module("toxiproxy")
ERRORS = importlib.import_module("toxiproxy.exceptions")


@pytest.fixture
def place() -> Iterator[tuple[str, int]]:
    """Host and port of an embedded server."""
    with running_server("embedded") as url:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        yield parts.hostname, parts.port


def _start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "chaosbandit.toxiproxy.server", "--port", "0", *arguments]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# The process.


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_quietly(how: signal.Signals) -> None:
    with _start() as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        host, port = said.removeprefix("toxiproxy listening on http://").split(":")
        with socket.create_connection((host, int(port)), PATIENCE_S):
            process.send_signal(how)
            assert process.communicate(timeout=PATIENCE_S) == ("", "")
    assert process.returncode == 0


def test_connections_do_not_keep_it_alive() -> None:
    with _start() as process, socket.create_server(("127.0.0.1", 0)) as upstream:
        assert process.stdout is not None
        api = urlsplit(process.stdout.readline().split()[-1])
        caller = http.client.HTTPConnection(str(api.hostname), api.port, timeout=PATIENCE_S)
        address = f"127.0.0.1:{upstream.getsockname()[1]}"
        caller.request("POST", "/proxies", f'{{"name":"p","upstream":"{address}"}}')
        listen = caller.getresponse().read().decode().split('"listen":"')[1].split('"')[0]
        with socket.create_connection(("127.0.0.1", int(listen.split(":")[1]))) as client:
            with upstream.accept()[0]:
                process.terminate()
                assert process.communicate(timeout=PATIENCE_S) == ("", "")
                assert client.recv(1) == b""
        caller.close()
    assert process.returncode == 0


def test_ends_with_standard_input_when_asked_to() -> None:
    with _start("--exit-with-stdin") as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert process.poll() is None
        assert process.communicate("", timeout=PATIENCE_S) == ("", "")
    assert process.returncode == 0


def test_stays_when_standard_input_ends_otherwise() -> None:
    with _start() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.readline()
        time.sleep(0.2)
        assert process.poll() is None
        process.terminate()


def test_a_port_in_use_is_said_with_its_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ToxiproxyError, match=r"address already in use.*choose another port"):
            asyncio.run(serve("127.0.0.1", port))
        assert main(["--port", str(port)]) == 6
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_a_foreign_host_is_said_with_its_remedy() -> None:
    with pytest.raises(ToxiproxyError, match=r"no such host.*wanted a free address"):
        asyncio.run(serve("no-such-host.invalid", 0))


def test_starts_without_heavy_imports() -> None:
    code = "import sys, chaosbandit.toxiproxy.server.__main__; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"numpy", "scipy", "httpx", "pydantic", "aiohttp", "requests", "yaml", "rich"}
    assert not heavy & set(loaded.stdout.split())


def test_runs_inside_a_loop_and_leaves_nothing() -> None:
    async def ask() -> bytes:
        async with running(seed=1) as (host, port):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET /version HTTP/1.0\r\n\r\n")
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)
        return answer

    assert asyncio.run(ask()).endswith(b'{"version": "2.12.0"}\n')


# HTTP.


def _exchange(place: tuple[str, int], request: bytes) -> bytes:
    with socket.create_connection(place, PATIENCE_S) as sock:
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while data := sock.recv(65536):
            answer += data
    return answer


def test_answers_requests_in_turn_on_one_connection(place: tuple[str, int]) -> None:
    request = b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = _exchange(place, request * 3)
    assert answer.count(b"HTTP/1.1 200") == 3
    assert answer.count(b'{"version": "2.12.0"}\n') == 3


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET /version HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ],
)
def test_refuses_what_is_not_http(place: tuple[str, int], request_: bytes) -> None:
    assert _exchange(place, request_).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]:80", "LocalHost:1", "api.localhost"])
def test_answers_to_the_names_of_this_machine(place: tuple[str, int], host: str) -> None:
    request = f"GET /version HTTP/1.1\r\nHost: {host}\r\n\r\n"
    assert _exchange(place, request.encode()).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8474", "localhost.evil.example"])
def test_refuses_other_names_on_loopback(place: tuple[str, int], host: str) -> None:
    body = b'{"name":"p","upstream":"u:1","enabled":false}'
    head = f"POST /proxies HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = _exchange(place, head.encode() + body)
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert f"Host '{host}' not allowed" in answer.decode()
    assert _exchange(place, b"GET /proxies HTTP/1.0\r\n\r\n").endswith(b"{}")


def test_answers_to_the_name_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    loopback = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: loopback)

    async def ask() -> bytes:
        async with running("toxiproxy") as (_, port):
            async with connection("127.0.0.1", port) as (reader, writer):
                writer.write(b"GET /version HTTP/1.0\r\nHost: toxiproxy:8474\r\n\r\n")
                return await reader.read()

    assert asyncio.run(ask()).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("listening", ["0.0.0.0", "::"])
def test_answers_to_any_name_elsewhere(toxiproxy_kind: Kind, listening: str) -> None:
    with running_server(toxiproxy_kind, "--host", listening) as url:
        # Not half-closed after the request: the real server takes that for a client who left.
        asking = http.client.HTTPConnection("127.0.0.1", urlsplit(url).port, timeout=PATIENCE_S)
        with contextlib.closing(asking):
            asking.request("GET", "/version", headers={"Host": "toxiproxy:8474"})
            assert asking.getresponse().status == 200


def test_half_a_request_is_no_request(place: tuple[str, int]) -> None:
    assert _exchange(place, b"") == b""
    assert b" 200 " not in _exchange(
        place, b"POST /reset HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
    )


def test_waiting_clients_are_told_to_go_on(place: tuple[str, int]) -> None:
    body = b'{"name":"p","upstream":"u:1","enabled":false}'
    length = b"Content-Length: %d" % len(body)
    head = (
        b"POST /proxies HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n%b\r\n\r\n" % length
    )
    with socket.create_connection(place, PATIENCE_S) as sock:
        sock.sendall(head)
        assert sock.recv(1000).startswith(b"HTTP/1.1 100 ")
        sock.sendall(body)
        assert sock.recv(1000).startswith(b"HTTP/1.1 201 ")


def test_chunked_bodies_are_read(place: tuple[str, int]) -> None:
    head = b"POST /populate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert _exchange(place, head + b"2\r\n[]\r\n0\r\n\r\n").endswith(b'{"proxies":null}')


def test_a_client_that_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_http, "RESPONSE_TIMEOUT_S", 0.2)
    n_asked = 50  # of nearly 1 MB each, far more than the system keeps for a connection
    body = b'{"name":"p","upstream":"%b","enabled":false}' % (b"u" * 1_000_000)
    create = b"POST /proxies HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body)

    async def ask() -> int:
        async with running() as place, asyncio.timeout(PATIENCE_S):
            async with connection(*place) as (reader, writer):
                writer.write(create + body)
                assert (await reader.read()).startswith(b"HTTP/1.1 201 ")
            async with connection(*place, limit=1) as (reader, writer):
                writer.write(b"GET /proxies HTTP/1.1\r\nHost: localhost\r\n\r\n" * n_asked)
                await asyncio.sleep(1.0)
                n_read = 0
                with contextlib.suppress(OSError):
                    while data := await reader.read(1 << 20):
                        n_read += data.count(b"HTTP/1.1 200 OK")
            return n_read

    assert asyncio.run(ask()) < n_asked


# toxiproxy-python, unchanged.


@pytest.fixture
def client(place: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    client = TOXIPROXY_PYTHON.Toxiproxy()
    client.update_api_consumer(*place)
    return client


def test_toxiproxy_python_proxies(client: Any) -> None:
    assert client.running()
    assert client.version() == b'{"version": "2.12.0"}\n'
    proxy = client.create(name="p", upstream="127.0.0.1:1")
    assert (proxy.name, proxy.enabled) == ("p", True)
    with pytest.raises(ERRORS.ProxyExists):
        client.create(name="p", upstream="127.0.0.1:1")
    with proxy.down():
        assert client.get_proxy("p").enabled is False
    assert client.get_proxy("p").enabled is True
    assert proxy.destroy()
    assert client.proxies() == {}
    with pytest.raises(ERRORS.NotFound):
        proxy.destroy()


def test_toxiproxy_python_toxics(client: Any) -> None:
    proxy = client.create(name="p", upstream="127.0.0.1:1")
    proxy.add_toxic(type="latency", attributes={"latency": 5}, toxicity=0.25)
    proxy.add_toxic(type="bandwidth", stream="upstream", name="slow", attributes={"rate": 3})
    assert [*proxy.toxics()] == ["slow", "latency_downstream"]
    toxic = proxy.get_toxic("latency_downstream")
    assert (toxic.attributes, toxic.toxicity) == ({"latency": 5, "jitter": 0}, 0.25)
    with pytest.raises(ERRORS.InvalidToxic):
        proxy.add_toxic(type="fog")
    assert proxy.destroy_toxic("slow")
    assert client.reset()
    assert proxy.toxics() == {}


def test_toxiproxy_python_populate(client: Any) -> None:
    wanted = [
        {"name": "p", "upstream": "127.0.0.1:1", "listen": "127.0.0.1:0"},
        {"name": "q", "upstream": "127.0.0.1:2", "listen": "127.0.0.1:0", "enabled": False},
    ]
    assert [proxy.name for proxy in client.populate(wanted)] == ["p", "q"]
    client.destroy_all()
    assert client.proxies() == {}
