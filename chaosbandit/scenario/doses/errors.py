"""`toxic: errors`: a ladder of shares of connections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from chaosbandit.core.doses.errors import Errors
from chaosbandit.core.topology import Topology
from chaosbandit.scenario import quantities
from chaosbandit.scenario import value_types as f
from chaosbandit.scenario.contradictions import Finding
from chaosbandit.scenario.doses import LadderKeys, register
from chaosbandit.scenario.key_declarations import key

_FADES = (
    "connections that are drawn die and the others survive in the pool, so the fault fades while "
    "it is measured"
)

ErrorShare = Annotated[
    float,
    f.reads(quantities.share, lambda found: 1e-6 <= found <= 1, "a share from 0.0001% to 100%"),
    f.SHARE,
]


@register
class ErrorsLadderKeys(LadderKeys):
    """More and more connections are closed at their first byte."""

    noun: ClassVar[str] = "a share"
    example: ClassVar[str] = "10%"
    pattern: ClassVar[str] = quantities.SHARE_PATTERN
    bare: ClassVar[bool] = True

    toxic: Literal["errors"] = key("The fault: connections are closed.", "errors")
    vary: Literal["share"] = key("What grows from step to step.", "share", "share")
    mild: ErrorShare = key("The smallest share of connections hurt.", "0.1%", alias="from")
    harsh: ErrorShare = key("The largest share of connections hurt.", "50%", alias="to")

    @staticmethod
    def read(value: object) -> float:
        """A fraction 0..1, from `10%`."""
        return quantities.share(value)

    def dose(self) -> Errors:
        """Errors in this direction."""
        return Errors(self.stream)

    def refused(self, at: int, topology: Topology, connections: str) -> Iterator[Finding]:
        """Connections must be drawn afresh: a pool sorts out those that were drawn."""
        if not topology.allows_errors:
            wanted = (
                f"`latency` in `{topology.name}`; `errors` needs `edge`: behind a service's pool "
                f"{_FADES}"
            )
            yield Finding(("ladders", at, "toxic"), wanted)
        elif connections != "per-request":
            wanted = f"`per-request` with a ladder of errors: with kept connections {_FADES}"
            yield Finding(("traffic", "connections"), wanted)
