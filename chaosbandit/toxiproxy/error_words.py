"""What the door met, as errors an operator can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaosbandit.errors import CleanupError, ToxiproxyError, Trouble
from chaosbandit.faults import by_hand, undo_steps
from chaosbandit.faults.fault import Fault
from chaosbandit.machine_shortage import is_shortage
from chaosbandit.toxiproxy.adapter import RefusedError
from chaosbandit.toxiproxy.calls import UnansweredError
from chaosbandit.toxiproxy.listing import StrangeError
from chaosbandit.toxiproxy.undo import NotUndoneError, Others, Undone


@contextmanager
def told(url: str) -> Iterator[None]:
    """Whatever the door raises in this block, as a `ToxiproxyError` about the server at `url`."""
    try:
        yield
    except UnansweredError as error:
        raise ToxiproxyError(unanswered(url, error)) from error
    except RefusedError as error:
        raise ToxiproxyError(str(error), where=f"Toxiproxy at {url}") from error
    except StrangeError as error:
        raise ToxiproxyError(
            str(error), where=f"what runs at {url} does not speak Toxiproxy's API"
        ) from error


def unanswered(url: str, error: UnansweredError) -> Trouble:
    """Why there was no answer, and what to look at."""
    if error.refused:
        found = f"Toxiproxy at {url} cannot be reached ({error.why})"
        return Trouble(found, do="see whether a server is running there")
    cause = error.__cause__
    if isinstance(cause, OSError) and is_shortage(cause):
        return Trouble(
            f"Toxiproxy at {url} was not asked {error.call}: this machine has nothing left to "
            f"connect with ({cause.strerror or cause})",
            do="raise `ulimit -n`, or end what holds file descriptors and local ports",
        )
    return Trouble(
        f"Toxiproxy at {url} did not answer {error.call} ({error.why}): it hangs or is frozen, or "
        "something else runs there"
    )


def of_others(fault: Fault, undone: Undone) -> Trouble | None:
    """What others did to the operator's proxy, and what mends it; we never do that ourselves."""
    ours = "nothing of ours is there"
    if undone.died:
        return Trouble(
            f"Toxiproxy at {fault.server} is dead, and proxy {fault.proxy} with it; {ours}",
            do="start it and, where it does not know the proxy then, create that",
            commands=(by_hand.create(fault),),
        )
    match undone.others:
        case Others.GONE:
            return Trouble(
                f"proxy {fault.proxy} was deleted by others, or Toxiproxy was restarted without "
                f"it; {ours}",
                do="create it",
                commands=(by_hand.create(fault),),
            )
        case Others.CLOSED:
            return Trouble(
                f"proxy {fault.proxy} was disabled by others; {ours}",
                do="enable it",
                commands=(by_hand.enable(fault),),
            )
        case Others.MOVED:
            place = {"listen": fault.listen, "upstream": fault.upstream}
            back = undo_steps.Call("move back", "POST", undo_steps.proxy_path(fault.proxy), place)
            return Trouble(
                f"proxy {fault.proxy} was given other addresses by others; {ours}",
                do=f"have it listen on {fault.listen} and lead to {fault.upstream} again",
                commands=(by_hand.line(fault.server, back),),
            )
    return None


def not_undone(error: NotUndoneError) -> CleanupError:
    """What could not be undone, what that does meanwhile, and who serves users."""
    fault, what = error.fault, f"{error.fault.name} is gone from proxy {error.fault.proxy}"
    harm, do = "until it is gone, its toxics may act on real traffic", ""
    if fault.owned:
        what = what if fault.toxics else f"{fault.proxy}, a proxy of this run, is gone"
        harm = "no traffic but this run's passes there"
    if error.served_by is not None:
        harm, do = f"users are served by {error.served_by}", "restart Toxiproxy when you can; "
    return CleanupError(
        f"could not confirm that {what} at {fault.server} ({error.found}); {harm}",
        do=f"{do}run `chaosbandit clean`, or by hand",
        commands=by_hand.commands(fault),
    )
