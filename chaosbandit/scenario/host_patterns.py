"""Which hosts an entry of `allow` or `protect` means: names, wildcards, addresses and networks.

Hosts are compared as they may be asked for, in old and new IDNA; no name is resolved here.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chaosbandit.scenario.quantities import WantedError, text

A_PATTERN = (
    "a host or network, such as staging.example.com, *.example.com, 10.0.0.0/8 or [::1]:8474"
)
_EVERYTHING = (
    "hosts or networks: this one means every machine (for one run there is --yes, and to stop "
    "all runs there is `freeze`)"
)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")  # read as an IPv4 address by some

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Pattern:
    """One entry of `allow` or `protect`: a name or a network, on one port or on all."""

    text: str  # as it was written
    file: Path
    name: str | None = None  # ASCII, lower case; `*.example.com` are all names below it
    network: _Network | None = None
    port: int | None = None

    def names(self, spelling: str) -> bool:
        """Whether it means the host of that spelling."""
        if self.name is not None and self.name.startswith("*."):
            return spelling.endswith(self.name[1:])
        return spelling == self.name

    def holds(self, address: _Address) -> bool:
        """Whether it means that address."""
        return self.network is not None and address in self.network


def spellings(host: str) -> tuple[str, ...]:
    """The ASCII names a host may be asked for by: two where old and new IDNA differ, as for ß."""
    plain = unicodedata.normalize("NFKC", host.lower()).lower().replace("\u3002", ".").rstrip(".")
    spelled = []
    for encode in (_new_idna, _old_idna):
        try:
            spelled.append(encode(plain))
        except UnicodeError:  # no name in this IDNA
            continue
    return tuple(dict.fromkeys(spelled)) or (plain,)


def pattern(value: object, file: Path) -> Pattern:
    """A reader of the entries of `allow` and `protect`, like those of `quantities`.

    Raises:
        WantedError: it is neither a host nor a network, or it means every machine.
    """
    written = text(value)
    host, port = _host_and_port(written)
    if host == "*":
        raise WantedError(_EVERYTHING)
    names = spellings(host)
    if "/" in host or ":" in host or _NUMERIC.fullmatch(names[0]):
        return Pattern(written, file, network=_network(host), port=port)
    if len(names) > 1:
        raise WantedError("its xn-- form: old and new IDNA differ in a letter of this name")
    if len(names[0]) > 253 or not _NAME.fullmatch(names[0]):
        raise WantedError(A_PATTERN + " (no scheme, no path; a * only as the whole first part)")
    return Pattern(written, file, name=names[0], port=port)


def _host_and_port(written: str) -> tuple[str, int | None]:
    if "://" in written or "%" in written:
        raise WantedError(A_PATTERN + " (no scheme, no path, no zone)")
    bracketed = re.fullmatch(r"(\[[^\[\]]*\])(?::(.*))?", written)
    if bracketed:
        host, port = bracketed[1], bracketed[2]
        if ":" not in host:
            raise WantedError(A_PATTERN + " (brackets are for IPv6)")
        host = host[1:-1]
    elif written.count(":") > 1:
        host, port = written, None
    else:
        host, colon, rest = written.partition(":")
        port = rest if colon else None
    if port is None:
        return host, None
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise WantedError(A_PATTERN + " (a port is a number from 1 to 65535)")
    return host, int(port)


def _network(host: str) -> _Network:
    try:
        network = ipaddress.ip_network(host, strict=False)
    except ValueError:
        wanted = "an IP address or network in its usual spelling, such as 10.0.0.0/8 or ::1"
        raise WantedError(wanted) from None
    if network.network_address != ipaddress.ip_address(host.partition("/")[0]):
        raise WantedError(f"{network}, or one address: this has bits behind the prefix")
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        network = ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    if network.prefixlen == 0:
        raise WantedError(_EVERYTHING)
    return network


def read_addresses(host: str, addresses: Iterable[str]) -> Iterator[_Address]:
    """The addresses that can be read, and the host where it is one itself."""
    for each in (host.strip("[]"), *addresses):
        try:
            yield ipaddress.ip_address(each)
        except ValueError:
            continue


def led_to(addresses: Iterable[_Address]) -> Iterator[_Address]:
    """Addresses with those they lead to: IPv4 written as IPv6, and loopback for 0.0.0.0 or ::."""
    for address in addresses:
        yield address
        yield unmapped(address)
        if unmapped(address).is_unspecified:
            yield from map(ipaddress.ip_address, ("127.0.0.1", "::1"))


def unmapped(address: _Address) -> _Address:
    """The IPv4 address in one that is written as IPv6."""
    return getattr(address, "ipv4_mapped", None) or address


def _new_idna(name: str) -> str:
    labels = (each if each.isascii() else f"xn--{_punycode(each)}" for each in name.split("."))
    return ".".join(labels)


def _old_idna(name: str) -> str:
    return name.encode("idna").decode("ascii").lower()


def _punycode(label: str) -> str:
    return label.encode("punycode").decode("ascii")
