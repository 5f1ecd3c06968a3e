"""Puts fault points into a run from outside: the product has no hooks of its own for this.

    record    what safety and store do to files, before and after each system call
    watchdog  starting it, and each message to and from it
    api       each API call, before and after, and where it is sent but not yet answered
    await     each suspension of every task that runs the product's code

Files, sockets and processes are hooked where the standard library makes the call, so new code in
the product is found by itself; only the three API clients are named, and must be there.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import http.client
import importlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from tests.faultpoints.points import Striker, stack_awaiting, stack_of

FILE_CALLS = ("open", "write", "fsync", "replace", "rename", "unlink", "ftruncate", "mkdir")
API_CALLS = (
    "chaosbandit.toxiproxy.adapter:_Call.send",
    "chaosbandit.toxiproxy.client:ToxiproxyClient._call",
    "chaosbandit.safety.control:Control.call",
)
_RECORDS = ("safety/", "store/")
_API = ("safety/control", "safety/lease", "toxiproxy/")
_Concerns = Callable[[str], bool]


def install(striker: Striker) -> None:
    """Hook this process, which is not used for anything else afterwards."""
    for name in FILE_CALLS:
        _hook(striker, os, name, "record", lambda site: site.startswith(_RECORDS))
    _hook(striker, subprocess.Popen, "__init__", "watchdog", lambda s: s.startswith("safety/"))
    for name in ("sendall", "recv"):
        _hook(striker, socket.socket, name, "watchdog", lambda s: s.startswith("safety/watch"))
    _hook_sent(striker)
    for place in API_CALLS:
        _hook_api_call(striker, place)
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


def _hook_sent(striker: Striker) -> None:
    real = http.client.HTTPConnection.getresponse

    def getresponse(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        site = stack_of(sys._getframe(1))
        if site.startswith(_API):
            striker.point("api", f"sent: {site}")
        return real(connection)

    http.client.HTTPConnection.getresponse = getresponse  # type: ignore[assignment,method-assign]


def _hook_api_call(striker: Striker, place: str) -> None:
    module, _, names = place.partition(":")
    owner_name, _, name = names.partition(".")
    owner = getattr(importlib.import_module(module), owner_name, None)
    if not hasattr(owner, name):
        raise LookupError(f"{place} is gone: say in {__file__} what calls the API instead")
    real = getattr(owner, name)
    if not asyncio.iscoroutinefunction(real):
        _hook(striker, owner, name, "api", bool)
        return

    @functools.wraps(real)
    async def hooked(*arguments: Any, **options: Any) -> Any:
        site = stack_of(sys._getframe(1))
        striker.point("api", f"before {name}: {site}")
        result = await real(*arguments, **options)
        striker.point("api", f"after {name}: {site}")
        return result

    setattr(owner, name, hooked)


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
