"""Puts fault points into a run from outside: the product has no hooks of its own for this.

    record    what safety and store do to files, before and after each system call
    watchdog  starting it, and each message to and from it
    api       each call to a server, before and after, where it is sent but not yet answered, and
              each pause between two calls
    await     each suspension of every task that runs the product's code

Files, sockets and processes are hooked where the standard library makes the call, so new code in
the product is found by itself; only the one door to the API is named, and must be there. What a
call does is part of its site, so each step of an undoing is a point of its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import http.client
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from chaosbandit.faults.names import parse
from chaosbandit.toxiproxy.calls import Calls, Pending, Reply
from tests.faultpoints.points import Striker, stack_awaiting, stack_of

FILE_CALLS = ("open", "write", "fsync", "replace", "rename", "unlink", "ftruncate", "mkdir")
_RECORDS = ("safety/", "store/")
_DOOR = ("toxiproxy/calls", "toxiproxy/deadline_connection", "toxiproxy/sending")  # not who asks
_Concerns = Callable[[str], bool]
_asked = threading.local()  # `step`: what the call does whose answer this thread reads


def install(striker: Striker) -> None:
    """Hook this process, which is not used for anything else afterwards."""
    for name in FILE_CALLS:
        _hook(striker, os, name, "record", lambda site: site.startswith(_RECORDS))
    _hook(striker, subprocess.Popen, "__init__", "watchdog", lambda s: s.startswith("safety/"))
    for name in ("send", "recv"):
        _hook(striker, socket.socket, name, "watchdog", lambda s: s.startswith("safety/watch"))
    _hook_calls(striker)
    _hook_sent(striker)
    _hook_pauses(striker)
    _hook_awaits(striker)


def _hook(striker: Striker, owner: Any, name: str, kind: str, concerns: _Concerns) -> None:
    real = getattr(owner, name)

    @functools.wraps(real)
    def hooked(*arguments: Any, **options: Any) -> Any:
        site = stack_of(sys._getframe(1))
        changes = name != "open" or arguments[1] & os.O_CREAT
        if not (changes and concerns(site)):
            return real(*arguments, **options)
        striker.point(kind, f"before {name}: {site}")
        result = real(*arguments, **options)
        striker.point(kind, f"after {name}: {site}")
        return result

    setattr(owner, name, hooked)


# --- calls to a server ----------------------------------------------------------------------------


def _hook_calls(striker: Striker) -> None:
    """A call that is sent ahead has its answer read later, perhaps after others."""
    real_call, real_begin = Calls.call, Calls.begin

    def call(
        calls: Calls, method: str, path: str, body: object = None, *args: Any, **options: Any
    ) -> Reply:
        step = _asked.step = _step(method, path, body)
        site = _asker(sys._getframe(1))
        striker.point("api", f"before {step}: {site}")
        reply = real_call(calls, method, path, body, *args, **options)
        striker.point("api", f"after {step}: {site}")
        return reply

    def begin(
        calls: Calls, method: str, path: str, body: object = None, *args: Any, **options: Any
    ) -> Pending:
        step = _asked.step = _step(method, path, body)
        site = _asker(sys._getframe(1))
        striker.point("api", f"before {step}: {site}")
        pending = real_begin(calls, method, path, body, *args, **options)
        striker.point("api", f"sent ahead {step}: {site}")
        read = pending._read

        def read_later(until_s: float) -> Reply:
            _asked.step = step
            reply = read(until_s)
            striker.point("api", f"after {step}: {site}")
            return reply

        pending._read = read_later
        return pending

    Calls.call, Calls.begin = call, begin  # type: ignore[method-assign, assignment]


def _hook_sent(striker: Striker) -> None:
    real = http.client.HTTPConnection.getresponse

    def getresponse(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        site = _asker(sys._getframe(1))
        if site:
            striker.point("api", f"sent {_asked.step}: {site}")
        return real(connection)

    http.client.HTTPConnection.getresponse = getresponse  # type: ignore[assignment,method-assign]


def _hook_pauses(striker: Striker) -> None:
    real = Calls.wait

    def wait(calls: Calls, duration_s: float) -> None:
        if duration_s > 0:
            striker.point("api", f"pausing: {_asker(sys._getframe(1))}")
        real(calls, duration_s)

    Calls.wait = wait  # type: ignore[method-assign, assignment]


def _asker(frame: Any) -> str:
    return stack_of(frame, _DOOR)


def _step(method: str, path: str, body: object) -> str:
    """What a call does, the same for every run: `POST /proxies/inventory/toxics/cb soft`."""
    said = body if isinstance(body, Mapping) else {}
    attributes = said.get("attributes")
    given = attributes if isinstance(attributes, Mapping) else said
    words = [f"{key}={given[key]}" for key in ("name", "enabled") if key in given]
    soft = ["soft"] if "latency" in given and given["latency"] == 0 else []
    place = "/".join(map(_kind, path.split("/")))
    return " ".join((method, place, *map(_kind, words), *soft))


def _kind(word: str) -> str:
    """A name of ours without what differs from run to run."""
    key, _, value = word.rpartition("=")
    name = parse(value)
    return word if name is None else f"{key}={name.kind}" if key else str(name.kind)


# --- await points ---------------------------------------------------------------------------------


class Stepped(Coroutine[Any, Any, Any]):
    """A coroutine that passes a point whenever it is suspended."""

    def __init__(self, inner: Any, striker: Striker) -> None:
        self._inner = inner
        self._striker = striker

    def send(self, value: Any) -> Any:
        waited_for = self._inner.send(value)
        self._pass()
        return waited_for

    def throw(self, *error: Any) -> Any:
        waited_for = self._inner.throw(*error)
        self._pass()
        return waited_for

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Any:
        return self._inner.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)  # `cr_frame` and the like, which libraries look at

    def _pass(self) -> None:
        site = stack_awaiting(self._inner)
        if site:
            self._striker.point("await", site)


def _hook_awaits(striker: Striker) -> None:
    def task(
        loop: asyncio.AbstractEventLoop,
        work: Any,
        *,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[Any]:
        stepped = Stepped(work, striker) if asyncio.iscoroutine(work) else work
        return asyncio.Task(stepped, loop=loop, context=context)

    def run(main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner() as runner:
            runner.get_loop().set_task_factory(task)
            return runner.run(main)

    asyncio.run = run  # type: ignore[assignment]
