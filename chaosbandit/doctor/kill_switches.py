"""The kill switches a run would look at: not pulled, pulled, or not to be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from chaosbandit.doctor.findings import Finding, fail, ok, warn
from chaosbandit.safety.kill_switch import Freeze

_PULLED = " says freeze"


async def findings(places: Sequence[str]) -> list[Finding]:
    """One finding for each switch that is not at rest, or one for all that are."""
    async with Freeze(places) as freeze:
        whys = await asyncio.gather(*(freeze.look(place) for place in freeze.places))
    found = [
        _not_at_rest(place, why)
        for place, why in zip(freeze.places, whys, strict=True)
        if why is not None
    ]
    resting = [place for place, why in zip(freeze.places, whys, strict=True) if why is None]
    if resting:
        found.append(ok("kill switch", f"not pulled: {', '.join(resting)}"))
    return found


def _not_at_rest(place: str, why: str) -> Finding:
    what = why.removeprefix("kill switch: ").partition("; as long as")[0]
    if _PULLED in why:
        release = "remove the file" if place.startswith("/") else "have it answer 404"
        do = f"ask who pulled it, then {release}; a run now would inject nothing"
        return warn("kill switch", what, "no freeze", do)
    do = "make it answer, or take it out of the scenario or the rules"
    return fail("kill switch", what, "an answer: what cannot be asked counts as pulled", do)
