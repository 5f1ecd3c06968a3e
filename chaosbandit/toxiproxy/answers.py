"""What a Toxiproxy server answers, read into records or into errors an operator can act on.

Servers refuse, freeze and hang, and what listens at an address need not be Toxiproxy at all; each
case gets its sentence here. Nothing is sent from here.
"""

from __future__ import annotations

import json
from typing import Any

from chaosbandit.errors import ToxiproxyError
from chaosbandit.toxiproxy.wire import ProxyRecord, ToxicRecord


def read_proxy(value: Any) -> ProxyRecord:
    """A proxy as a server shows it.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is not one.
    """
    name, listen, upstream = (value[key] for key in ("name", "listen", "upstream"))
    enabled = value["enabled"]
    if not isinstance(enabled, bool) or not all(
        isinstance(t, str) for t in (name, listen, upstream)
    ):
        raise TypeError(value)
    return ProxyRecord(name, listen, upstream, enabled, tuple(map(read_toxic, value["toxics"])))


def read_toxic(value: Any) -> ToxicRecord:
    """A toxic as a server shows it; raises like `read_proxy`."""
    name, type_, stream = (str(value[key]) for key in ("name", "type", "stream"))
    attributes = {str(key): int(number) for key, number in value["attributes"].items()}
    return ToxicRecord(name, type_, stream, float(value["toxicity"]), attributes)


def refused(url: str, call: str, status: int, body: bytes) -> ToxiproxyError:
    """The error for an answer other than success; Toxiproxy's own text where it gave one."""
    text = body.decode(errors="replace").strip()
    try:
        text = str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        text = text[:200]
    if not text and status == 503:
        text = "no text; a proxy with a stuck connection has frozen it, deleting that proxy helps"
    return ToxiproxyError(
        f"Toxiproxy at {url} answered {call} with {status}: {text or 'no text'}", status
    )


def unanswered(url: str, call: str, deadline_s: float) -> ToxiproxyError:
    """The error for an answer that did not come, or not to its end, in time."""
    return ToxiproxyError(
        f"Toxiproxy at {url} did not answer `{call}` within {deadline_s:g} s; it hangs or is frozen"
    )


def unreached(url: str, call: str, error: Exception) -> ToxiproxyError:
    """The error for a connection that failed."""
    return ToxiproxyError(
        f"{call} failed at {url}: {_root_of(error)}; is a Toxiproxy server running there?"
    )


def _root_of(error: Exception) -> str:
    """The system's own words, where HTTP libraries have wrapped them in theirs."""
    reason, cause = str(error) or type(error).__name__, _behind(error)
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            reason = cause.strerror
        cause = _behind(cause)
    return reason


def _behind(error: BaseException) -> BaseException | None:
    return error.__cause__ or error.__context__


def strange(url: str, what: str) -> ToxiproxyError:
    """The error for a success that does not mean anything."""
    return ToxiproxyError(f"what runs at {url} does not speak Toxiproxy's API, {what}")
