"""How checks ask: one HTTP request, its answer and its times; none outlasts its deadline."""

from __future__ import annotations

import asyncio
import email.utils
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

_BODY_LIMIT_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer and when it was asked for and begun, by this machine's clock."""

    status: int
    text: str
    date_epoch_s: float | None  # what the server's own clock said, in whole seconds
    asked_epoch_s: float
    answered_epoch_s: float


async def ask(url: str, within_s: float, headers: Mapping[str, str] | None = None) -> Answer:
    """One GET, with no proxies of the environment and no redirects followed.

    Raises:
        TimeoutError, httpx.HTTPError: no whole answer.
    """
    verify = ssl.create_default_context() if url.startswith("https:") else _no_tls()
    async with asyncio.timeout(within_s):
        async with httpx.AsyncClient(trust_env=False, timeout=within_s, verify=verify) as http:
            asked_s = time.time()
            async with http.stream("GET", url, headers=dict(headers or {})) as response:
                answered_s = time.time()
                body = b""
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) >= _BODY_LIMIT_BYTES:
                        break
    date_s = _epoch_s(response.headers.get("Date"))
    text = body.decode(errors="replace")
    return Answer(response.status_code, text, date_s, asked_s, answered_s)


def _epoch_s(date: str | None) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, OverflowError, TypeError, IndexError, RecursionError):  # no date at all
        return None


def _no_tls() -> ssl.SSLContext:
    """For plain HTTP; loading certificates would cost 20 ms."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
