"""One kept HTTP connection to a Toxiproxy API, on which no call can outlast its deadline.

A server may refuse, hang, drip single bytes or close an idle connection; all of that becomes
`UnansweredError`. Standard library only, since the watchdog uses it; it knows nothing of faults.
"""

from __future__ import annotations

import http.client
import json
import math
import select
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

CALL_S = 2.0
_BODY_LIMIT = 8 << 20

_Address = tuple[int, Any]  # family, and what connect() takes


class UnansweredError(Exception):
    """No whole answer within the deadline; `refused`: nobody listens at the address."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        self.refused = refused
        super().__init__(message)


class StoppedError(Exception):
    """Whoever owns the connection wants no more calls on it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the server."""

    status: int
    text: str

    def record(self) -> dict[str, Any]:
        """The JSON object in the body, or an empty one where there is none."""
        try:
            value = json.loads(self.text)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


class _DeadlineSocket(socket.socket):
    """A socket whose time-out shrinks; the ordinary one starts anew with every dripping byte."""

    give_up_s: float = math.inf

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        self.settimeout(_left_s(self.give_up_s))
        return super().recv_into(buffer, nbytes, flags)

    def sendall(self, data: Any, flags: int = 0) -> None:
        self.settimeout(_left_s(self.give_up_s))
        super().sendall(data, flags)


class _Connection(http.client.HTTPConnection):
    """An HTTP connection over a deadline socket to one of `addresses`."""

    addresses: tuple[_Address, ...] = ()
    give_up_s: float = math.inf

    def connect(self) -> None:
        self.sock = _connected(self.addresses, self.give_up_s)

    def set_deadline(self, give_up_s: float) -> None:
        self.give_up_s = give_up_s
        if isinstance(self.sock, _DeadlineSocket):
            self.sock.give_up_s = give_up_s


class Control:
    """Calls to the Toxiproxy API at `server_url`, over one connection kept between calls.

    Raises:
        ValueError: the URL is not one we can talk to.
    """

    def __init__(self, server_url: str) -> None:
        parts = urlsplit(server_url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(
                f"found {server_url!r} as Toxiproxy's address, wanted http://host:port: its API "
                "has no TLS, and what stands in front of it must not be in the way of a clean-up"
            )
        self.url = server_url.rstrip("/")
        self.host = parts.hostname
        self._port = parts.port or 80
        self._prefix = parts.path.rstrip("/")
        self._addresses: tuple[_Address, ...] = ()
        self._connection: _Connection | None = None
        self._stopped = threading.Event()

    def call(self, method: str, path: str, body: object = None, within_s: float = CALL_S) -> Reply:
        """Send one request that is safe to repeat; a kept connection gone stale is replaced once.

        Raises:
            UnansweredError: no whole answer within `within_s`.
            StoppedError: it was stopped.
        """
        self.wait(0.0)
        give_up_s = time.monotonic() + within_s
        kept = self._connection is not None
        try:
            try:
                return self._exchange(method, path, body, give_up_s)
            except (OSError, http.client.HTTPException, ValueError) as error:
                if not kept or isinstance(error, TimeoutError):
                    raise
                return self._exchange(method, path, body, give_up_s)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise UnansweredError(
                f"{method} {self.url}{path}: {_in_words(error, within_s)}",
                refused=isinstance(error, ConnectionRefusedError),
            ) from error

    def wait(self, duration_s: float) -> None:
        """Pause between calls.

        Raises:
            StoppedError: it was stopped.
        """
        if self._stopped.wait(duration_s):
            raise StoppedError

    def stop(self) -> None:
        """Let no further call begin; the one method to be called from another thread."""
        self._stopped.set()

    def keep_open(self, within_s: float) -> None:
        """Have a live connection ready for the next call, if that is possible within `within_s`."""
        connection = self._connection
        if connection is not None and connection.sock is not None:
            if not select.select([connection.sock], [], [], 0)[0]:
                return
            self.close()  # readable though nothing was asked: the server has closed it
        try:
            self._open(time.monotonic() + within_s)
        except (OSError, ValueError):
            self.close()  # the next call finds out, and says so

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self, give_up_s: float) -> _Connection:
        if not self._addresses:
            self._addresses = _resolved(self.host, self._port, give_up_s)
        connection = _Connection(self.host, self._port)
        connection.addresses = self._addresses
        connection.set_deadline(give_up_s)
        self._connection = connection
        try:
            connection.connect()
        except OSError:
            self._addresses = ()  # the name may lead elsewhere by the next call
            raise
        return connection

    def _exchange(self, method: str, path: str, body: object, give_up_s: float) -> Reply:
        try:
            connection = self._connection or self._open(give_up_s)
            connection.set_deadline(give_up_s)
            payload = None if body is None else json.dumps(body).encode()
            connection.request(method, self._prefix + path, payload)
            with connection.getresponse() as response:
                body = response.read(_BODY_LIMIT)
                if response.length and len(body) < _BODY_LIMIT:  # read() says nothing of it
                    raise http.client.IncompleteRead(body, response.length)
                return Reply(response.status, body.decode(errors="replace"))
        except BaseException:
            self.close()
            raise


def status_of(method: str, url: str, within_s: float, body: object = None) -> int:
    """The status that `url`, http or https, answers a request with; its body is not waited for.

    In a thread, since neither name servers nor TLS know a deadline for all they do.

    Raises:
        UnansweredError: no status within `within_s`.
    """
    found: list[int | Exception] = []
    thread = threading.Thread(target=_ask, args=(method, url, within_s, body, found), daemon=True)
    thread.start()
    thread.join(within_s)
    last = found[0] if found else TimeoutError()
    if isinstance(last, int):
        return last
    raise UnansweredError(
        f"{method} {url}: {_in_words(last, within_s)}",
        refused=isinstance(last, ConnectionRefusedError),
    ) from last


def _ask(
    method: str, url: str, within_s: float, body: object, found: list[int | Exception]
) -> None:
    try:
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=within_s)
        try:
            target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
            payload = None if body is None else json.dumps(body).encode()
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, target, payload, headers)
            with connection.getresponse() as response:
                found.append(response.status)
        finally:
            connection.close()
    except Exception as error:  # told by the thread that waits
        found.append(error)


def _left_s(give_up_s: float) -> float:
    left_s = give_up_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return min(left_s, 3600.0)


def _in_words(error: Exception, within_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no whole answer within {within_s:.3g} s"
    return str(error) or type(error).__name__


def _resolved(host: str, port: int, give_up_s: float) -> tuple[_Address, ...]:
    """The addresses of `host`; names are looked up in a thread, since that call has no time-out."""
    found: list[tuple[_Address, ...] | OSError] = []

    def look_up(flags: int) -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
            found.append(tuple((int(family), address) for family, _, _, _, address in answers))
        except OSError as error:
            found.append(error)

    look_up(socket.AI_NUMERICHOST)
    if isinstance(found[0], OSError):
        found.clear()
        thread = threading.Thread(target=look_up, args=(0,), daemon=True)
        thread.start()
        thread.join(_left_s(give_up_s))
        if not found:
            raise TimeoutError
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


def _connected(addresses: tuple[_Address, ...], give_up_s: float) -> _DeadlineSocket:
    last: OSError = OSError("the name has no address")
    for tried, (family, address) in enumerate(addresses):
        sock = _DeadlineSocket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(_left_s(give_up_s) / (len(addresses) - tried))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            last = error
        else:
            sock.give_up_s = give_up_s
            return sock
    raise last
