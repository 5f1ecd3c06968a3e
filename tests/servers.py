"""Fresh Toxiproxy servers for tests: the embedded one and the real one, each its own process."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal

Kind = Literal["embedded", "real"]

_BUILT = Path(__file__).parent.parent / ".toxiproxy" / "toxiproxy-server"
_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 10.0
_TRIES = 5


def real_server_path() -> str | None:
    """Return the real Toxiproxy server, or None if this machine has none; in CI it must have."""
    given = os.environ.get("CHAOSBANDIT_TOXIPROXY")
    if given:
        return given
    if _BUILT.is_file():
        return str(_BUILT)
    found = shutil.which("toxiproxy-server")
    if found is None and os.environ.get("CI") == "true":
        raise FileNotFoundError("no real Toxiproxy server: run .ci/toxiproxy, which builds it")
    return found


@contextlib.contextmanager
def running_server(kind: Kind, *arguments: str) -> Iterator[str]:
    """Start a server of this kind on a free loopback port, yield its URL and end it."""
    process, url = _start_embedded(arguments) if kind == "embedded" else _start_real(arguments)
    try:
        yield url
    finally:
        _end(process)


@contextlib.asynccontextmanager
async def connection(
    host: str, port: int, **options: int
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection of the running loop, closed whatever happens to it."""
    reader, writer = await asyncio.open_connection(host, port, **options)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _start_embedded(arguments: tuple[str, ...]) -> tuple[subprocess.Popen[str], str]:
    module = [sys.executable, "-m", "chaosbandit.toxiproxy.server"]
    process = subprocess.Popen(
        [*module, "--port", "0", "--exit-with-stdin", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    if not said.startswith("toxiproxy listening on "):
        _end(process)
        raise RuntimeError(f"the embedded server did not start: it said {said!r}")
    return process, said.split()[-1]


def _start_real(arguments: tuple[str, ...]) -> tuple[subprocess.Popen[str], str]:
    path = real_server_path()
    if path is None:
        raise FileNotFoundError("no real Toxiproxy server: run .ci/toxiproxy, which builds it")
    for _ in range(_TRIES):  # another process may take the port in between
        port = _free_port()
        process = subprocess.Popen(
            [path, "-host", "127.0.0.1", "-port", str(port), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if _answers(process, port):
            return process, f"http://127.0.0.1:{port}"
        _end(process)
    raise RuntimeError(f"{path} did not start in {_TRIES} tries")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _answers(process: subprocess.Popen[str], port: int) -> bool:
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline_s:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/version")
            if connection.getresponse().status == 200:
                return process.poll() is None
        except OSError:
            time.sleep(0.01)
        finally:
            connection.close()
    return False


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
