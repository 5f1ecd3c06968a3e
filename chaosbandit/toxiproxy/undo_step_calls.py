"""Carrying out steps of `faults.undo_steps` at a server, each until its answer is good.

It decides nothing: which steps follow is for `undo` and `cut_and_reopen`. Standard library only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from chaosbandit.faults.undo_steps import Call, Step, Wait
from chaosbandit.toxiproxy.calls import Calls, Reply
from chaosbandit.toxiproxy.listing import shown_by

_AGAIN_S = 0.01
_NOT_FREE = 500  # the answer when an address to listen on is not free


class RefusedError(Exception):
    """The server answered a step with something else than what makes it good."""


def send(calls: Calls, plan: Iterable[Step]) -> None:
    """Carry the steps out in their order.

    Raises:
        UnansweredError, RefusedError, StrangeError: at the first that is not good.
    """
    for step in plan:
        if isinstance(step, Wait):
            calls.wait(step.duration_s)
        else:
            send_one(calls, step)


def send_one(calls: Calls, call: Call) -> Reply:
    """The good answer to one call; raises as `send`."""
    give_up_s = time.monotonic() + call.again_s
    while True:
        reply = calls.call(call.method, call.path, call.body, call.within_s)
        if reply.status != _NOT_FREE or time.monotonic() >= give_up_s:
            check(call, reply)
            return reply
        calls.wait(_AGAIN_S)


def check(call: Call, reply: Reply) -> None:
    """Raise as `send` where it is no good answer of a Toxiproxy to this call."""
    if reply.status not in call.good:
        raise RefusedError(f"{call.what}: answered {reply.said()}")
    shows_proxy = call.method == "POST" and "/toxics/" not in call.path
    if shows_proxy and reply.status in (200, 201):
        shown_by(reply)
