"""Undoing as data: the steps that run, watchdog and `clean` execute and a person can paste.

    quiet    soften -> read back -> let go -> delete the toxics -> read back
    cut      mark a clean stand-in -> close the proxy -> open the stand-in at once
             -> wait until nothing is inside -> delete the toxics -> close the stand-in
             -> open the proxy -> delete the stand-in, which until then says that it is ours to open
    replace  the toxics of a closed proxy cannot be deleted: delete the proxy, create it as it was
    drop     a proxy of ours: close it, and delete it once it answers

Pure: `toxiproxy.undo` sends them, decides which follow, and looks whether they did what they say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.faults.names import Kind, written
from chaosbandit.faults.softening import emptied_s, soft_form

DEADLINE_S = 0.5  # of each call: beyond it the server is taken for frozen
_MARK_S = 0.3
_LET_GO_S = 0.2
_PORT_S = 3.0  # an address that is being freed is tried again for so long

Body = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the API; `ahead`: the next step does not wait for its answer."""

    what: str  # in words
    method: str
    path: str
    body: Body | None = None
    good: tuple[int, ...] = (200,)
    within_s: float = DEADLINE_S
    again_s: float = 0.0  # an address that is not free is tried again for so long
    ahead: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Let time pass."""

    what: str
    duration_s: float


Step = Call | Wait


def quiet(fault: Fault) -> tuple[Step, ...]:
    """Take the toxics off a living proxy; no connection is cut."""
    softened = soften(fault)
    let_go = [Wait("what the toxics hold is let go", _LET_GO_S)] if softened else []
    return (*softened, *let_go, *delete_toxics(fault))


def soften(fault: Fault) -> tuple[Call, ...]:
    """Have the toxics hold nothing any more, where they can; that one is gone is no error."""
    return tuple(
        Call(f"soften {toxic.name} on {fault.proxy}", "POST", toxic_path(fault.proxy, toxic.name),
             {"attributes": dict(form)}, good=(200, 404))
        for toxic in fault.toxics
        if (form := soft_form(toxic)) is not None
    )  # fmt: skip


def close_and_stand_in(fault: Fault) -> tuple[Call, Call, Call]:
    """The first half of a cut: users are served by a clean proxy on the same address."""
    ours = stand_in(fault)
    return (
        Call(f"mark {ours}", "POST", "/proxies", _closed(fault, ours), good=(201, 409),
             within_s=_MARK_S),
        _set_enabled(fault.proxy, False, ahead=True),
        _set_enabled(ours, True, again_s=_PORT_S),
    )  # fmt: skip


def empty(fault: Fault, shown: Iterable[Toxic] = ()) -> tuple[Step, ...]:
    """The toxics of a proxy that was closed come off, once no toxic holds anything any more."""
    wait = Wait("the closed proxy empties itself", emptied_s((*fault.toxics, *shown)))
    return (wait, *delete_toxics(fault))


def replace(fault: Fault) -> tuple[Step, ...]:
    """The only case in which the operator's proxy is deleted: it is closed, and hangs."""
    what = f"delete {fault.proxy}, which is closed"
    return (Call(what, "DELETE", proxy_path(fault.proxy), good=(204, 404)), create(fault))


def create(fault: Fault) -> Call:
    """The proxy as it was recorded, but closed; where it is there, nothing happens."""
    recorded = _closed(fault, fault.proxy)
    return Call(f"create {fault.proxy} as it was", "POST", "/proxies", recorded, good=(201, 409))


def swap_back(fault: Fault) -> tuple[Call, Call, Call]:
    """The second half of a cut: the stand-in closes, the proxy opens, the stand-in goes."""
    ours = stand_in(fault)
    return (
        _set_enabled(ours, False, good=(200, 404)),
        _set_enabled(fault.proxy, True, again_s=_PORT_S),
        Call(f"delete {ours}", "DELETE", proxy_path(ours), good=(204, 404)),
    )


def drop(fault: Fault) -> tuple[Call, Call]:
    """A proxy of ours goes; deleting one that hangs would freeze the API, so it is closed first."""
    return (
        _set_enabled(fault.proxy, False, good=(200, 404)),
        Call(f"delete {fault.proxy}", "DELETE", proxy_path(fault.proxy), good=(204, 404)),
    )


def delete_toxics(fault: Fault) -> tuple[Call, ...]:
    """Each toxic comes off."""
    return tuple(
        Call(f"delete {toxic.name} from {fault.proxy}", "DELETE",
             toxic_path(fault.proxy, toxic.name), good=(204, 404))
        for toxic in fault.toxics
    )  # fmt: skip


def stand_in(fault: Fault) -> str:
    """The name of the clean proxy that serves the fault's address in an emergency."""
    return written(Kind.STAND_IN, fault.run, fault.expires_epoch_s, proxy=fault.proxy)


def proxy_path(name: str) -> str:
    """Where a proxy is in the API."""
    return f"/proxies/{quote(name, safe='')}"


def toxic_path(proxy: str, name: str) -> str:
    """Where a toxic is in the API."""
    return f"{proxy_path(proxy)}/toxics/{quote(name, safe='')}"


def _closed(fault: Fault, name: str) -> Body:
    """A proxy of this name on the fault's path."""
    return {"name": name, "listen": fault.listen, "upstream": fault.upstream, "enabled": False}


def _set_enabled(
    proxy: str,
    enabled: bool,
    *,
    good: tuple[int, ...] = (200,),
    again_s: float = 0.0,
    ahead: bool = False,
) -> Call:
    what = f"{'open' if enabled else 'close'} {proxy}"
    body = {"enabled": enabled}
    return Call(what, "POST", proxy_path(proxy), body, good, again_s=again_s, ahead=ahead)
