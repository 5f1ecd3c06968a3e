"""The file descriptors of the server's process, and how many of them its proxies may have.

The rest is a reserve for the API: however many clients flood the proxies, it is still answered.
Knows nothing of sockets.
"""

from __future__ import annotations

import contextlib
import resource

PER_CONNECTION = 2  # one to the client, one to the upstream
RESERVE = 160
LEAST = 64  # with fewer the API of one run alone would use up its reserve
OWN = 8  # of the reserve: standard streams, the loop's, the API's listener, looking up a name

_MOST_OF_MACOS = 10_240  # it says "no limit" and refuses to set that


def raise_limit() -> None:
    """Let this process have as many as it can without asking anyone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, _MOST_OF_MACOS):
        if soft == wanted:
            return
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return


def limit_now() -> int | None:
    """How many this process may have open, if there is a limit."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def reserve(limit: int) -> int:
    """How many of them the proxies leave alone."""
    return min(RESERVE, (limit + 1) // 2)


def limit_for(holders: int) -> int:
    """The lowest limit at which so many connections and listeners have what they need."""
    return PER_CONNECTION * holders + min(RESERVE, PER_CONNECTION * holders)


class Descriptors:
    """Who has some: each connection through a proxy and each listener takes a connection's worth.

    What has taken some and gives them back twice gives them back once.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._holders: set[object] = set()
        self._most = None if limit is None else (limit - reserve(limit)) // PER_CONNECTION
        kept = RESERVE if limit is None else reserve(limit)
        self.shortages = 0  # times that a client had to wait, or was lost, for want of one
        # As many again are told that there are none, and as many may just have been accepted.
        self.api_connections = max(1, (kept - OWN) // 3)

    @property
    def left(self) -> bool:
        """Whether a connection's worth is there."""
        return self._most is None or len(self._holders) < self._most

    def take(self, holder: object) -> bool:
        """Take a connection's worth for `holder`, if it is there."""
        if not self.left:
            return False
        self._holders.add(holder)
        return True

    def give(self, holder: object) -> None:
        """Give back what `holder` has, if it has any."""
        self._holders.discard(holder)
