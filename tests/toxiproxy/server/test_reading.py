"""The limits of a request, on connections to a server."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import time
from urllib.parse import urlsplit

import pytest

from chaosbandit.toxiproxy.server import reading
from chaosbandit.toxiproxy.server.http import running
from tests.servers import connection, running_server

HEAD = b"POST /populate HTTP/1.1\r\nHost: localhost\r\n"
PATIENCE_S = 10.0


async def _drip(data: bytes, pause_s: float) -> bytes:
    """Send a byte at a time; return what the server says until it closes."""
    async with running() as place, asyncio.timeout(PATIENCE_S):
        async with connection(*place) as (reader, writer):
            answer = asyncio.ensure_future(reader.read())
            for byte in data:
                if answer.done():
                    break
                writer.write(bytes([byte]))
                await asyncio.sleep(pause_s)
            return await answer


@pytest.mark.parametrize(
    "data", [b"A" * 200, HEAD + b"X: " + b"a" * 200, HEAD + b"Content-Length: 200\r\n\r\n["]
)
def test_a_request_has_one_time_limit(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "REQUEST_TIMEOUT_S", 0.3)
    monkeypatch.setattr(reading, "IDLE_TIMEOUT_S", PATIENCE_S)
    said = asyncio.run(_drip(data, 0.004))
    assert said.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert said.endswith(b"the request did not come to its end within 0.3 s\n")


def test_between_requests_it_waits_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "REQUEST_TIMEOUT_S", 0.1)

    async def ask() -> bytes:
        async with running() as place, connection(*place) as (reader, writer):
            for _ in range(2):
                await asyncio.sleep(0.2)
                writer.write(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answer = await reader.readuntil(b"}\n")
            return answer

    assert asyncio.run(ask()).startswith(b"HTTP/1.1 200 OK\r\n")


def test_silence_between_requests_ends_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "IDLE_TIMEOUT_S", 0.1)
    assert asyncio.run(_drip(b"", 0.0)) == b""


@pytest.mark.e2e
@pytest.mark.parametrize("begun", [b"GET /ver", HEAD + b"Content-Length: 9\r\n\r\n["])
def test_both_servers_wait_as_long(toxiproxy_url: str, begun: bytes) -> None:
    place = urlsplit(toxiproxy_url)
    with socket.create_connection((str(place.hostname), place.port or 0), 30.0) as client:
        began_s = time.monotonic()
        client.sendall(begun)
        with contextlib.suppress(ConnectionResetError):
            while client.recv(65536):
                pass
        assert 14.0 < time.monotonic() - began_s < 20.0


def _post(url: str, body: bytes, *, chunked: bool = False) -> tuple[int, bytes]:
    place = urlsplit(url)
    caller = http.client.HTTPConnection(str(place.hostname), place.port, timeout=PATIENCE_S)
    with contextlib.closing(caller):
        data = (body[start : start + 60_000] for start in range(0, len(body), 60_000))
        caller.request("POST", "/populate", data if chunked else body, encode_chunked=chunked,
                       headers={"Transfer-Encoding": "chunked"} if chunked else {})  # fmt: skip
        response = caller.getresponse()
        return response.status, response.read()


def _padded(n_bytes: int) -> bytes:
    return b"[]" + b" " * (n_bytes - 2)


@pytest.mark.parametrize("chunked", [False, True])
def test_takes_a_body_of_1_mib(toxiproxy_url: str, chunked: bool) -> None:
    largest = _padded(reading.LARGEST_BODY_BYTES)
    assert _post(toxiproxy_url, largest, chunked=chunked) == (201, b'{"proxies":null}')


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("n_bytes", [reading.LARGEST_BODY_BYTES + 1, 3_000_000])
def test_refuses_a_larger_body(n_bytes: int, chunked: bool) -> None:
    with running_server("embedded") as url:
        wanted = (413, b"a body may have 1048576 bytes at most\n")
        for _ in range(5):  # never a reset in its place
            assert wanted == _post(url, _padded(n_bytes), chunked=chunked)


def test_a_client_that_asks_first_sends_nothing_in_vain() -> None:
    with running_server("embedded") as url:
        place = urlsplit(url)
        with socket.create_connection((str(place.hostname), place.port or 0), 30.0) as client:
            client.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 1048577\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_does_not_read_a_huge_body_to_its_end() -> None:
    with running_server("embedded") as url, pytest.raises(OSError, match=r"pipe|reset"):
        _post(url, bytes(40_000_000))
