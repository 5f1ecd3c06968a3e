"""Addresses as people write them: `host:port`, URLs, HTTP header fields.

Readers like those of `quantities`: what they raise never repeats what was found.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from chaosbandit.core.scenario import EMBEDDED
from chaosbandit.core.url_template import PLACEHOLDER, wrong_range
from chaosbandit.faults.fault import Bypass
from chaosbandit.scenario.quantities import WantedError, text

HOST_PORT_PATTERN = r"^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$"
URL_PATTERN = r"^https?://.+$"
LONGEST_URL = 4096

A_HOST_PORT = "host:port, such as 127.0.0.1:9001"
A_BYPASS = "a URL to POST to, or a command as a list such as [/usr/local/bin/route-around, now]"
A_URL = "an http or https URL, such as http://127.0.0.1:8080/product/{n}"
_FRAMING = frozenset({
    "connection", "content-length", "expect", "keep-alive", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff\t]*[\x21-\x7e\x80-\xff])?")


def host_port(value: object) -> str:
    """A TCP address, `host:port` or `[v6]:port`, with a port 1..65535."""
    if isinstance(value, int) and not isinstance(value, bool):
        raise WantedError(f"{A_HOST_PORT}: a port alone may be anybody's")
    found = text(value)
    if len(found) <= 300 and re.fullmatch(HOST_PORT_PATTERN[1:-1], found):
        port = int(found.rpartition(":")[2])
        if 1 <= port <= 65535:
            return found
        raise WantedError("host:port with a port from 1 to 65535")
    raise WantedError(f"{A_HOST_PORT} (no scheme, no path)")


def url(value: object) -> str:
    """A URL of one fixed address."""
    _split(value)
    if "{" in text(value) or "}" in text(value):
        raise WantedError("a URL without { and }")
    return text(value)


def numbered_url(value: object) -> str:
    """A URL in whose path or query placeholders differ from sample to sample."""
    parts = _split(value)
    rest = PLACEHOLDER.sub("", f"{parts.path}?{parts.query}")
    if "{" in parts.netloc or "}" in parts.netloc or "{" in rest or "}" in rest:
        raise WantedError(
            "a URL with no other braces than {n} (counts on), {n:1..8} (one of these) and {uuid}, "
            "and these in its path or query only"
        )
    if wrong_range(text(value)):
        raise WantedError("a range with the lower end first, such as {n:1..8}")
    return text(value)


def toxiproxy(value: object) -> str:
    """The URL of a Toxiproxy API, or `embedded`."""
    if value == EMBEDDED:
        return EMBEDDED
    if not isinstance(value, str) or "://" not in value:
        raise WantedError(
            f"the URL of a Toxiproxy API, as in `toxiproxy: http://127.0.0.1:8474`, or {EMBEDDED}"
        )
    return url(value).rstrip("/")


def header_name(value: object) -> str:
    """The name of an HTTP header field."""
    if not isinstance(value, str) or not _HEADER_NAME.fullmatch(value):
        raise WantedError("the name of an HTTP header: letters, digits and -")
    if value.lower() in _FRAMING:
        raise WantedError("another header: how requests are framed is not for scenarios to say")
    return value


def header_value(value: object) -> str:
    """The value of an HTTP header field: one line."""
    found = text(value)
    if not _HEADER_VALUE.fullmatch(found):
        raise WantedError("one line of printable text, with no space at either end")
    return found


def freeze(value: object) -> str:
    """A kill switch: the absolute path of a file, or a URL."""
    found = text(value)
    if found.startswith("/"):
        if len(found) > LONGEST_URL or not found.isprintable():
            raise WantedError(f"a path of at most {LONGEST_URL} printable characters")
        return found
    if "://" not in found:
        raise WantedError("the absolute path of a file, such as /etc/chaosbandit/freeze, or a URL")
    return url(found)


def bypass(value: object) -> Bypass:
    """A URL, or a command as a list: an absolute path and its arguments, run without a shell."""
    if not isinstance(value, list):
        if isinstance(value, str) and "://" not in value:
            raise WantedError(A_BYPASS + " (a command is a list of words: there is no shell)")
        return url(value)
    words = tuple(text(word) for word in value)
    if not words or len(words) > 100:
        raise WantedError(A_BYPASS)
    if not words[0].startswith("/"):
        raise WantedError(A_BYPASS + " (its first word is an absolute path: nothing is looked up)")
    if any(len(word) > LONGEST_URL for word in words):
        raise WantedError(f"words of at most {LONGEST_URL} characters")
    return words


def _split(value: object) -> SplitResult:
    found = text(value)
    try:
        parts = urlsplit(found)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise WantedError(A_URL + " (host or port cannot be read)") from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise WantedError(A_URL)
    if "@" in parts.netloc:
        raise WantedError("a URL without user:password@; put credentials into traffic.headers")
    if parts.fragment or "#" in found:
        raise WantedError("a URL without #fragment: it is never sent")
    # urlsplit drops tabs and line ends, so look at what was written.
    if len(found) > LONGEST_URL or not found.isprintable() or " " in found:
        raise WantedError(f"a URL of at most {LONGEST_URL} printable characters, without spaces")
    return parts
