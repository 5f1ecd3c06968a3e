"""Each way not to be reachable is told apart, with a remedy."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chaosbandit.errors import TargetError
from chaosbandit.traffic.reachability import reachable
from tests.without_descriptors import starved


async def serve_and_reach(
    url: Callable[[int], str], tls: ssl.SSLContext | None = None, says: bytes = b""
) -> int:
    accepted = 0

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        writer.write(says)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    async with server:
        await reachable(url(server.sockets[0].getsockname()[1]), 5.0)
        await asyncio.sleep(0.02)
    return accepted


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_listening_service_is_reachable(host: str) -> None:
    assert asyncio.run(serve_and_reach(lambda port: f"http://{host}:{port}/product/{{n}}")) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_refused(host: str) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # bound, not listening
        url = f"http://{host}:{sock.getsockname()[1]}/"
        with pytest.raises(TargetError, match=r"refused, wanted a listening service; start it"):
            asyncio.run(reachable(url, 5.0))


WITHOUT_DESCRIPTORS = """
from chaosbandit.errors import HarnessError, TargetError
from chaosbandit.traffic.reachability import reachable

async def main():
    await asyncio.to_thread(int)  # what the loop needs itself
    use_up_descriptors()
    try:
        await reachable(sys.argv[1], 5.0)
    except HarnessError as error:
        print(type(error) is HarnessError, error)

asyncio.run(main())
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_out_of_descriptors_is_no_trouble_of_the_target(host: str) -> None:
    url = f"http://{host}:9/"
    ended = starved(WITHOUT_DESCRIPTORS, url)
    assert ended.stdout.startswith(
        f"True {url}: found nothing left on this machine to connect with (Too many open files)"
    ), ended.stderr


def test_unresolvable() -> None:
    with pytest.raises(TargetError, match=r"no address for host nowhere\.invalid .*; correct"):
        asyncio.run(reachable("http://nowhere.invalid/", 5.0))


def test_time_out() -> None:
    with socket.socket() as listener:  # its queue is full: connecting hangs
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        start_s = time.monotonic()
        with pytest.raises(TargetError, match=r"within 0\.3 s while connecting to 127"):
            asyncio.run(reachable(f"http://127.0.0.1:{listener.getsockname()[1]}/", 0.3))
        assert 0.3 <= time.monotonic() - start_s < 2.0
        for filler in fillers:
            filler.close()


def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = tmp_path / "both.pem"
    keys = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", *keys, *names, "-keyout", "-", "-out", "-"]
    certificate.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)

    with pytest.raises(TargetError, match=r"TLS failure .*self-signed certificate"):
        asyncio.run(serve_and_reach(lambda port: f"https://localhost:{port}/", tls))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert asyncio.run(serve_and_reach(lambda port: f"https://localhost:{port}/", tls)) == 1
    with pytest.raises(TargetError, match=r"TLS failure .*valid for 127\.0\.0\.1"):
        asyncio.run(serve_and_reach(lambda port: f"https://127.0.0.1:{port}/", tls))


def test_https_asked_of_a_plain_service() -> None:
    with pytest.raises(TargetError, match=r"TLS failure at localhost:\d+ .*check the scheme"):
        asyncio.run(serve_and_reach(lambda port: f"https://localhost:{port}/", says=b"hello\r\n"))


@pytest.mark.parametrize("url", ["ftp://localhost/", "shop/1", "http://", "http://x:port/"])
def test_not_a_url(url: str) -> None:
    with pytest.raises(TargetError, match="wanted"):
        asyncio.run(reachable(url, 5.0))
