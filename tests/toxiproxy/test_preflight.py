"""Tables of what a server shows, and the sentences that say what is wrong with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaosbandit.core.scenario import Proxy
from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.toxiproxy.preflight import changes, departures, occupied, unresolvable
from chaosbandit.toxiproxy.wire_format import ProxyRecord, ToxicRecord

RUN = "run00001"
MINE = f"cb.{RUN}.2000.1"
SHOWN = ToxicRecord(MINE, "latency", "downstream", 1.0, {"latency": 300, "jitter": 0})
FOUND = ProxyRecord("inventory", "127.0.0.1:10", "127.0.0.1:9", True, (SHOWN,))
BARE = replace(FOUND, toxics=())
WANTED = Proxy("inventory", "127.0.0.1:9", "127.0.0.1:10")
PUT_ON = Fault(
    run=RUN,
    server="http://127.0.0.1:8474",
    name=MINE,
    proxy="inventory",
    listen="127.0.0.1:10",
    upstream="127.0.0.1:9",
    expires_epoch_s=2000,
    toxics=(Toxic("latency", {"latency": 300}, name=MINE),),
)


# --- before anything is put on --------------------------------------------------------------------


@pytest.mark.parametrize(
    "found",
    [
        BARE,
        replace(BARE, listen="localhost:10", upstream="localhost:9"),
    ],
)
def test_a_proxy_as_it_should_be_has_no_departures(found: ProxyRecord) -> None:
    assert departures(found, WANTED) == []


def test_toxics_of_ours_are_no_departure_only_where_they_are_named() -> None:
    assert departures(FOUND, WANTED, {MINE}) == []
    assert departures(FOUND, WANTED, {"cb.run00001.2000.2"}) == departures(FOUND, WANTED)
    assert departures(FOUND, WANTED) == [
        f"inventory carries toxics that are not ours: {MINE}; remove them"
    ]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "there is no proxy inventory; create it with listen 127.0.0.1:10 and upstream "
               "127.0.0.1:9, or correct its name in the scenario"),
        (replace(BARE, enabled=False), "inventory is disabled; enable it"),
        (replace(BARE, listen="[::]:10"), "inventory listens on [::]:10, wanted 127.0.0.1:10"),
        (replace(BARE, upstream="db:9"), "inventory leads to db:9, wanted 127.0.0.1:9"),
    ],
)  # fmt: skip
def test_a_departure_is_a_sentence(found: ProxyRecord | None, words: str) -> None:
    assert departures(found, WANTED) == [words]


def test_all_departures_are_told_at_once() -> None:
    found = replace(FOUND, enabled=False, listen="127.0.0.1:1", upstream="127.0.0.1:2")
    assert len(departures(found, WANTED)) == 4


def test_a_listen_address_that_is_not_given_may_be_any() -> None:
    assert departures(BARE, replace(WANTED, listen=None)) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "cb.run00002.2000.3",
            "run run00002 has cb.run00002.2000.3 on inventory for at most 1000 s more; wait for "
            "it, or end it and run `chaosbandit clean`",
        ),
        (
            "cb.run00002.1000.3",
            "cb.run00002.1000.3 is left over on inventory; run `chaosbandit clean --expired` first",
        ),
        (MINE, f"{MINE} is left over on inventory; run `chaosbandit clean` first"),
        ("latency_downstream", None),
    ],
)
def test_what_a_run_has_on_the_proxy_occupies_it(name: str, words: str | None) -> None:
    listed = {"inventory": replace(FOUND, toxics=(replace(SHOWN, name=name),))}
    assert occupied(WANTED, listed, RUN, 1000.0) == ([] if words is None else [words])


@pytest.mark.parametrize(
    ("name", "stands_in"),
    [
        ("cb-standin.run00002.2000.inventory", True),
        ("cb-standin.run00002.2000.prices", False),
        ("cb-path.run00002.2000.1", False),
        ("cb-lease.run00002.2000", False),
        ("somebody", False),
    ],
)
@pytest.mark.parametrize("missing", [False, True])
def test_a_stand_in_occupies_the_proxy_whether_it_is_there_or_not(
    name: str, stands_in: bool, missing: bool
) -> None:
    listed = {name: replace(BARE, name=name)} | ({} if missing else {"inventory": BARE})
    told = occupied(WANTED, listed, RUN, 1000.0)
    assert [f"{name} in place of inventory for at most 1000 s" in one for one in told] == (
        [True] if stands_in else []
    )


@pytest.mark.parametrize(
    ("upstream", "resolves"),
    [("127.0.0.1:9", True), ("[::1]:9", True), ("localhost:9", True), (":9", True),
     ("0.0.0.0:9", True), ("nowhere.invalid:9", False)],
)  # fmt: skip
def test_an_upstream_must_resolve(upstream: str, resolves: bool) -> None:
    told = unresolvable(Proxy("inventory", upstream))
    said = f"the upstream {upstream} of inventory cannot be resolved; correct it"
    assert told == ([] if resolves else [said])


# --- while something is on ------------------------------------------------------------------------


def test_what_reads_back_as_it_was_put_on_has_not_changed() -> None:
    assert changes(FOUND, PUT_ON) == []
    spelled = replace(FOUND, listen="localhost:10", toxics=(replace(SHOWN, stream="DownStream"),))
    assert changes(spelled, PUT_ON) == []


@pytest.mark.parametrize("toxicity", [0.1, 0.123456789, 1 / 3])
def test_a_share_reads_back_as_the_32_bit_float_that_servers_keep(toxicity: float) -> None:
    fault = replace(PUT_ON, toxics=(replace(PUT_ON.toxics[0], toxicity=toxicity),))
    assert changes(replace(FOUND, toxics=(replace(SHOWN, toxicity=toxicity),)), fault) == []
    kept = float(f"{toxicity:.8g}")
    assert changes(replace(FOUND, toxics=(replace(SHOWN, toxicity=kept),)), fault) == []
    other = replace(SHOWN, toxicity=toxicity + 1e-6)
    assert len(changes(replace(FOUND, toxics=(other,)), fault)) == 1


@pytest.mark.parametrize("toxicity", [1e300, float("inf"), float("nan")])
def test_a_share_that_is_none_is_a_change_and_no_crash(toxicity: float) -> None:
    found = replace(FOUND, toxics=(replace(SHOWN, toxicity=toxicity),))
    assert len(changes(found, PUT_ON)) == 1


def test_toxics_are_compared_in_the_order_in_which_servers_list_them() -> None:
    down, up = PUT_ON.toxics[0], Toxic("slow_close", {"delay": 7}, "upstream", name="cb.x")
    fault = replace(PUT_ON, toxics=(down, up))
    shown_up = ToxicRecord("cb.x", "slow_close", "upstream", 1.0, {"delay": 7})
    assert changes(replace(FOUND, toxics=(shown_up, SHOWN)), fault) == []
    assert len(changes(replace(FOUND, toxics=(SHOWN,)), fault)) == 1


EDITED = [
    replace(SHOWN, attributes={"latency": 299, "jitter": 0}),
    replace(SHOWN, attributes={"latency": 300, "jitter": 1}),
    replace(SHOWN, type="slow_close", attributes={"delay": 300}),
    replace(SHOWN, stream="upstream"),
    replace(SHOWN, toxicity=0.5),
    replace(SHOWN, name="cb.run00001.2000.2"),
]


@pytest.mark.parametrize("toxic", EDITED)
def test_an_edited_toxic_is_a_change(toxic: ToxicRecord) -> None:
    (told,) = changes(replace(FOUND, toxics=(toxic,)), PUT_ON)
    assert told.endswith(f"wanted {MINE} (latency downstream latency=300)")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "proxy inventory is gone"),
        (replace(FOUND, enabled=False), "proxy inventory is disabled"),
        (replace(FOUND, listen="127.0.0.1:1"),
         "proxy inventory listens on 127.0.0.1:1, wanted 127.0.0.1:10"),
        (replace(FOUND, upstream="127.0.0.1:1"),
         "proxy inventory leads to 127.0.0.1:1, wanted 127.0.0.1:9"),
        (BARE, f"proxy inventory carries no toxic, wanted {MINE} (latency downstream latency=300)"),
        (replace(FOUND, toxics=(SHOWN, replace(SHOWN, name="theirs", toxicity=0.25))),
         f"proxy inventory carries {MINE} (latency downstream latency=300), theirs (latency "
         f"downstream latency=300 toxicity=0.25), wanted {MINE} (latency downstream latency=300)"),
        (replace(FOUND, toxics=(replace(SHOWN, attributes={"latency": 0}),)),
         f"proxy inventory carries {MINE} (latency downstream without effect), wanted {MINE} "
         "(latency downstream latency=300)"),
    ],
)  # fmt: skip
def test_a_change_is_a_sentence(found: ProxyRecord | None, words: str) -> None:
    assert changes(found, PUT_ON) == [words]
