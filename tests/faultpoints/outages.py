"""What fails around a run: the Toxiproxy process, the way to its API, and the disk.

Everything here is switched by the test while the run goes on, and ends with its `with` block.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from tests.faultpoints.worlds import call
from tests.operator_path import free_port
from tests.servers import Kind, real_server_path

Mode = Literal["normal", "garbage", "silent", "reset", "refused"]
_TICK_S = 0.02
_START_S = 15.0
_NO_LINGER = struct.pack("ii", 1, 0)


# --- the server -----------------------------------------------------------------------------------


class Server:
    """A Toxiproxy server on a port of its own, which can be killed and started again."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self._kind = kind
        self._config = folder / "toxiproxy.json"
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        self.start({})
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """SIGKILL: all it knew is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process = None

    def start(self, operators: Mapping[str, Any]) -> None:
        """Start it with the operator's proxies, as its configuration says or as he makes them."""
        wanted = [
            {key: shown[key] for key in ("name", "listen", "upstream", "enabled")}
            for shown in operators.values()
        ]
        self._config.write_text(json.dumps(wanted))
        self._process = subprocess.Popen(
            self._command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        _until(self._answers, f"{self._kind} server on port {self._port}")
        if self._kind == "embedded":
            for proxy in wanted:
                assert call(self.url, "POST", "/proxies", proxy) == 201

    def _command(self) -> list[str]:
        port = ["--port", str(self._port)]
        if self._kind == "embedded":
            module = [sys.executable, "-m", "chaosbandit.toxiproxy.server"]
            return [*module, *port, "--exit-with-stdin"]
        path = real_server_path()
        assert path is not None, "combinations without a real server leave it out"
        return [path, "-host", "127.0.0.1", *port, "-config", str(self._config)]

    def _answers(self) -> bool:
        try:
            return call(self.url, "GET", "/version") == 200
        except (OSError, http.client.HTTPException):
            return False


def _until(true: Callable[[], bool], what: str) -> None:
    give_up_s = time.monotonic() + _START_S
    while not true():
        assert time.monotonic() < give_up_s, f"{what} did not come up"
        time.sleep(_TICK_S)


# --- the way to the API ---------------------------------------------------------------------------


@dataclass(slots=True)
class Heard:
    """A call as it passed the middlebox, and the status of its answer, if there was one."""

    text: bytes
    status: int | None = None

    def begins(self, line: str) -> bool:
        """Whether its request line begins so."""
        return self.text.startswith(line.encode())


class Middlebox:
    """Stands between a run and the API; its mode counts for open connections too.

    `silent` delivers nothing, and later everything that was sent meanwhile, as a network does that
    comes back: also what the sender has long given up. `refused` is a forwarded port whose
    forwarder is gone: nobody listens, yet the server is well. `hold` has one single call that
    changes something arrive late, and all others as ever.
    """

    def __init__(self, server: str) -> None:
        place = urlsplit(server)
        self._behind = (str(place.hostname), place.port or 80)
        self._listener: socket.socket | None = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._address = self._listener.getsockname()
        self.url = f"http://127.0.0.1:{self._address[1]}"
        self.mode: Mode = "normal"
        self.garbage = b""
        self.heard: list[Heard] = []
        self.held = ""  # the request line of the call that is, or was, late
        self.delivered = threading.Event()
        self._hold_n, self._hold_s = 0, 0.0
        self._turn = threading.Lock()
        self._over = False
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Middlebox:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        for thread in self._threads:
            thread.join()
        if self._listener is not None:
            self._listener.close()

    def hold(self, n: int, for_s: float) -> None:
        """Deliver the `n`th call from now on that changes something so much later."""
        self._hold_n, self._hold_s = n, for_s

    def _accept(self) -> None:
        while not self._over:
            if self.mode == "refused":
                if self._listener is not None:
                    self._listener.close()
                    self._listener = None
                time.sleep(_TICK_S)
                continue
            if self._listener is None:
                self._listener = socket.create_server(self._address, backlog=128)
            if select.select([self._listener], [], [], _TICK_S)[0]:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._relay, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _relay(self, client: socket.socket) -> None:
        server: socket.socket | None = None
        calls: list[Heard] = []
        with closing(client), suppress(OSError):
            try:
                while not self._over:
                    if self.mode in ("reset", "refused"):
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                        return
                    if self.mode == "silent":
                        time.sleep(_TICK_S)
                        continue
                    if self.mode == "normal" and server is None:
                        server = socket.create_connection(self._behind, timeout=5.0)
                    if not self._pass_on(client, server, calls):
                        return
            finally:
                if server is not None:
                    server.close()

    def _pass_on(
        self, client: socket.socket, server: socket.socket | None, calls: list[Heard]
    ) -> bool:
        """Whatever has come in by now; False when one side has ended."""
        ends = [client] if server is None else [client, server]
        for sock in select.select(ends, [], [], _TICK_S)[0]:
            if self.mode in ("silent", "reset", "refused"):
                return True  # it stays where it is
            data = sock.recv(65536)
            if not data:
                return False
            if self.mode == "garbage" and sock is client:
                client.sendall(self.garbage)
            elif sock is client and server is not None:
                self._hear(data, calls)
                held = self._is_held(data)
                server.sendall(data)
                if held:
                    self.delivered.set()
            else:
                if calls and data.startswith(b"HTTP/1.1 "):
                    calls[-1].status = int(data.split()[1])
                client.sendall(data)
        return True

    def _hear(self, data: bytes, calls: list[Heard]) -> None:
        if not data.startswith((b"GET ", b"POST ", b"DELETE ")):
            calls[-1].text += data  # a body
            return
        calls.append(Heard(data))
        self.heard.append(calls[-1])

    def _is_held(self, data: bytes) -> bool:
        """Whether this is the call to be late; then it is so by now."""
        if not data.startswith((b"POST ", b"DELETE ")):
            return False
        with self._turn:
            self._hold_n -= 1
            if self._hold_n != 0:
                return False
            self.held = data.split(b" HTTP/", 1)[0].decode()
        until_s = time.monotonic() + self._hold_s
        while not self._over and time.monotonic() < until_s:
            time.sleep(_TICK_S)
        return True


def _answer(status: str, body: str) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


UNKNOWN = _answer("404 Not Found", '{"message": "no Route matched with those values"}')
"""What a gateway says that has lost the way to the API."""

GARBAGE = (
    b"\x00\xff\x16\x03 this is no HTTP\r\n\r\n",
    _answer("200 OK", "<html>Welcome to nginx!</html>"),
    _answer("200 OK", "{}"),
    _answer("200 OK", '{"proxies": [1, 2'),
    _answer("204 No Content", ""),
    _answer("404 Not Found", "<html>404 page not found</html>"),
    UNKNOWN,
    _answer("502 Bad Gateway", "<html>502</html>"),
)
"""What a wrong or broken thing in front of the API may say to every request."""


# --- the disk -------------------------------------------------------------------------------------


class Disk:
    """A folder to keep state in whose disk can be filled up for one process or for all."""

    def __init__(self, folder: Path, mounted: bool) -> None:
        self.folder = folder
        self.mounted = mounted
        self._filler = folder / "filler"

    def fill(self, pid: int) -> None:
        """From now on nothing more fits: a full file system, or a limit on the run's files."""
        if not self.mounted:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, 0))
            return
        with self._filler.open("ab", buffering=0) as filler:
            for size in (65536, 4096, 1):
                try:
                    while True:
                        filler.write(b"x" * size)
                except OSError as error:
                    assert error.errno == errno.ENOSPC

    def free(self) -> None:
        """As before."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def disk(folder: Path) -> Iterator[Disk]:
    """A small file system of its own where this user may mount one, else the folder itself."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mount = subprocess.run(["mount", *options], capture_output=True, check=False)
    mounted = mount.returncode == 0
    try:
        yield Disk(folder, mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def stop(pid: int, number: signal.Signals) -> None:
    """Signal a process, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
