"""Undoing on a real Toxiproxy, under the traffic that freezes it when a toxic is just deleted."""

from __future__ import annotations

import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from chaosbandit.faults import by_hand
from chaosbandit.faults.fault import Fault
from chaosbandit.faults.undo_steps import proxy_path, toxic_path
from chaosbandit.toxiproxy.calls import Calls, UnansweredError
from chaosbandit.toxiproxy.undo import NotUndoneError, Undone, Way, undo
from tests.servers import real_server_path
from tests.tiers import first_alone
from tests.toxiproxy.doors import PROXY, Door, relay
from tests.toxiproxy.giving_up import crowded, first_good_s

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(real_server_path() is None, reason="no real Toxiproxy: run .ci/toxiproxy"),
]

CYCLES = 3
TRIES = 5  # to freeze it, which does not succeed each time
STANDS_S = 2.5  # until users give up and everything in the toxic is late
NORMAL_S = 0.1  # design.md 8: 30-80 ms were measured


@pytest.fixture
def path() -> Iterator[Door]:
    with crowded() as path:
        yield path


def put(path: Door, n: int) -> Fault:
    toxic = replace(path.toxic(n), attributes={"latency": 1500, "jitter": 500})
    fault = path.put(path.fault(toxic))
    time.sleep(STANDS_S)
    return fault


def answers(path: Door) -> bool:
    """Whether the API shows all proxies at once: a frozen one does not."""
    with closing(Calls(path.url)) as calls:
        try:
            return calls.call("GET", "/proxies", within_s=0.5).status == 200
        except UnansweredError:
            return False


def test_quiet_never_freezes_and_cuts_nothing(path: Door) -> None:
    for n in range(CYCLES):
        fault = put(path, n)
        with closing(Calls(path.url)) as calls:
            assert undo(fault, calls, 10.0) == Undone()
        assert answers(path)
        took_s = first_good_s(path.listen, 2.0)
        assert took_s is not None
        assert took_s < 1.0


def test_cut_never_freezes_and_the_path_is_normal_soon(path: Door) -> None:
    took_s: list[float] = []
    for n in range(CYCLES):
        fault = put(path, n)
        with closing(Calls(path.url)) as calls:
            calls.keep_open(3, 1.0)
            thread = threading.Thread(target=_cut, args=(fault, calls))
            thread.start()
            found_s = first_good_s(path.listen, 3.0)
            thread.join()
        assert found_s is not None
        took_s.append(found_s)
        assert answers(path)
        shown = path.show()
        assert (shown["enabled"], shown["toxics"], path.names()) == (True, [], [PROXY])
    print(f"first good request after {sorted(round(1000 * s) for s in took_s)} ms")  # noqa: T201
    assert statistics.median(took_s) <= NORMAL_S


def _cut(fault: Fault, calls: Calls) -> None:
    found = undo(fault, calls, 10.0, way=Way.CUT)
    assert (found.cut, found.late, found.replaced) == (True, None, False)


@pytest.mark.parametrize("way", first_alone([(way,) for way in Way]))
def test_frozen_by_somebody_else_the_path_is_served_meanwhile(path: Door, way: Way) -> None:
    with relay(path.url, lambda _: False, 0.0) as logged:
        fault = frozen(path)
        found: list[Undone | NotUndoneError] = []
        thread = threading.Thread(
            target=_undone, args=(replace(fault, server=logged.url), way, found)
        )
        began_s = time.monotonic()
        thread.start()
        served_s = first_good_s(path.listen, 10.0)
        thread.join()
        took_s = time.monotonic() - began_s
    print(f"{way}: served after {served_s}, {found} after {took_s:.1f} s")  # noqa: T201
    assert served_s is not None
    assert served_s < 3.0
    (end,) = found
    deleted = logged.requests.count(f"DELETE {proxy_path(PROXY)}")
    if isinstance(end, NotUndoneError):
        assert end.served_by is not None
        assert deleted == 0
        assert first_good_s(path.listen, 2.0) is not None
    else:
        assert (end.cut, end.others) == (True, None)
        assert deleted == end.replaced
        shown = path.show()
        assert (shown["enabled"], shown["toxics"], path.names()) == (True, [], [PROXY])
        assert answers(path)


def test_frozen_by_somebody_else_pasted_commands_serve_the_path(path: Door) -> None:
    with relay(path.url, lambda _: False, 0.0) as logged:
        fault = frozen(path)
        script = "\n".join(by_hand.commands(replace(fault, server=logged.url)))
        with subprocess.Popen(["sh"], stdin=subprocess.PIPE, text=True) as shell:
            began_s = time.monotonic()
            thread = threading.Thread(target=shell.communicate, args=(script,))
            thread.start()
            served_s = first_good_s(path.listen, 10.0)
            thread.join()
        took_s = time.monotonic() - began_s
    print(f"by hand: served after {served_s}, done after {took_s:.1f} s")  # noqa: T201
    assert served_s is not None
    assert served_s < 3.0
    assert [call for call in logged.requests if call.startswith("DELETE")] == []
    assert first_good_s(path.listen, 2.0) is not None


def frozen(path: Door) -> Fault:
    """A fault whose proxy was frozen by somebody else; that does not succeed each time."""
    for n in range(TRIES):
        fault = put(path, n)
        if froze(path, fault):
            return fault
    pytest.fail("a plain DELETE did not freeze the server once")


def froze(path: Door, fault: Fault) -> bool:
    """Delete the toxic as somebody does who knows nothing of runs."""
    with closing(Calls(path.url)) as calls:
        try:
            calls.call("DELETE", toxic_path(PROXY, fault.name), within_s=1.0)
        except UnansweredError:
            return True
    return False


def _undone(fault: Fault, way: Way, found: list[Undone | NotUndoneError]) -> None:
    with closing(Calls(fault.server)) as calls:
        try:
            found.append(undo(fault, calls, 10.0, way=way))
        except NotUndoneError as error:
            found.append(error)
