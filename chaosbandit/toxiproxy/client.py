"""Asynchronous client of a Toxiproxy server's HTTP API, for what toxiproxy-python lacks.

That package can neither update a proxy or a toxic nor read one of them alone, and its `create`
lists every proxy first, which a single frozen one can block. Each call here is one request with one
deadline for the whole answer. This module knows nothing of faults, runs or who owns a proxy.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import quote

import httpx

from chaosbandit.errors import ToxiproxyError
from chaosbandit.toxiproxy.answers import (
    read_proxy,
    read_toxic,
    refused,
    strange,
    unanswered,
    unreached,
)
from chaosbandit.toxiproxy.wire import ProxyRecord, ToxicRecord

DEADLINE_S = 2.5
"""Longest wait for one answer: well below the 25 s after which a frozen real server says 503."""


class ToxiproxyClient:
    """One server's API; keeps no connection open, so it may be used from any event loop."""

    def __init__(self, url: str, deadline_s: float = DEADLINE_S) -> None:
        self.url = url.rstrip("/")
        self._deadline_s = deadline_s

    async def version(self) -> str:
        """The version the server states."""
        answer = await self._call("GET", "/version")
        if not isinstance(answer, dict) or not isinstance(answer.get("version"), str):
            raise self._strange("/version", answer)
        return str(answer["version"])

    async def proxies(self) -> dict[str, ProxyRecord]:
        """Every proxy with its toxics, in one request."""
        answer = await self._call("GET", "/proxies")
        if not isinstance(answer, dict):
            raise self._strange("/proxies", answer)
        return {name: self._proxy(value) for name, value in answer.items()}

    async def proxy(self, name: str) -> ProxyRecord | None:
        """One proxy with its toxics, or None where there is none of that name."""
        try:
            return self._proxy(await self._call("GET", _path(name)))
        except ToxiproxyError as error:
            if _is_unknown(error, "proxy not found"):
                return None
            raise

    async def create(
        self, name: str, listen: str, upstream: str, *, enabled: bool = True
    ) -> ProxyRecord:
        """Create a proxy without listing the others first."""
        body = {"name": name, "listen": listen, "upstream": upstream, "enabled": enabled}
        return self._proxy(await self._call("POST", "/proxies", body))

    async def update_proxy(
        self,
        name: str,
        *,
        listen: str | None = None,
        upstream: str | None = None,
        enabled: bool | None = None,
    ) -> ProxyRecord:
        """Change what is given; a new listen or upstream drops every live connection."""
        wanted = {"listen": listen, "upstream": upstream, "enabled": enabled}
        body = {key: value for key, value in wanted.items() if value is not None}
        return self._proxy(await self._call("POST", _path(name), body))

    async def toxic(self, proxy: str, name: str) -> ToxicRecord | None:
        """One toxic, or None where the proxy or the toxic does not exist."""
        try:
            return self._toxic(await self._call("GET", _path(proxy, name)))
        except ToxiproxyError as error:
            if _is_unknown(error, "proxy not found", "toxic not found"):
                return None
            raise

    async def update_toxic(
        self,
        proxy: str,
        name: str,
        attributes: Mapping[str, int] | None = None,
        toxicity: float | None = None,
    ) -> ToxicRecord:
        """Change a toxic; live connections draw anew, and a real server under load can freeze."""
        body: dict[str, Any] = {"attributes": dict(attributes or {})}
        if toxicity is not None:
            body["toxicity"] = toxicity
        return self._toxic(await self._call("POST", _path(proxy, name), body))

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            async with asyncio.timeout(self._deadline_s):
                async with httpx.AsyncClient(
                    base_url=self.url,
                    trust_env=False,
                    timeout=self._deadline_s,
                    verify=_no_tls(),
                ) as http:
                    response = await http.request(method, path, json=body)
        except (TimeoutError, httpx.TimeoutException):
            raise unanswered(self.url, f"{method} {path}", self._deadline_s) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise unreached(self.url, f"{method} {path}", error) from error
        if not response.is_success:
            raise refused(self.url, f"{method} {path}", response.status_code, response.content)
        try:
            return response.json()
        except ValueError:
            raise self._strange(path, response.content[:80]) from None

    def _proxy(self, value: Any) -> ProxyRecord:
        try:
            return read_proxy(value)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._strange("a proxy", value) from None

    def _toxic(self, value: Any) -> ToxicRecord:
        try:
            return read_toxic(value)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._strange("a toxic", value) from None

    def _strange(self, what: str, found: object) -> ToxiproxyError:
        return strange(self.url, f"asked for {what}: {str(found)[:80]!r}")


def _is_unknown(error: ToxiproxyError, *words: str) -> bool:
    """Whether Toxiproxy itself says so: a 404 of what stands in front of it proves nothing."""
    return error.status == 404 and any(each in str(error) for each in words)


def _path(proxy: str, toxic: str | None = None) -> str:
    path = f"/proxies/{quote(proxy, safe='')}"
    return path if toxic is None else f"{path}/toxics/{quote(toxic, safe='')}"


@cache
def _no_tls() -> ssl.SSLContext:
    """Toxiproxy speaks plain HTTP; loading certificates for each client would cost 20 ms."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
