"""The records of what is put on a Toxiproxy server, and of what must come off it again.

Knows no server and no clock. `Toxic.attributes` keep Toxiproxy's own integers and units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Bypass = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Toxic:
    """One Toxiproxy fault; `toxicity` is the probability that a connection is affected."""

    type: str
    attributes: Mapping[str, int]
    stream: str = "downstream"
    toxicity: float = 1.0
    name: str = ""  # on its proxy; empty while it is on none


@dataclass(frozen=True, slots=True)
class Fault:
    """All that any process needs to undo one injection, with or without this one.

        toxics on the operator's proxy     they come off; the proxy stays as it is
        toxics on a path of ours           they come off; who cleans up takes the proxy away, too
        a proxy of ours without toxics     a path of ours, a stand-in or a lease: it is deleted

    `name` is that of the first toxic, else of the proxy. `listen` and `upstream` are as the server
    writes them. `check` is a URL answered through the path; `bypass` is the operator's own way
    around a proxy that cannot be repaired: a URL to POST to, or a command with its arguments.
    """

    run: str
    server: str  # URL of the Toxiproxy API
    name: str
    proxy: str
    listen: str
    upstream: str
    expires_epoch_s: int
    toxics: tuple[Toxic, ...] = ()
    owned: bool = False  # the proxy is ours
    check: str | None = None
    bypass: Bypass | None = None
    dies_with_run: bool = False  # the server is embedded in the run: its faults end with it

    @property
    def toxic_names(self) -> frozenset[str]:
        """The names of our toxics on the proxy."""
        return frozenset(toxic.name for toxic in self.toxics)


@dataclass(frozen=True, slots=True)
class Late:
    """A call of ours that nobody answered may still take effect."""

    until_s: float  # on the monotonic clock
    closes: bool = False  # it closes the proxy, or deletes it: that would be ours to mend
