"""Servers that answer without end, or with what breaks parsers: a sentence, soon, and no memory."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from tests.toxiproxy.misbehaving import Converse, Guest, answer, misbehaving

pytestmark = pytest.mark.e2e

MOST_KB = 400_000  # of memory: 'doctor' alone takes 150 MB
SOON_S = 60.0
HOSTILE = "\x1b[31m\x1b]0;owned\x07\u202e\u2066evil\x00\x9b2J"
SCENARIO = """\
version: 1
name: hostile
toxiproxy: {api}
topology: canary
proxies:
  inventory: {{upstream: "127.0.0.1:11", listen: "127.0.0.1:12"}}
traffic: {{url: "{target}/a", control_url: "{target}/b", rate: 20/s, timeout: 1s}}
slos: [{{name: available, good: status in 2xx, objective: 90%}}]
budget: {{requests: 2_000_000}}
ladders: [{{name: slow, proxy: inventory, toxic: latency, from: 100ms, to: 1s}}]
guardrails: {{freeze: ["{target}/freeze"]}}
"""


@cache
def bomb() -> bytes:
    """A gigabyte of zeros in a megabyte."""
    once = gzip.compress(bytes(1 << 26), 9)
    return once * 16  # members follow each other


def forever(head: bytes, piece: bytes) -> Converse:
    """The same again and again, as fast as it is read."""

    def converse(guest: Guest) -> None:
        guest.request()
        guest.send(head)
        with suppress(OSError):
            while not guest.done.is_set():
                guest.send(piece)

    return converse


def always_raw(reply: Callable[[], bytes]) -> Converse:
    def converse(guest: Guest) -> None:
        while guest.request():
            guest.send(reply())

    return converse


def as_version(text: str) -> Converse:
    """A Toxiproxy with these proxies, as far as it answers at all."""

    def converse(guest: Guest) -> None:
        while request := guest.request():
            wanted = b'{"version": "2.12.0"}' if b"/version" in request else text.encode()
            guest.send(answer(wanted))

    return converse


def proxy_of_ours(name: str) -> dict[str, object]:
    """A proxy of that name with a toxic of a dead run and one of somebody else."""
    place = {"name": name, "listen": "127.0.0.1:12" + HOSTILE, "upstream": HOSTILE}
    toxic = {"type": "latency", "stream": "upstream", "toxicity": 1, "attributes": {"latency": 1}}
    toxics = [{"name": "cb.abcd2345.1700000000.1", **toxic}, {"name": name, **toxic}]
    return {each: {**place, "enabled": True, "toxics": toxics} for each in (name, "inventory")}


OK = b"HTTP/1.1 200 OK\r\n"
CHUNK = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
PROXY = '{"p": {"name": "p", "listen": "l:1", "upstream": "u:1", "enabled": true, "toxics": %s}}'
TOXIC = '[{"name": "t", "type": "latency", "stream": "x", "toxicity": %s, "attributes": %s}]'
SERVERS: Mapping[str, Converse] = {
    "nested": always_raw(lambda: answer(b"[" * 400_000 + b"]" * 400_000)),
    "nested version": always_raw(
        lambda: answer(b'{"version":' + b"[" * 900 + b"]" * 900 + b',"error":"x"}')
    ),
    "nested proxies": as_version(PROXY % ("[" * 980 + "]" * 980)),
    "deeply nested proxies": as_version('{"p":' + "[" * 400_000 + "]" * 400_000 + "}"),
    "huge number": always_raw(lambda: answer(b'{"version": ' + b"9" * 500_000 + b"}")),
    "huge attribute": as_version(PROXY % (TOXIC % ("1e999", '{"latency": %s}' % ("9" * 4200)))),
    "not a number": as_version(PROXY % (TOXIC % ("NaN", '{"latency": NaN}'))),
    "bomb": always_raw(
        lambda: (
            OK
            + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb())
            + bomb()
        )
    ),
    "endless": forever(OK + b"Transfer-Encoding: chunked\r\n\r\n", CHUNK),
    "endless headers": forever(OK, b"X-%s: y\r\n" % (b"x" * 500) * 100),
    "endless line": forever(OK + b"X: ", b"y" * (1 << 16)),
    "endless continue": forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "control": always_raw(
        lambda: answer({"version": f"2.12{HOSTILE}", "error": HOSTILE})
    ),
    "control status": always_raw(lambda: f"HTTP/1.1 200 {HOSTILE}\r\n\r\n".encode()),
    "control proxies": as_version(json.dumps(proxy_of_ours(f"p{HOSTILE}{'x' * 9999}"))),
    "odd date": always_raw(
        lambda: b"HTTP/1.1 200 OK\r\nDate: Mon, 99 Jan 99999999999999 99:99:99 +9999\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    ),
}  # fmt: skip


def ended(state: Path, *arguments: object) -> tuple[int, str, int, float]:
    """Exit code, all that was said, kilobytes of memory at most, and seconds."""
    began_s = time.monotonic()
    out = state / "said"
    with out.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "chaosbandit", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, "XDG_STATE_HOME": str(state)},
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    said = out.read_text(errors="surrogateescape")
    return process.returncode, said, usage.ru_maxrss, time.monotonic() - began_s


@pytest.fixture(scope="module", params=list(SERVERS))
def hostile(request: pytest.FixtureRequest) -> Iterator[str]:
    with misbehaving(SERVERS[request.param]) as server:
        yield server.url


def is_a_sentence(found: tuple[int, str, int, float], *codes: int) -> None:
    code, said, most_kb, took_s = found
    assert "Traceback" not in said
    assert "internal error" not in said, said[:2000]
    assert code in codes, said[:2000]
    assert all(c.isprintable() or c in "\n" for c in said)
    told = [line for line in said.splitlines() if "curl " not in line]  # which need whole names
    assert max(map(len, told)) < 2500
    assert most_kb < MOST_KB
    assert took_s < SOON_S


def test_doctor(hostile: str, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(SCENARIO.format(api=hostile, target=hostile))
    is_a_sentence(ended(tmp_path, "doctor", file), 0, 6)


def test_run(hostile: str, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(SCENARIO.format(api=hostile, target=hostile))
    is_a_sentence(ended(tmp_path, "run", file), 5, 6)


def test_clean(hostile: str, tmp_path: Path) -> None:
    is_a_sentence(ended(tmp_path, "clean", "--toxiproxy", hostile), 0, 7)
