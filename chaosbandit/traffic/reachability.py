"""Whether a URL's address takes connections at all, told so that an operator knows what to fix.

It opens a connection (and TLS) and closes it again: no request is sent, nothing is measured.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from urllib.parse import urlsplit

from chaosbandit.core.url_template import example
from chaosbandit.errors import HarnessError, TargetError
from chaosbandit.machine_shortage import is_shortage


async def reachable(url: str, timeout_s: float) -> None:
    """Connect to the URL's host and port, with TLS for https, and hang up.

    Raises:
        TargetError: not a URL, unresolvable host, refused, time-out or TLS failure, told apart.
        HarnessError: this machine has nothing left to connect with.
    """
    host, port, secure = _parts(url)
    doing = f"resolving {host}"
    try:
        async with asyncio.timeout(timeout_s):
            addresses = await _resolve(url, host, port)
            doing = f"connecting to {host}:{port}"
            await _connect(addresses, port, ssl.create_default_context() if secure else None, host)
    except TimeoutError:
        raise TargetError(
            f"no answer within {timeout_s:g} s while {doing}",
            wanted="a connection",
            do="check that the host is up and that no firewall drops packets on the way",
            where=url,
        ) from None
    except ssl.SSLError as error:
        raise TargetError(
            f"a TLS failure at {host}:{port} ({_reason(error)})",
            wanted=f"a certificate valid for {host}",
            do="check the scheme and the certificate, or name your own authority in SSL_CERT_FILE",
            where=url,
        ) from None
    except ConnectionRefusedError:
        raise TargetError(
            f"the connection to {host}:{port} refused",
            wanted="a listening service",
            do="start it or correct the port",
            where=url,
        ) from None
    except OSError as error:
        if is_shortage(error):
            raise HarnessError(
                f"nothing left on this machine to connect with ({_reason(error)})",
                wanted="file descriptors and local ports",
                do="raise `ulimit -n`, or end what holds them",
                where=url,
            ) from None
        raise TargetError(
            f"no connection to {host}:{port} ({error})",
            wanted="a listening service",
            do="check address and route from this machine",
            where=url,
        ) from None


async def _resolve(url: str, host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        if isinstance(error, OSError) and is_shortage(error):
            raise
        raise TargetError(
            f"no address for host {host} ({_reason(error)})",
            wanted="a name this machine can resolve",
            do="correct the name or the resolver",
            where=url,
        ) from None
    return [str(address[0]) for *_, address in found]


async def _connect(addresses: list[str], port: int, tls: ssl.SSLContext | None, host: str) -> None:
    """Try each address in turn and raise the last one's error, or at once a shortage of ours."""
    for number, address in enumerate(addresses, start=1):
        try:
            _, writer = await asyncio.open_connection(
                address, port, ssl=tls, server_hostname=host if tls else None
            )
        except OSError as error:
            if number == len(addresses) or is_shortage(error):
                raise
        else:
            writer.transport.abort()  # no TLS farewell: the peer may never answer it
            return


def _parts(url: str) -> tuple[str, int, bool]:
    try:
        parts = urlsplit(example(url))
        secure = {"http": False, "https": True}[parts.scheme]
        port = parts.port or (443 if secure else 80)
    except (KeyError, ValueError):
        raise TargetError(
            f"URL {url}", wanted="http:// or https://, a host and a port", do="correct it"
        ) from None
    if not parts.hostname:
        raise TargetError(f"URL {url} without a host", wanted="one", do="add it") from None
    return parts.hostname, port, secure


def _reason(error: Exception) -> str:
    return str(getattr(error, "verify_message", "") or getattr(error, "strerror", "") or error)
