"""All chance of the embedded server, as independent streams that no scheduling can disturb.

Which connections a toxic affects depends on the seed, the proxy's name, the number of the
connection and the toxic's name, and on nothing else.
"""

from __future__ import annotations

import random

from chaosbandit.toxiproxy.wire_format import ToxicRecord


class Draws:
    """The draws of one connection."""

    def __init__(self, seed: int, proxy: str, connection: int) -> None:
        self._name = f"{seed}/{proxy}/{connection}"
        self._rngs: dict[str, random.Random] = {}

    def drawn(self, toxic: ToxicRecord) -> bool:
        """Draw whether the toxic affects the connection in its next run."""
        if toxic.name not in self._rngs:
            self._rngs[toxic.name] = random.Random(f"{self._name}/{toxic.name}/drawn")
        return self._rngs[toxic.name].random() < toxic.toxicity

    def rng(self, toxic: ToxicRecord) -> random.Random:
        """Return the generator for what the toxic does to chunks, apart from the draws."""
        return random.Random(f"{self._name}/{toxic.name}/chunks")
