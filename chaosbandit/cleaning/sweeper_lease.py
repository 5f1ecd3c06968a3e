"""The lease of a sweeper at one server: a disabled proxy that says somebody cleans up here.

It shows to everybody who looks at the server, `doctor` for instance. It is no fault and is in
nobody's way. Like any lease it is honoured for some minutes only, and so renewed all the time.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaosbandit.cleaning.one_server import in_words
from chaosbandit.faults.names import HONOURED_S, SWEEPER, Kind, written
from chaosbandit.faults.undo_steps import proxy_path
from chaosbandit.toxiproxy.calls import Calls, UnansweredError
from chaosbandit.toxiproxy.listing import Listing

LONGEST_ROUND_S = HONOURED_S * 3 / 10  # so that it outlasts three rounds, and clocks that differ
_SHORTEST_TERM_S = 60.0
_ROUNDS_IN_TERM = 3
_RENEW_AT = 2 / 3
_LISTEN = "127.0.0.1:0"  # never listened on: the proxy is never enabled


class SweeperLease:
    """Renewed while at work, taken along on leaving."""

    def __init__(self, every_s: float) -> None:
        self._term_s = max(_SHORTEST_TERM_S, _ROUNDS_IN_TERM * every_s)
        self._ends_epoch_s = 0
        self._names: list[str] = []  # more than one only while a renewal is not finished

    def keep(self, calls: Calls, shown: Listing, now_epoch_s: float) -> str | None:
        """Have one that lasts for a while, and no older one; why not, if so."""
        left_s = self._ends_epoch_s - now_epoch_s
        if left_s > self._term_s * _RENEW_AT and self._names[-1] in shown.proxies:
            return self._drop(calls, self._names[:-1])
        self._ends_epoch_s = int(now_epoch_s + self._term_s)
        name = written(Kind.LEASE, SWEEPER, self._ends_epoch_s)
        if name not in self._names:
            self._names.append(name)
        proxy = {"name": name, "listen": _LISTEN, "upstream": SWEEPER, "enabled": False}
        try:
            reply = calls.call("POST", "/proxies", proxy)
        except UnansweredError as error:
            return in_words(error)
        if reply.status not in (201, 409):  # 409: another sweeper's, made in the same second
            return f"POST /proxies answered {reply.said()}, wanted 201"
        return self._drop(calls, self._names[:-1])

    def leave(self, calls: Calls) -> str | None:
        """Take it away; why it may still be there, if so."""
        return self._drop(calls, self._names)

    def _drop(self, calls: Calls, names: Sequence[str]) -> str | None:
        for name in tuple(names):
            try:
                reply = calls.call("DELETE", proxy_path(name))
            except UnansweredError as error:
                return in_words(error)
            if reply.status not in (204, 404):
                return f"DELETE of {name} answered {reply.said()}, wanted 204"
            self._names.remove(name)
        return None
