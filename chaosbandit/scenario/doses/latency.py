"""`toxic: latency`: a ladder of durations in whole milliseconds."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from chaosbandit.core.doses.latency import Latency
from chaosbandit.scenario import quantities
from chaosbandit.scenario import value_types as f
from chaosbandit.scenario.doses import LadderKeys, register
from chaosbandit.scenario.key_declarations import key


def _whole_ms(seconds: float) -> bool:
    return round(seconds * 1000, 6).is_integer()


Delay = Annotated[
    float,
    f.reads(
        quantities.duration,
        lambda found: f.MS <= found <= 10 * f.MINUTE and _whole_ms(found),
        "a latency from 1ms to 10m in whole milliseconds",
    ),
    f.DURATION,
]
Jitter = Annotated[float, f.reads(quantities.share), f.SHARE]


@register
class LatencyLadderKeys(LadderKeys):
    """Answers come later and later."""

    noun: ClassVar[str] = "a duration"
    example: ClassVar[str] = "2s"
    pattern: ClassVar[str] = quantities.DURATION_PATTERN
    assumed: ClassVar[bool] = True

    toxic: Literal["latency"] = key("The fault: every chunk of data is delayed.", "latency")
    vary: Literal["latency"] = key("What grows from step to step.", "latency", "latency")
    mild: Delay = key("The mildest latency that is tried.", "1ms", alias="from")
    harsh: Delay = key("The harshest latency that may be tried.", "10s", alias="to")
    jitter: Jitter = key("Random variation, as a share of the latency.", "10%", "0%")

    @staticmethod
    def read(value: object) -> float:
        """Seconds, from `2s`."""
        return quantities.duration(value)

    def dose(self) -> Latency:
        """Latency with this jitter."""
        return Latency(self.jitter, self.stream)

    def inexact(self, severity: float) -> str | None:
        """Toxiproxy counts in milliseconds."""
        return None if _whole_ms(severity) else "whole milliseconds"
