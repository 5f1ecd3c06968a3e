"""A web application that keeps a pool of connections to its database, as most do, and trusts them.

GET /item/{n} makes one query through the pool. Connections are used in turn and none is tested
before it is used, so a connection that was cut meanwhile is met by a visitor: 500 and the reason.
GET /connections tells how many were opened, which is the pool's size until one was lost.

    python benchmarks/pooled_app.py --database postgresql --address 127.0.0.1:5432 --pool 10

It prints where it listens and serves until its stdin ends.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import psycopg
import psycopg_pool
import redis

POOL = 10
BODY = 200
_OPEN_S = 10.0
_STOP_S = 5.0
_LONG_S = 86400.0  # the pool itself lets no connection go


class Database(Protocol):
    """Where items come from."""

    @property
    def opened(self) -> int:
        """Connections opened so far."""
        ...

    def item(self, n: int) -> bytes:
        """One query through the pool."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


class PostgreSQL:
    """psycopg's pool, which hands out the connection that was idle longest."""

    def __init__(self, host: str, port: int, pool: int, body: int) -> None:
        self._body = body
        self._opened = _Counter()
        self._pool = psycopg_pool.ConnectionPool(
            f"host={host} port={port} user=postgres sslmode=disable gssencmode=disable",
            kwargs={"autocommit": True},  # a query is one round trip
            min_size=pool,
            max_size=pool,
            max_idle=_LONG_S,
            max_lifetime=_LONG_S,
            configure=lambda _: self._opened.add(),
            open=False,
        )
        self._pool.open(wait=True, timeout=_OPEN_S)

    @property
    def opened(self) -> int:
        """Connections opened so far."""
        return self._opened.value

    def item(self, n: int) -> bytes:
        """A text as long as the body shall be."""
        with self._pool.connection() as connection:
            row = connection.execute("SELECT repeat('x', %s)", [self._body]).fetchone()
            assert row is not None
            return str(row[0]).encode()

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class Redis:
    """redis-py's pool, but first in, first out, and without its look at a connection before use."""

    def __init__(self, host: str, port: int, pool: int, body: int) -> None:
        self._opened = _Counter()
        self._pool: Any = _blocking_pool(
            host=host,
            port=port,
            max_connections=pool,
            queue_class=queue.Queue,
            connection_class=_Trusted,
            redis_connect_func=self._connected,
            protocol=2,
        )
        self._client = redis.Redis(connection_pool=self._pool)
        for connection in [self._pool.get_connection() for _ in range(pool)]:
            self._pool.release(connection)
        self._client.set("item", b"x" * body)

    @property
    def opened(self) -> int:
        """Connections opened so far."""
        return self._opened.value

    def item(self, n: int) -> bytes:
        """A text as long as the body shall be."""
        found = self._client.get("item")
        assert isinstance(found, bytes)
        return found

    def close(self) -> None:
        """Close all connections."""
        self._pool.disconnect()

    def _connected(self, connection: Any) -> None:
        self._opened.add()
        connection.on_connect()


class _Trusted(redis.Connection):
    """Never tested on borrow, as in most clients of other languages by default."""

    def can_read(self, timeout: float = 0) -> bool:
        return False


_blocking_pool: Callable[..., Any] = redis.BlockingConnectionPool  # it has no types
DATABASES: Mapping[str, Callable[[str, int, int, int], Database]] = {
    "postgresql": PostgreSQL,
    "redis": Redis,
}


class _Counter:
    """Counts from several threads."""

    def __init__(self) -> None:
        self.value = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        with self._lock:
            self.value += 1


class Application(ThreadingHTTPServer):
    """Serves the pages; a thread for each visitor's connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        database: Database,
        port: int = 0,
        *,
        pool: int = POOL,
        timeout_s: float | None = None,
        fallback: bool = False,
    ) -> None:
        super().__init__(("127.0.0.1", port), _Page)
        self._database, self._timeout_s, self._fallback = database, timeout_s, fallback
        self._queries = ThreadPoolExecutor(pool)

    def page(self, path: str) -> tuple[int, bytes]:
        """Status and body of a page."""
        if path == "/connections":
            return 200, json.dumps({"opened": self._database.opened}).encode()
        found = re.fullmatch(r"/item/(\d{1,18})", path)
        if found is None:
            return 404, b"no such page\n"
        try:
            return 200, self._item(int(found[1]))
        except Exception as error:  # whatever a driver raises
            return 500, f"{type(error).__name__}: {error}\n".encode()

    def _item(self, n: int) -> bytes:
        """The answer; with a time-out the query goes on without a visitor, and nothing is cut."""
        if self._timeout_s is None:
            return self._database.item(n)
        query = self._queries.submit(self._database.item, n)
        try:
            return query.result(self._timeout_s)
        except TimeoutError:
            if not self._fallback:
                raise TimeoutError(f"no answer within {self._timeout_s:g} s") from None
            return b"something like it\n"


class _Page(BaseHTTPRequestHandler):
    server: Application
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        status, body = self.server.page(self.path)
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def running_app(database: str, address: str, *options: str) -> Iterator[str]:
    """Have the application as a process, and yield its URL."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--database", database, "--address", address, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            if "http://" not in said:
                raise RuntimeError(f"the pooled application did not start: it said {said!r}")
            yield said.split()[-1]
        finally:
            process.stdin.close()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def main() -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--database", choices=DATABASES, required=True)
    parser.add_argument("--address", required=True, metavar="HOST:PORT", help="of the database")
    parser.add_argument("--pool", type=int, default=POOL, help="connections kept")
    parser.add_argument("--body", type=int, default=BODY, metavar="BYTES", help="of an item")
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free one")
    parser.add_argument("--dependency-timeout", type=float, metavar="SECONDS")
    parser.add_argument("--fallback", action="store_true", help="answer 200 after that time-out")
    asked = parser.parse_args()
    if asked.fallback and asked.dependency_timeout is None:
        parser.error("--fallback: wanted --dependency-timeout as well, found none")
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # visitors are told
    host, _, port = asked.address.rpartition(":")
    try:
        database = DATABASES[asked.database](host, int(port), asked.pool, asked.body)
    except (psycopg.Error, psycopg_pool.PoolTimeout, redis.RedisError) as error:
        sys.exit(f"pooled application: no {asked.database} at {asked.address}: {error}")
    application = Application(
        database,
        asked.port,
        pool=asked.pool,
        timeout_s=asked.dependency_timeout,
        fallback=asked.fallback,
    )
    threading.Thread(target=application.serve_forever, daemon=True).start()
    print(f"pooled application listening on http://127.0.0.1:{application.server_port}", flush=True)
    sys.stdin.read()
    application.shutdown()
    database.close()


if __name__ == "__main__":
    main()
