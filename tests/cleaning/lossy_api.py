"""An API in front of a Toxiproxy server that loses answers, or calls, as a test wants it."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading
from collections.abc import Callable, Iterator
from enum import Enum
from urllib.parse import urlsplit


class Fate(Enum):
    """What becomes of a call."""

    PASSED = "passed"
    UNANSWERED = "it takes effect, and nobody hears of it"
    STUCK = "it takes no effect, and nobody hears of it"


Decide = Callable[[str, str, bytes], Fate]  # method, path, body


class Relay:
    """Where it listens, what it heard, and what becomes of each call."""

    def __init__(self, decide: Decide) -> None:
        self.decide = decide
        self.url = ""
        self.heard: list[str] = []
        self.over = threading.Event()


@contextlib.contextmanager
def relay(server_url: str, decide: Decide = lambda *_: Fate.PASSED) -> Iterator[Relay]:
    """Have a relay to the server at `server_url`."""
    this = Relay(decide)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            this.heard.append(f"{self.command} {self.path}")
            fate = this.decide(self.command, self.path, body)
            if fate is not Fate.STUCK:
                status, answer = _passed(server_url, self.command, self.path, body)
            if fate is not Fate.PASSED:
                this.over.wait(30.0)
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_DELETE = do  # noqa: N815 - so called by http.server

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with _Quiet(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        this.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield this
        finally:
            this.over.set()
            server.shutdown()
            thread.join()


class _Quiet(http.server.ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gave up is none of our business."""


def _passed(server_url: str, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    place = urlsplit(server_url)
    api = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30.0)
    with contextlib.closing(api):
        api.request(method, path, body)
        answer = api.getresponse()
        return answer.status, answer.read()
