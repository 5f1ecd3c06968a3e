"""The one module that touches toxiproxy-python; it makes that package safe to call from a run.

The package keeps its server in class attributes, waits for ever, obeys proxy variables of the
environment and stumbles over every status it does not expect. Here its `requests` is ours while a
call of ours is under way in this thread: what it sends goes through the one door, `Calls`, to that
one's server and within its deadline. Other users of the package in the same process notice nothing.

    toxiproxy-python --> _Requests --> Calls --> this server
"""

from __future__ import annotations

import json as json_text
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from chaosbandit.faults.fault import Toxic
from chaosbandit.foreign_text import said
from chaosbandit.toxiproxy.calls import CALL_S, Calls, Reply
from chaosbandit.toxiproxy.listing import StrangeError

_VERSION = 60  # characters of what a server states as its version


class RefusedError(Exception):
    """The server answered, and not with success; it said why."""

    def __init__(self, call: str, reply: Reply) -> None:
        self.status = reply.status
        super().__init__(f"{call} was answered {reply.said()}")


def version(calls: Calls, within_s: float = CALL_S) -> str:
    """The version the server states.

    Raises:
        UnansweredError, RefusedError, StrangeError: as all calls here.
    """
    with _sending(calls, within_s) as package:
        return said(package.api.APIConsumer.get("/version").json()["version"], _VERSION)


def create(calls: Calls, name: str, listen: str, upstream: str, within_s: float = CALL_S) -> None:
    """Create a proxy that listens at once; where the name is taken the error's status is 409."""
    body = {"name": name, "listen": listen, "upstream": upstream, "enabled": True}
    with _sending(calls, within_s) as package:  # its own `create` lists every proxy first
        package.api.APIConsumer.post("/proxies", json=body).json()


def add_toxic(calls: Calls, proxy: str, toxic: Toxic, within_s: float = CALL_S) -> None:
    """Add a toxic at the end of its direction's chain."""
    with _sending(calls, within_s) as package:
        _proxy(package, proxy).add_toxic(
            type=toxic.type,
            name=toxic.name,
            stream=toxic.stream,
            toxicity=toxic.toxicity,
            attributes=dict(toxic.attributes),
        )


def destroy(calls: Calls, name: str, within_s: float = CALL_S) -> None:
    """Delete a proxy."""
    with _sending(calls, within_s) as package:
        _proxy(package, name).destroy()


def _proxy(package: Any, name: str) -> Any:
    # Made here instead of fetched: the package's own look-up lists every proxy of the server.
    return package.Proxy(name=quote(name, safe=""), upstream="", listen="", enabled=False)


class _Answer:
    """What the package expects of `requests`."""

    def __init__(self, reply: Reply) -> None:
        self.status_code = reply.status
        self.content = reply.text.encode()
        self._text = reply.text

    def json(self) -> Any:
        """The JSON value in the body."""
        return json_text.loads(self._text)


class _Requests:
    """Stands where the package has its `requests`; threads that send nothing of ours get that."""

    def __init__(self) -> None:
        self.local = threading.local()

    def __getattr__(self, name: str) -> Any:
        calls: Calls | None = getattr(self.local, "calls", None)
        if calls is None or name not in ("get", "post", "delete"):
            return getattr(requests, name)
        return lambda url, **options: self._send(calls, name.upper(), url, options)

    def _send(self, calls: Calls, method: str, url: str, options: Mapping[str, Any]) -> _Answer:
        path = urlsplit(url).path
        reply = calls.call(method, path, options.get("json"), self.local.within_s)
        if not 200 <= reply.status < 300:
            raise RefusedError(f"{method} {path}", reply)
        return _Answer(reply)


_REQUESTS = _Requests()


@contextmanager
def _sending(calls: Calls, within_s: float) -> Iterator[Any]:
    """The package, sending through `calls` from this thread."""
    package, local = _package(), _REQUESTS.local
    local.calls, local.within_s = calls, within_s
    try:
        yield package
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        # It lets any type out when an answer is not what it expects.
        raise StrangeError(f"its answer ended in {type(error).__name__}: {said(error)}") from error
    finally:
        local.calls = None


@cache
def _package() -> Any:
    """toxiproxy-python, imported when first needed."""
    import toxiproxy
    import toxiproxy.api

    toxiproxy.api.requests = _REQUESTS
    return toxiproxy
