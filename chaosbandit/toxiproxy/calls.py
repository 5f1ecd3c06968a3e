"""The one door to a Toxiproxy API: kept connections, on which no call can outlast its deadline.

A server may refuse, hang, drip single bytes or close an idle connection; all of that becomes
`UnansweredError`. What was sent and not answered may still take effect, so it is remembered.
Standard library only, since the watchdog uses it; it knows nothing of faults.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from chaosbandit.deadline_thread import within
from chaosbandit.foreign_text import LARGEST_BYTES, said
from chaosbandit.toxiproxy.deadline_connection import Address, Connection, resolved

CALL_S = 2.0
LATE_S = 60.0  # a call that nobody answered may take effect for so long (35 and 50 s were seen)
_READ_ONLY = frozenset({"GET", "HEAD"})
_UNDECIDED = frozenset({502, 503, 504})  # whoever says so gave up on a call that may go on

_BROKEN = (OSError, http.client.HTTPException, ValueError)


class UnansweredError(Exception):
    """No whole answer within the deadline; `refused`: nobody listens at the address."""

    def __init__(self, call: str, url: str, why: str, *, refused: bool = False) -> None:
        self.call = call  # `GET /proxies`
        self.url = url
        self.why = why
        self.refused = refused
        super().__init__(f"{call} at {url}: {why}")


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
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    def said(self) -> str:
        """The status and Toxiproxy's own words, in few printable characters."""
        return f"{self.status} {said(self.record().get('error') or self.text)}".strip()


@dataclass(slots=True, eq=False)
class _Asked:
    """A request on its way."""

    method: str
    path: str
    body: object
    within_s: float
    at_s: float = 0.0  # when it was sent, or given up

    @property
    def path_changed(self) -> str:
        """What it may change; a proxy's creation names it in the body."""
        if self.path == "/proxies" and isinstance(self.body, Mapping):
            return f"/proxies/{quote(str(self.body.get('name')), safe='')}"
        return self.path

    @property
    def closes(self) -> bool:
        """Whether it would close a proxy, or delete it."""
        body = self.body if isinstance(self.body, Mapping) else {}
        of_a_proxy = self.path.count("/") == 2
        return of_a_proxy and (self.method == "DELETE" or body.get("enabled") is False)


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Calls that were sent, that nobody answered, and that may still take effect."""

    at_s: float  # when the last was given up, on the monotonic clock
    closes: bool  # one of them closes or deletes its proxy


@dataclass(slots=True)
class Pending:
    """A request that was sent ahead; its answer is read once."""

    _read: Callable[[float], Reply]

    def reply(self, within_s: float) -> Reply:
        """The answer.

        Raises:
            UnansweredError: none within `within_s` from now, or the connection broke.
        """
        return self._read(time.monotonic() + within_s)


class Calls:
    """Calls to the Toxiproxy API at `server_url`, over connections kept between calls.

    One thread at a time; `stop` alone may be called from any.

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
        self._addresses: tuple[Address, ...] = ()
        self._connections: list[Connection] = []
        self._idle: list[Connection] = []
        self._unanswered: list[_Asked] = []
        self._stopped = threading.Event()

    def call(self, method: str, path: str, body: object = None, within_s: float = CALL_S) -> Reply:
        """Send one request that is safe to repeat; a kept connection gone stale is replaced once.

        Raises:
            UnansweredError: no whole answer within `within_s`.
            StoppedError: it was stopped.
        """
        give_up_s = time.monotonic() + within_s
        return self._begun(_Asked(method, path, body, within_s), give_up_s)(give_up_s)

    def begin(
        self, method: str, path: str, body: object = None, within_s: float = CALL_S
    ) -> Pending:
        """Send one request and go on; its answer is to be asked for.

        Raises:
            UnansweredError: it could not be sent within `within_s`.
            StoppedError: it was stopped.
        """
        give_up_s = time.monotonic() + within_s
        return Pending(self._begun(_Asked(method, path, body, within_s), give_up_s))

    def unanswered(self, proxy_path: str) -> Unanswered | None:
        """What may still change this proxy, since nobody answered it."""
        oldest_s = time.monotonic() - LATE_S
        self._unanswered = [asked for asked in self._unanswered if asked.at_s > oldest_s]
        found = [
            asked
            for asked in self._unanswered
            if f"{asked.path_changed}/".startswith(f"{proxy_path}/")
        ]
        if not found:
            return None
        return Unanswered(max(asked.at_s for asked in found), any(asked.closes for asked in found))

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

    def keep_open(self, connections: int, within_s: float) -> None:
        """Have live connections ready for the next calls, if that is possible within `within_s`."""
        fresh = [connection for connection in self._idle if not connection.is_stale()]
        for connection in self._idle:
            if connection not in fresh:
                connection.close()
        self._idle = fresh
        give_up_s = time.monotonic() + within_s
        try:
            while len(self._idle) < connections:
                self._keep(self._open(give_up_s))
        except (OSError, ValueError):
            return  # the next call finds out, and says so

    def close(self) -> None:
        """Close the connections; the next call opens a new one."""
        for connection in self._connections:
            connection.close()
        self._connections, self._idle = [], []

    def _begun(self, asked: _Asked, give_up_s: float) -> Callable[[float], Reply]:
        """Send it; what reads its answer until some time."""
        self.wait(0.0)
        try:
            connection = self._sent(asked, give_up_s)
        except _BROKEN as error:
            raise self._failed(asked, error) from error

        def read(until_s: float) -> Reply:
            try:
                return self._answer(asked, connection, until_s)
            except _BROKEN as error:
                raise self._failed(asked, error) from error

        return read

    def _open(self, give_up_s: float) -> Connection:
        if not self._addresses:
            self._addresses = resolved(self.host, self._port, give_up_s)
        connection = Connection(self.host, self._port)
        connection.addresses = self._addresses
        connection.set_deadline(give_up_s)
        try:
            connection.connect()
        except OSError:
            self._addresses = ()  # the name may lead elsewhere by the next call
            raise
        self._connections = [one for one in self._connections if one.sock is not None]
        self._connections.append(connection)
        return connection

    def _keep(self, connection: Connection) -> None:
        connection.kept = True
        self._idle.append(connection)

    def _sent(self, asked: _Asked, give_up_s: float) -> Connection:
        """The connection on which the request went out."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_stale():
                connection.close()
                continue
            with suppress(BrokenPipeError, ConnectionResetError):  # it has just been closed
                return self._send(asked, connection, give_up_s)
        return self._send(asked, self._open(give_up_s), give_up_s)

    def _send(self, asked: _Asked, connection: Connection, give_up_s: float) -> Connection:
        connection.set_deadline(give_up_s)
        payload = None if asked.body is None else json.dumps(asked.body).encode()
        if asked.method not in _READ_ONLY and asked not in self._unanswered:
            self._unanswered.append(asked)
        asked.at_s = time.monotonic()
        try:
            connection.request(asked.method, self._prefix + asked.path, payload)
        except BaseException:
            connection.close()
            raise
        return connection

    def _answer(self, asked: _Asked, connection: Connection, until_s: float) -> Reply:
        try:
            reply = _read_reply(connection, until_s)
        except BaseException as error:
            connection.close()
            if not (connection.kept and isinstance(error, ConnectionResetError)):
                raise
            fresh = self._send(asked, self._open(until_s), until_s)  # it was closed as we sent
            return self._answer(asked, fresh, until_s)
        if connection.sock is not None:
            self._keep(connection)
        if reply.status not in _UNDECIDED:
            self._unanswered = [sent for sent in self._unanswered if sent is not asked]
        return reply

    def _failed(self, asked: _Asked, error: Exception) -> UnansweredError:
        asked.at_s = time.monotonic()
        return UnansweredError(
            f"{asked.method} {asked.path}",
            self.url,
            _in_words(error, asked.within_s),
            refused=isinstance(error, ConnectionRefusedError),
        )


def _read_reply(connection: Connection, until_s: float) -> Reply:
    connection.set_deadline(until_s)
    with connection.getresponse() as response:
        body = response.read(LARGEST_BYTES + 1)
        if len(body) > LARGEST_BYTES:
            raise ValueError(f"an answer of more than {LARGEST_BYTES >> 20} MB")
        if response.length:  # read() says nothing of it
            raise http.client.IncompleteRead(body, response.length)
        return Reply(response.status, body.decode(errors="replace"))


def status_of(method: str, url: str, within_s: float, body: object = None) -> int:
    """The status that `url`, http or https, answers a request with; its body is not waited for.

    In a thread, since neither name servers nor TLS know a deadline for all they do.

    Raises:
        UnansweredError: no status within `within_s`.
    """
    try:
        return within(within_s, lambda: _ask(method, url, within_s, body))
    except Exception as error:
        raise UnansweredError(
            method,
            url,
            _in_words(error, within_s),
            refused=isinstance(error, ConnectionRefusedError),
        ) from error


def _ask(method: str, url: str, within_s: float, body: object) -> int:
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
            return response.status
    finally:
        connection.close()


def _in_words(error: Exception, within_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no whole answer within {within_s:.3g} s"
    return said(error) or type(error).__name__
