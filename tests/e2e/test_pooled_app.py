"""The benchmark's pooled application does what its measure relies on: it trusts its connections."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
from contextlib import closing
from urllib.parse import urlsplit

import psycopg
import pytest
from redis import Redis

from benchmarks.pooled_app import running_app
from tests.real_parts import PARTS, Part, needs

pytestmark = pytest.mark.e2e

POOL = 4


def get(url: str) -> tuple[int, bytes]:
    """Status and body of one request."""
    place = urlsplit(url)
    with closing(http.client.HTTPConnection(str(place.hostname), place.port, timeout=10)) as asked:
        asked.request("GET", place.path)
        answer = asked.getresponse()
        return answer.status, answer.read()


def cut_all(name: str, part: Part) -> None:
    """End all clients' connections at the database."""
    if name == "redis":
        with closing(Redis(host=part.host, port=part.port)) as redis:
            redis.client_kill_filter(_type="normal")
        return
    with psycopg.connect(host=part.host, port=part.port, user="postgres") as postgresql:
        others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
        postgresql.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")


@pytest.mark.parametrize("name", ["postgresql", "redis"])
def test_each_connection_that_was_cut_is_met_by_one_visitor(name: str) -> None:
    needs(name)
    options = ("--pool", str(POOL), "--body", "20000")
    with PARTS[name].start() as part, running_app(name, part.address, *options) as app:
        assert get(f"{app}/item/1") == (200, b"x" * 20000)
        assert json.loads(get(f"{app}/connections")[1]) == {"opened": POOL}
        cut_all(name, part)
        answers = [get(f"{app}/item/{n}") for n in range(3 * POOL)]
        assert [status for status, _ in answers] == [500] * POOL + [200] * (2 * POOL)
        assert all(re.match(rb"\w+: \w+", body) for _, body in answers[:POOL])  # says why
        assert json.loads(get(f"{app}/connections")[1]) == {"opened": 2 * POOL}


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ((), (500, b"TimeoutError: no answer within 0.2 s\n")),
        (("--fallback",), (200, b"something like it\n")),
    ],
    ids=["error", "fallback"],
)
def test_a_time_out_ends_the_wait_and_cuts_nothing(
    options: tuple[str, ...], wanted: tuple[int, bytes]
) -> None:
    needs("redis")
    patient = ("--pool", str(POOL), "--dependency-timeout", "0.2", *options)
    with PARTS["redis"].start() as part, running_app("redis", part.address, *patient) as app:
        assert get(f"{app}/item/1")[0] == 200
        os.kill(part.pid, signal.SIGSTOP)
        try:
            assert get(f"{app}/item/1") == wanted
        finally:
            os.kill(part.pid, signal.SIGCONT)
        assert [get(f"{app}/item/{n}")[0] for n in range(2 * POOL)] == [200] * (2 * POOL)
        assert json.loads(get(f"{app}/connections")[1]) == {"opened": POOL}


def test_an_unknown_page_is_not_found() -> None:
    needs("redis")
    with PARTS["redis"].start() as part, running_app("redis", part.address) as app:
        assert get(f"{app}/item/one")[0] == 404


def test_no_database_ends_it_at_once() -> None:
    with pytest.raises(RuntimeError, match="pooled application did not start"):
        with running_app("redis", "127.0.0.1:1"):
            pass
