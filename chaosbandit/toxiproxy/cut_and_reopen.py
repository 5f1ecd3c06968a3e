"""Closing the operator's proxy, emptying it behind a clean stand-in, and opening it again.

    mark -> close --> stand-in serves -> wait -> toxics off -> swap back
              |                                     +--> hangs: the closed proxy is made anew
              +--> no answer: the stand-in stays; look every 10 s whether the proxy answers again

For emergencies: every connection on the path is cut. Never DELETE of a proxy whose close was not
answered, since that takes the whole API down. A path of ours (`owned`) needs no stand-in.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

from chaosbandit.faults import undo_steps
from chaosbandit.faults.fault import Fault
from chaosbandit.faults.undo_steps import DEADLINE_S, Call, stand_in
from chaosbandit.toxiproxy.calls import Calls, UnansweredError
from chaosbandit.toxiproxy.connection_count import connections_to
from chaosbandit.toxiproxy.listing import StrangeError, as_toxic, one_proxy, toxics_named
from chaosbandit.toxiproxy.undo_step_calls import RefusedError, check, send, send_one
from chaosbandit.toxiproxy.wire_format import ProxyRecord

FROZEN_LOOK_S = 10.0
_NOT_GOOD = (UnansweredError, RefusedError, StrangeError)


class FrozenError(Exception):
    """The proxy hung for as long as we looked; `served_by`: the stand-in that users reach."""

    def __init__(self, proxy: str, served_by: str | None) -> None:
        self.served_by = served_by
        super().__init__(f"proxy {proxy} hangs: closing it was not answered")


@dataclass(slots=True)
class Cutting:
    """How far cutting one fault's proxy has come, and what it cost."""

    fault: Fault  # with the addresses that its proxy has now
    calls: Calls
    frozen_s: float
    begun: bool = False
    connections: int | None = 0
    replaced: bool = False
    looked_s: float = 0.0  # how long a frozen proxy was looked at

    def cut(self, shown: ProxyRecord | None) -> None:
        """Close the proxy with its address served meanwhile, and take the toxics off.

        Raises:
            UnansweredError, RefusedError, StrangeError: it is to be begun anew from a look.
            FrozenError: it hangs.
        """
        self.begun = True
        if shown is None or shown.enabled:
            self._count_connections()
        if self._close():
            self.empty(shown)

    def close_answered(self, close: Call) -> bool:
        """Whether the proxy was there to be closed; where that hangs, wait for it to end."""
        try:
            return send_one(self.calls, close).status != 404
        except UnansweredError as error:
            self._thaw(error)
            raise

    def empty(self, shown: ProxyRecord | None) -> None:
        """Delete the toxics of the closed proxy; where that hangs, the proxy itself."""
        inside = map(as_toxic, () if shown is None else shown.toxics)
        try:
            send(self.calls, undo_steps.empty(self.fault, inside))
        except UnansweredError as error:
            if error.refused:
                raise
            self.replaced = True  # before it is: half of it is ours to finish
            send(self.calls, undo_steps.replace(self.fault))

    def open_again(self, *, ours_to_open: bool) -> ProxyRecord | None:
        """Open what we closed, or whoever undid the fault before us; the proxy as it then is.

        Raises:
            UnansweredError, RefusedError, StrangeError: it is to be begun anew from a look.
        """
        fault = self.fault
        shown = self._bare()
        marked = None if fault.owned else one_proxy(self.calls, stand_in(fault), DEADLINE_S)
        lost = ours_to_open and not fault.owned  # a path of ours that is gone was taken away
        if shown is None and (marked is not None or self.replaced or lost):
            send(self.calls, [undo_steps.create(fault)])
            shown = self._bare()
        opens = shown is not None and not shown.enabled
        opens = opens and (marked is not None or self.begun or ours_to_open)
        close, enable, delete = undo_steps.swap_back(fault)
        if marked is not None and marked.enabled:
            self._count_connections()
            send(self.calls, [close])
        if opens:
            send(self.calls, [enable])
            shown = self._bare()
            if shown is None or not shown.enabled:
                raise RefusedError(f"proxy {fault.proxy} was opened and is not open")
        if marked is not None:
            send(self.calls, [delete])
        return shown

    def _close(self) -> bool:
        """Close it and serve its address at once; False where others have deleted the proxy."""
        mark, close, serve = undo_steps.close_and_stand_in(self.fault)
        if self.fault.owned:
            return self.close_answered(close)
        new = False
        with suppress(
            UnansweredError, RefusedError, StrangeError
        ):  # the rest is tried all the same
            new = send_one(self.calls, mark).status == 201
        pending = self.calls.begin(close.method, close.path, close.body, close.within_s)
        with suppress(
            UnansweredError, RefusedError, StrangeError
        ):  # users wait for the proxy, then
            send_one(self.calls, serve)
        try:
            reply = pending.reply(DEADLINE_S)
        except UnansweredError as error:
            self._thaw(error)
            raise
        if reply.status == 404:  # ours to make anew only if the mark was there before
            if new:
                send(self.calls, undo_steps.swap_back(self.fault)[-1:])
            return False
        check(close, reply)
        return True

    def _thaw(self, unanswered: UnansweredError) -> None:
        """Keep the stand-in and look, until the proxy answers again; it must not be deleted."""
        if unanswered.refused:
            return
        began_s = time.monotonic()
        give_up_s = began_s + self.frozen_s
        while not self._answers():
            left_s = give_up_s - time.monotonic()
            if left_s <= 0:
                raise FrozenError(self.fault.proxy, self._served_by())
            self.calls.wait(min(FROZEN_LOOK_S, left_s))
        self.looked_s += time.monotonic() - began_s

    def _answers(self) -> bool:
        """Whether the proxy can be seen, or the server is known to be gone."""
        try:
            one_proxy(self.calls, self.fault.proxy, DEADLINE_S)
        except UnansweredError as error:
            return error.refused
        except StrangeError:
            return False
        return True

    def _served_by(self) -> str | None:
        if self.fault.owned:
            return None
        with suppress(UnansweredError, StrangeError):
            serving = one_proxy(self.calls, stand_in(self.fault), DEADLINE_S)
            return serving.name if serving is not None and serving.enabled else None
        return None

    def _bare(self) -> ProxyRecord | None:
        """The proxy, if it shows none of our toxics."""
        shown = one_proxy(self.calls, self.fault.proxy, DEADLINE_S)
        left = [] if shown is None else toxics_named(shown, self.fault.toxic_names)
        if left:
            carried = ", ".join(toxic.name for toxic in left)
            raise RefusedError(f"proxy {self.fault.proxy} still carries {carried}")
        return shown

    def _count_connections(self) -> None:
        found = connections_to(self.fault.listen, self.fault.server)
        known = self.connections is not None and found is not None
        self.connections = (self.connections or 0) + (found or 0) if known else None
