"""Undoing on both servers: from every half-done state, with others meddling, with late calls."""

from __future__ import annotations

import itertools
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from chaosbandit.faults import by_hand, undo_steps
from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.faults.names import Kind, written
from chaosbandit.toxiproxy.calls import Calls
from chaosbandit.toxiproxy.listing import all_proxies
from chaosbandit.toxiproxy.undo import (
    LATE_S,
    NotUndoneError,
    Others,
    Undone,
    Way,
    is_gone,
    undo,
)
from tests.toxiproxy.doors import (
    DOSES,
    PROXY,
    RUN,
    Door,
    carry_out,
    door,
    free_port,
    is_call,
    relay,
)
from tests.waiting import wait_for

WITHIN_S = 10.0


@pytest.fixture
def path(toxiproxy_url: str) -> Iterator[Door]:
    with door(toxiproxy_url) as path:
        yield path


def undone(fault: Fault, way: Way = Way.QUIET, within_s: float = WITHIN_S, **more: Any) -> Undone:
    with closing(Calls(fault.server)) as calls:
        return undo(fault, calls, within_s, way=way, **more)


# --- the two ways ---------------------------------------------------------------------------------


@pytest.mark.parametrize("type", ["latency", "slicer", "limit_data", "slow_close"])
def test_quiet_cuts_no_connection(path: Door, type: str) -> None:
    clients = [path.connect() for _ in range(5)]
    fault = path.put(path.fault(path.toxic(1, type)))
    for client in clients:
        client.sendall(b"before")
    assert undone(fault) == Undone()
    for client in clients:
        assert client.recv(100).startswith(b"before"[:1])
        client.sendall(b"!")
        while not client.recv(100).endswith(b"!"):
            pass
        client.close()
    assert path.echo.met == 5
    assert path.is_normal()


def test_connections_stay_where_nothing_was_to_be_undone(path: Door) -> None:
    with path.connect() as client:
        assert undone(path.fault()) == Undone()
        assert undone(path.fault(), Way.CUT) == Undone()
        client.sendall(b"x")
        assert client.recv(1) == b"x"


@pytest.mark.parametrize("type", sorted(DOSES))
def test_cut_serves_the_path_and_counts_what_it_cut(path: Door, type: str) -> None:
    clients = [path.connect() for _ in range(5)]
    fault = path.put(path.fault(path.toxic(1, type)))
    wait_for(lambda: path.echo.met == 5)
    found = undone(fault, Way.CUT)
    soft = type in ("limit_data", "slow_close")
    assert (found.cut, found.connections_cut) == ((False, 0) if soft else (True, 5))
    assert (found.others, found.late, found.replaced) == (None, None, False)
    assert path.is_normal()
    for client in clients:
        client.close()


@pytest.mark.parametrize(("gave_up", "cut"), [(True, True), (False, False)])
def test_bandwidth_is_quiet_only_when_nobody_gave_up(path: Door, gave_up: bool, cut: bool) -> None:
    fault = path.put(path.fault(path.toxic(1, "bandwidth")))
    assert undone(fault, nobody_gave_up=not gave_up).cut is cut
    assert path.is_normal()


@pytest.mark.parametrize("type", ["timeout", "reset_peer"])
def test_what_cuts_by_nature_never_comes_off_quietly(path: Door, type: str) -> None:
    fault = path.put(path.fault(path.toxic(1, type)))
    assert undone(fault, nobody_gave_up=True).cut
    assert path.is_normal()


def test_new_connections_are_fast_at_once_while_a_cut_waits(path: Door) -> None:
    toxic = replace(path.toxic(), attributes={"latency": 3000, "jitter": 0})
    fault = path.put(path.fault(toxic))
    answered: list[float] = []
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.005):
            if path.serves(0.2):
                answered.append(time.monotonic())

    thread = threading.Thread(target=ask)
    thread.start()
    started_s = time.monotonic()
    found = undone(fault, Way.CUT)
    took_s = time.monotonic() - started_s
    done.set()
    thread.join()
    assert found.cut
    assert took_s > 3.0
    within = [at_s - started_s for at_s in answered]
    assert min(within) < 1.0  # 10-30 ms on an idle machine
    gaps = [later - sooner for sooner, later in itertools.pairwise(within)]
    assert max(gaps) < 0.5
    assert path.is_normal()


def test_the_mark_comes_first_and_goes_last(path: Door) -> None:
    fault = path.put(path.fault())
    with relay(path.url, lambda _: False, 0.0) as logged:
        undone(replace(fault, server=logged.url), Way.CUT)
    changes = [call for call in logged.requests if not call.startswith("GET")]
    calls = (
        *undo_steps.close_and_stand_in(fault),
        *undo_steps.delete_toxics(fault),
        *undo_steps.swap_back(fault),
    )
    wanted = [f"{step.method} {step.path}" for step in calls]
    assert [call for call, _ in itertools.groupby(changes)] == wanted  # serving is tried again


def test_the_closed_proxy_empties_itself_of_what_it_is_shown_to_hold(path: Door) -> None:
    fault = path.put(path.fault())
    path.add("theirs", "latency", {"latency": 1500})
    began_s = time.monotonic()
    assert undone(fault, Way.CUT).cut
    assert time.monotonic() - began_s > 1.7
    path.call("DELETE", f"/proxies/{PROXY}/toxics/theirs")
    assert path.is_normal()


def test_several_toxics_and_a_foreign_one_that_stays(path: Door) -> None:
    ours = [path.toxic(1), path.toxic(2, "slicer"), path.toxic(3, "bandwidth")]
    for fault in (path.fault(*ours[:2]), path.fault(*ours)):
        path.put(fault)
        path.add("theirs", "latency", {"latency": 5})
        undone(fault)
        shown = path.show()
        assert [toxic["name"] for toxic in shown["toxics"]] == ["theirs"]
        assert shown["enabled"]
        path.call("DELETE", f"/proxies/{PROXY}/toxics/theirs")
    assert path.is_normal()


# --- killed in between ----------------------------------------------------------------------------


def plan_of(name: str, fault: Fault) -> list[undo_steps.Step]:
    cut = [
        *undo_steps.close_and_stand_in(fault),
        *undo_steps.empty(fault),
        *undo_steps.swap_back(fault),
    ]
    if name == "quiet":
        return [*undo_steps.quiet(fault)]
    if name == "cut":
        return cut
    return [
        *undo_steps.close_and_stand_in(fault),
        *undo_steps.replace(fault),
        *undo_steps.swap_back(fault),
    ]


STATES = [("quiet", k) for k in range(4)]
STATES += [("cut", k) for k in range(9)]
STATES += [("replace", k) for k in range(9)]


def test_all_half_done_states_are_listed() -> None:
    fault = Fault(RUN, "", f"cb.{RUN}.0.1", PROXY, "", "", 0, (Toxic("latency", {}, name="t"),))
    lengths = {name: len(plan_of(name, fault)) for name in ("quiet", "cut", "replace")}
    assert lengths == {name: max(k for n, k in STATES if n == name) for name in lengths}


@pytest.mark.parametrize("way", list(Way))
@pytest.mark.parametrize(("plan", "k"), STATES)
def test_every_half_done_state_is_finished_by_somebody_else(
    path: Door, plan: str, k: int, way: Way
) -> None:
    fault = path.put(path.fault())
    carry_out(path, plan_of(plan, fault)[:k])
    found = undone(fault, way)
    assert path.is_normal()
    assert (found.others, found.late) == (None, None)
    with closing(Calls(path.url)) as calls:
        assert is_gone(fault, calls)
        assert all_proxies(calls).faults() == []


@pytest.mark.parametrize("k", range(9))
@pytest.mark.parametrize("plan", ["cut", "replace"])
def test_every_half_done_state_is_finished_from_the_listing_alone(
    path: Door, plan: str, k: int
) -> None:
    fault = path.put(path.fault())
    carry_out(path, plan_of(plan, fault)[:k])
    with closing(Calls(path.url)) as calls:
        for each in all_proxies(calls).faults():
            undo(each, calls, WITHIN_S)
    assert path.is_normal()


@pytest.mark.parametrize(("plan", "k"), STATES)
def test_pasted_commands_finish_every_half_done_state(path: Door, plan: str, k: int) -> None:
    fault = path.put(path.fault())
    carry_out(path, plan_of(plan, fault)[:k])
    pasted(by_hand.commands(fault))
    assert path.is_normal()


def pasted(commands: tuple[str, ...]) -> None:
    script = "\n".join(commands)
    subprocess.run(["sh"], input=script, text=True, capture_output=True, timeout=60, check=True)


def test_pasted_quiet_commands_cut_nothing(path: Door) -> None:
    fault = path.put(path.fault())
    with path.connect() as client:
        pasted(by_hand.quiet_commands(fault))
        client.sendall(b"x")
        assert client.recv(1) == b"x"
    assert path.is_normal()


def test_users_are_served_while_a_half_done_cut_is_finished(path: Door) -> None:
    toxic = replace(path.toxic(), attributes={"latency": 2000, "jitter": 0})
    fault = path.put(path.fault(toxic))
    carry_out(path, plan_of("cut", fault)[:2])  # closed, and nobody serves
    thread = threading.Thread(target=undone, args=(fault, Way.CUT))
    thread.start()
    wait_for(path.serves, 1.5)
    assert path.names() != [PROXY]
    thread.join()
    assert path.is_normal()


def test_stand_in_left_over_is_undone_by_itself_and_by_hand(path: Door) -> None:
    fault = path.put(path.fault())
    for by in ("undo", "hand"):
        carry_out(path, plan_of("cut", fault)[:5])
        with closing(Calls(path.url)) as calls:
            (left,) = all_proxies(calls).faults()
        assert (left.proxy, left.toxics, left.owned) == (PROXY, (), False)
        if by == "undo":
            assert undone(left).others is None
        else:
            pasted(by_hand.commands(left))
        assert path.is_normal()


# --- what others do -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", list(Way))
def test_proxy_deleted_by_others_is_not_made_again(path: Door, way: Way) -> None:
    fault = path.put(path.fault())
    path.call("DELETE", f"/proxies/{PROXY}")
    assert undone(fault, way) == Undone(others=Others.GONE)
    assert path.names() == []
    pasted((by_hand.create(fault),))
    assert path.is_normal()


@pytest.mark.parametrize("way", list(Way))
def test_proxy_closed_by_others_stays_closed_and_is_clean(path: Door, way: Way) -> None:
    fault = path.put(path.fault())
    path.call("POST", f"/proxies/{PROXY}", {"enabled": False})
    assert undone(fault, way) == Undone(others=Others.CLOSED)
    assert path.names() == [PROXY]
    assert path.show()["toxics"] == []
    assert not path.serves()
    pasted((by_hand.enable(fault),))
    assert path.is_normal()


@pytest.mark.parametrize("way", list(Way))
def test_proxy_moved_by_others_is_cleaned_where_it_is(path: Door, way: Way) -> None:
    fault = path.put(path.fault())
    elsewhere = f"127.0.0.1:{free_port()}"
    path.call("POST", f"/proxies/{PROXY}", {"listen": elsewhere})
    found = undone(fault, way)
    assert (found.others, found.cut) == (Others.MOVED, way is Way.CUT)
    assert replace(path, listen=elsewhere).is_normal()


def test_the_stand_in_of_a_proxy_that_others_moved_is_where_it_is_now(path: Door) -> None:
    fault = path.put(path.fault())
    elsewhere = f"127.0.0.1:{free_port()}"
    path.call("POST", f"/proxies/{PROXY}", {"listen": elsewhere})
    served: list[str] = []

    def look(request: bytes) -> bool:
        if is_call(undo_steps.delete_toxics(fault)[0])(request):
            served.append(path.show(undo_steps.stand_in(fault))["listen"])
        return False

    with relay(path.url, look, 0.0) as way:
        assert undone(replace(fault, server=way.url), Way.CUT).others is Others.MOVED
    assert served == [elsewhere]


def test_what_others_delete_in_between_is_not_made_again(path: Door) -> None:
    fault = path.put(path.fault())
    path.call("DELETE", f"/proxies/{PROXY}/toxics/{fault.name}")
    assert undone(fault) == Undone()
    path.call("DELETE", f"/proxies/{PROXY}")
    carry_out(path, [undo_steps.close_and_stand_in(path.fault())[0]])
    assert undone(path.fault(), Way.CUT, ours_to_open=False).others is None  # marked: we had begun
    assert path.is_normal()


def test_ours_to_open_mends_what_a_late_close_or_delete_did(path: Door) -> None:
    fault = path.put(path.fault())
    path.call("POST", f"/proxies/{PROXY}", {"enabled": False})
    assert undone(fault, ours_to_open=True).others is None
    assert path.is_normal()
    path.call("DELETE", f"/proxies/{PROXY}")
    assert undone(fault, ours_to_open=True).others is None
    assert path.is_normal()


def test_third_party_takes_the_address_while_the_proxy_is_closed(path: Door) -> None:
    fault = path.put(path.fault())
    path.call("POST", f"/proxies/{PROXY}", {"enabled": False})
    stranger = {"name": "stranger", "listen": path.listen, "upstream": path.echo.address}
    path.call("POST", "/proxies", stranger)
    with pytest.raises(NotUndoneError, match="open inventory: answered 500"):
        undone(fault, within_s=0.5, ours_to_open=True)
    path.call("DELETE", "/proxies/stranger")
    assert undone(fault, ours_to_open=True).others is None
    assert path.is_normal()


def test_what_others_make_hard_again_is_softened_again(path: Door) -> None:
    fault = path.put(path.fault())
    soften, looks = undo_steps.soften(fault)[0], 0

    def meddle(request: bytes) -> bool:
        nonlocal looks
        looks += request.startswith(b"GET /proxies/inventory ")
        if looks == 2:  # that is the look after softening
            looks += 1
            path.call("POST", soften.path, {"attributes": {"latency": 400}})
        return False

    with relay(path.url, meddle, 0.0) as way:
        assert undone(replace(fault, server=way.url)) == Undone()
    assert way.requests.count(f"POST {soften.path}") == 2
    assert path.is_normal()


@pytest.mark.parametrize("others", ["delete the toxic", "delete the proxy", "open the proxy"])
def test_others_meddle_while_the_closed_proxy_empties_itself(path: Door, others: str) -> None:
    fault = path.put(path.fault())
    deleted = undo_steps.delete_toxics(fault)[0]
    meddled = False

    def meddle(request: bytes) -> bool:
        nonlocal meddled
        if is_call(deleted)(request) and not meddled:
            meddled = True
            if others == "delete the toxic":
                path.call("DELETE", deleted.path)
            elif others == "delete the proxy":
                path.call("DELETE", f"/proxies/{PROXY}")
            else:  # our stand-in has the address
                path.call("POST", f"/proxies/{PROXY}", {"enabled": True}, 500)
        return False

    with relay(path.url, meddle, 0.0) as way:
        found = undone(replace(fault, server=way.url), Way.CUT)
    assert meddled
    assert (found.cut, found.late) == (True, None)
    assert path.is_normal()  # deleted while it was marked as ours to open: it is made again


def test_a_cut_in_the_dark_does_not_bring_back_what_others_deleted(path: Door) -> None:
    fault = path.put(path.fault())
    path.call("DELETE", f"/proxies/{PROXY}")
    look = undo_steps.Call("look", "GET", f"/proxies/{PROXY}")
    with relay(path.url, is_call(look), 0.3) as way:
        found = undone(replace(fault, server=way.url), Way.CUT)
        assert way.delivered.wait(WITHIN_S)
    assert (found.others, path.names()) == (Others.GONE, [])


# --- paths of ours --------------------------------------------------------------------------------


def own(path: Door, *toxics: Toxic) -> Fault:
    expires = int(time.time()) + 300
    proxy = written(Kind.PATH, RUN, expires, n=7)
    fault = path.fault(*toxics, proxy=proxy, listen=f"127.0.0.1:{free_port()}")
    return path.put(replace(fault, name=fault.name if toxics else proxy, toxics=toxics))


@pytest.mark.parametrize("type", ["latency", "bandwidth"])
def test_path_of_ours_stays_when_its_toxics_come_off(path: Door, type: str) -> None:
    fault = own(path, path.toxic(1, type))
    assert undone(fault).cut is (type == "bandwidth")
    assert path.show(fault.proxy)["toxics"] == []
    assert replace(path, listen=fault.listen).serves()
    assert undone(fault, Way.CUT).others is None
    assert path.is_normal()


@pytest.mark.parametrize("way", list(Way))
def test_path_of_ours_without_toxics_goes(path: Door, way: Way) -> None:
    fault = own(path)
    for _ in range(2):
        assert undone(fault, way) == Undone()
        assert path.is_normal()


def test_path_of_ours_that_was_taken_away_is_not_made_again(path: Door) -> None:
    fault = own(path, path.toxic())
    path.call("DELETE", f"/proxies/{fault.proxy}")
    assert undone(fault, ours_to_open=True).others is Others.GONE
    assert path.is_normal()


def test_lease_goes(path: Door) -> None:
    name = written(Kind.LEASE, RUN, 5)
    fault = Fault(RUN, path.url, name, name, "127.0.0.1:0", "127.0.0.1:1", 5, owned=True)
    body = {"name": name, "listen": fault.listen, "upstream": fault.upstream, "enabled": False}
    path.call("POST", "/proxies", body)
    assert undone(fault) == Undone()
    assert path.is_normal()


# --- calls that arrive late -----------------------------------------------------------------------


def named(fault: Fault) -> dict[str, undo_steps.Call]:
    mark, close, serve = undo_steps.close_and_stand_in(fault)
    stand_in_closes, opens, delete = undo_steps.swap_back(fault)
    (soften,), (toxic_deleted,) = undo_steps.soften(fault), undo_steps.delete_toxics(fault)
    return {
        "soften": soften,
        "delete the toxic": toxic_deleted,
        "mark": mark,
        "close": close,
        "serve": serve,
        "open": opens,
        "close the stand-in": stand_in_closes,
        "delete the stand-in": delete,
    }


QUIET_CALLS = ("soften", "delete the toxic")
CUT_CALLS = tuple(named(Fault(RUN, "", "", PROXY, "", "", 0, (Toxic("latency", {}),))))[1:]


@pytest.mark.parametrize(
    ("way", "late"),
    [(Way.QUIET, name) for name in QUIET_CALLS] + [(Way.CUT, name) for name in CUT_CALLS],
)
def test_a_call_that_arrives_late_is_told_and_mended(path: Door, way: Way, late: str) -> None:
    fault = path.put(path.fault())
    with relay(path.url, is_call(named(fault)[late]), 2.0) as slow:
        found = undone(replace(fault, server=slow.url), way, frozen_s=5.0)
        assert slow.delivered.wait(WITHIN_S)
    if found.late is None:
        assert late in ("close", "serve")  # answered after all, since others were waited for
    else:
        assert 0 < found.late.until_s - time.monotonic() <= LATE_S
    assert found.replaced is (way is Way.CUT and late == "delete the toxic")
    undone(fault, ours_to_open=found.late is not None and found.late.closes)
    assert path.is_normal()


def test_a_close_that_arrives_after_everything_else_is_finished_by_another_look(
    path: Door,
) -> None:
    fault = path.put(path.fault())
    with relay(path.url, is_call(named(fault)["close"]), 4.5) as slow:
        found = undone(replace(fault, server=slow.url), Way.CUT)
        assert slow.delivered.wait(WITHIN_S)
    assert found.late is not None
    assert found.late.closes
    assert undone(fault, ours_to_open=True).others is None
    assert path.is_normal()
