"""How long a server takes to answer, against the deadlines within which faults must come off.

Those deadlines do not follow a slow server: they are how long users suffer when it hangs, and the
watchdog and `clean` know no others. So nothing is put on a server from which it could not be taken
off in time. Standard library only, since the lease uses it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from chaosbandit.faults.undo_steps import DEADLINE_S, proxy_path
from chaosbandit.toxiproxy.calls import CALL_S, Calls

SLOWEST_S = DEADLINE_S / 2  # half of it, since it may be slower when it matters
NUMBER = 5
_ROUNDS = 3
_NOBODY = proxy_path("cb-nobody")  # asking for a proxy takes the locks that undoing needs


def measured_s(calls: Calls, within_s: float = CALL_S) -> tuple[float, ...]:
    """Seconds of each of a few calls, up to the first that is too slow.

    A round with such a call is made anew, twice: a hiccup of a busy machine is no slow server.

    Raises:
        UnansweredError: no whole answer to one of them within `within_s`.
    """
    for _ in range(_ROUNDS):
        found: list[float] = []
        while len(found) < NUMBER and not is_too_slow(found):
            began_s = time.monotonic()
            calls.call("GET", _NOBODY, within_s=within_s)
            found.append(time.monotonic() - began_s)
        if not is_too_slow(found):
            break
    return tuple(found)


def is_too_slow(calls_s: Sequence[float]) -> bool:
    """Whether the worst of these calls is."""
    return max(calls_s, default=0.0) > SLOWEST_S
