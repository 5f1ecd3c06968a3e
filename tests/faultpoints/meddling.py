"""What others do to a proxy while a run exposes it, and what the run must make of that.

An exposure that was meddled with is void; twice in a row, or where the path is closed for good, the
run ends with exit 6 and what was found. What others did to the operator's proxy stays as they left
it: we take off what is ours, and never open or create it anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from chaosbandit.core.events import ExposureEnded
from chaosbandit.errors import ChaosbanditError, Exit
from chaosbandit.faults.names import owner
from chaosbandit.store.journal import read
from tests.e2e.runs import Command, journals, proxies
from tests.faultpoints.situations import (
    END_S,
    SITUATIONS,
    Outcome,
    Place,
    Situation,
    judged,
    running,
)
from tests.faultpoints.worlds import PAUSE_S, call

THEIRS = {"name": "theirs", "type": "latency", "attributes": {"latency": 1}}
_MOVED = "127.0.0.1:9"

_Proxies = Mapping[str, Any]
_Found = tuple[str, str]  # the proxy that is exposed, and our toxic on it
Meddle = Callable[[Place, _Found], None]


def _delete_toxic(place: Place, found: _Found) -> None:
    proxy, toxic = found
    _done(call(place.world.server, "DELETE", f"/proxies/{proxy}/toxics/{toxic}"))


def _edit_toxic(place: Place, found: _Found) -> None:
    proxy, toxic = found
    body = {"attributes": {"latency": 1}}
    _done(call(place.world.server, "POST", f"/proxies/{proxy}/toxics/{toxic}", body))


def _reset(place: Place, found: _Found) -> None:
    """It stops at a proxy that cannot be opened, as our lease: not always after what is ours."""
    proxy, toxic = found
    if call(place.world.server, "POST", "/reset") == 204:
        return
    shown = proxies(place.world.server)[proxy]["toxics"]
    if any(one["name"] == toxic for one in shown):
        _delete_toxic(place, found)


def _add_toxic(place: Place, found: _Found) -> None:
    _done(call(place.world.server, "POST", f"/proxies/{found[0]}/toxics", THEIRS))


def _disable(place: Place, found: _Found) -> None:
    _done(call(place.world.server, "POST", f"/proxies/{found[0]}", {"enabled": False}))


def _delete(place: Place, found: _Found) -> None:
    _done(call(place.world.server, "DELETE", f"/proxies/{found[0]}"))


def _move(place: Place, found: _Found) -> None:
    _done(call(place.world.server, "POST", f"/proxies/{found[0]}", {"upstream": _MOVED}))


def _restart(place: Place, _: _Found) -> None:
    place.server.kill()
    place.server.start(place.world.before)


def _restart_empty(place: Place, _: _Found) -> None:
    place.server.kill()
    place.server.start({})


def _done(status: int) -> None:
    assert status in (200, 204), f"others were answered {status}"


def _unchanged(_: dict[str, Any]) -> None:
    """The operator's proxy is as before."""


def _with_theirs(operators: dict[str, Any]) -> None:
    shown = {"stream": "downstream", "toxicity": 1, "attributes": {"jitter": 0, "latency": 1}}
    operators["inventory"] = {**operators["inventory"], "toxics": [{**THEIRS, **shown}]}


def _disabled(operators: dict[str, Any]) -> None:
    operators["inventory"] = {**operators["inventory"], "enabled": False}


def _moved(operators: dict[str, Any]) -> None:
    operators["inventory"] = {**operators["inventory"], "upstream": _MOVED}


_Left = Callable[[dict[str, Any]], None]
MEDDLING: dict[str, tuple[Meddle, _Left]] = {
    "others delete the toxic": (_delete_toxic, _unchanged),
    "others edit the toxic": (_edit_toxic, _unchanged),
    "others reset Toxiproxy": (_reset, _unchanged),
    "others add a toxic": (_add_toxic, _with_theirs),
    "others disable the proxy": (_disable, _disabled),
    "others delete the proxy": (_delete, lambda operators: operators.clear()),
    "others move the proxy": (_move, _moved),
    "others restart Toxiproxy": (_restart, _unchanged),
    "others restart Toxiproxy empty": (_restart_empty, lambda operators: operators.clear()),
}


def meddled(name: str, times: int | None = None) -> Situation:
    """The situation in which others do this in one exposure, or in two in a row."""

    def situation(place: Place, rng: Random) -> Outcome:
        meddle, _ = MEDDLING[name]
        first, wanted = rng.choice((1, 2)), times or rng.choice((1, 2))
        struck: list[int] = []
        with running(place) as run:
            for n in range(first, first + wanted):
                found = _exposed(place, run, n)
                if found is None:
                    break
                time.sleep(rng.uniform(0.0, 0.3))
                meddle(place, found)
                struck.append(n)
            ended = run.ended(END_S)
        did = f"{name} in exposure {' and '.join(map(str, struck))}"
        there = _as_left(place, name) if struck else place.world
        outcome = judged(replace(place, world=there), did, ended, orderly=True)
        wrong = _misjudged(place.folder, struck, ended.code, ended.out + ended.err, there.served)
        _mend(place)
        return replace(outcome, left=(*wrong, *outcome.left))

    return situation


def _exposed(place: Place, run: Command, n: int) -> _Found | None:
    """What stands in exposure `n`; None if the run ends before."""
    began = f'"type":"ExposureStarted","n":{n},'
    while run.process.poll() is None:
        if any(began in path.read_text() for path in journals(place.folder)):
            for proxy, shown in proxies(place.world.server).items():
                for toxic in shown["toxics"]:
                    if owner(toxic["name"]) and toxic["attributes"].get("latency"):
                        return proxy, toxic["name"]
        time.sleep(PAUSE_S)
    return None


def _as_left(place: Place, name: str) -> Any:
    """The world as others have left it; in `edge` the operator's proxies are not concerned."""
    there = place.world
    if there.topology == "edge":
        left = {} if name == "others restart Toxiproxy empty" else there.before
        return replace(there, before=left)
    operators = dict(there.before)
    MEDDLING[name][1](operators)
    served = operators.get("inventory", {})
    whole = served.get("enabled", False) and served["upstream"] != _MOVED
    return replace(there, before=operators, served=whole)


def _misjudged(folder: Path, struck: list[int], code: int, said: str, served: bool) -> list[str]:
    """How the run's account of it differs from what is right."""
    if not struck:
        return ["no exposure was met"]
    wrong = []
    try:
        events = [event for path in journals(folder) for event in read(path)]
    except ChaosbanditError as error:
        return [f"journal: {error}"]
    valid = {e.n: e.validity.valid for e in events if isinstance(e, ExposureEnded)}
    wrong += [f"exposure {n} was taken for evidence" for n in struck if valid.get(n, True)]
    ends = len(struck) > 1 or not served
    if ends and code != Exit.HARNESS:
        wrong.append(f"it ended with {code} instead of 6: {said}")
    if not ends and code == Exit.NOT_CLEAN:
        wrong.append(f"it ended with 7: {said}")
    if code == Exit.HARNESS and not any(word in said for word in FOUND):
        wrong.append(f"exit 6 does not say what was found: {said}")
    return wrong


FOUND = ("others", "not ours", "cannot be reached", "did not answer", "there is no proxy", "lease")


def _mend(place: Place) -> None:
    """As the operator has it, for the next strike."""
    shown = proxies(place.world.server)
    for name, proxy in place.world.before.items():
        if name not in shown:
            body = {key: proxy[key] for key in ("name", "listen", "upstream", "enabled")}
            assert call(place.world.server, "POST", "/proxies", body) == 201
            continue
        for toxic in shown[name]["toxics"]:
            call(place.world.server, "DELETE", f"/proxies/{name}/toxics/{toxic['name']}")
        place_ = {key: proxy[key] for key in ("listen", "upstream", "enabled")}
        assert call(place.world.server, "POST", f"/proxies/{name}", place_) == 200


MEDDLED: dict[str, Situation] = {name: meddled(name) for name in MEDDLING}
EVERY: dict[str, Situation] = {**SITUATIONS, **MEDDLED}
