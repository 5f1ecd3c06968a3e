"""What counts as another machine, and that it is refused before anything is connected to."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosbandit.cli.target_permission import (
    Endpoint,
    host_of,
    refuse_unmeant,
    server_named,
    touched,
)
from chaosbandit.errors import UsageError
from chaosbandit.scenario import load
from chaosbandit.scenario.host_patterns import pattern
from chaosbandit.scenario.project_rules import Rules
from tests.e2e.runs import QUICK, chaosbandit, scenario_with

FAR = "192.0.2.1"  # of a network that is never used, RFC 5737
DEMO = {
    "CB_DEMO_TOXIPROXY": "http://127.0.0.1:8474",
    "CB_DEMO_INVENTORY": "127.0.0.1:9001",
    "CB_DEMO_LISTEN": "127.0.0.1:9101",
    "CB_DEMO_CANARY": "127.0.0.1:9200",
    "CB_DEMO_CONTROL": "127.0.0.1:9100",
}


FILE = Path("/etc/chaosbandit/rules.toml")


def at(host: str, port: int | None = 80, *, on_path: bool = False) -> Endpoint:
    return Endpoint(host, port, "traffic.url", on_path)


def rules(allow: tuple[str, ...] = (), protect: tuple[str, ...] = ()) -> Rules:
    return Rules(
        allow=tuple(pattern(each, FILE) for each in allow),
        protect=tuple(pattern(each, FILE) for each in protect),
    )


@contextmanager
def names(known: Mapping[str, list[str]], canonical: str = "") -> Iterator[None]:
    """A resolver that knows these names and no others."""

    def getaddrinfo(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (2, 1, 6, "" if number else canonical, (address, 0))
            for number, address in enumerate(known[host])
        ]

    with patch("socket.getaddrinfo", getaddrinfo):
        yield


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "::1", "127.9.9.9", "0177.0.0.1", "2130706433"]
)
def test_this_machine_needs_no_yes(host: str) -> None:
    refuse_unmeant([at(host)], yes=False)


@pytest.mark.parametrize("host", [FAR, "2001:db8::1", "10.0.0.1", "0.0.0.0", "3232235777"])
def test_others_need_it(host: str) -> None:
    with pytest.raises(UsageError, match=f"found {host}, which is not on this machine"):
        refuse_unmeant([at(host)], yes=False)
    refuse_unmeant([at(host)], yes=True)


def test_a_name_without_an_address_is_left_to_those_who_ask_for_it() -> None:
    refuse_unmeant([at("no-such-host.invalid")], yes=False)


def test_what_is_allowed_needs_no_yes_either() -> None:
    allowed = rules(allow=(f"{FAR}:80", "*.staging.example", "10.0.0.0/8"))
    known = {
        "shop.staging.example": [FAR],
        "a": ["10.0.0.1", "10.0.0.2"],
        "b": ["10.0.0.1", "192.0.2.9"],
    }
    with names({**known, FAR: [FAR]}):
        refuse_unmeant([at(FAR), at("shop.staging.example"), at("a", 5432)], False, allowed)
        for refused in (at(FAR, 81), at("b")):
            with pytest.raises(UsageError, match=rf"found {refused.host}, .*--yes") as caught:
                refuse_unmeant([at("a"), refused], False, allowed)
            assert "found a" not in str(caught.value)


def test_a_protected_target_is_refused_with_its_rule_and_file() -> None:
    with names({"db": ["10.1.2.3"]}), pytest.raises(UsageError) as caught:
        refuse_unmeant([at("db", 5432)], True, rules(("db",), ("10.0.0.0/8",)))
    assert str(caught.value) == (
        "found db:5432 (traffic.url, which is 10.1.2.3), protected by `10.0.0.0/8` in "
        "/etc/chaosbandit/rules.toml; wanted targets that are not: neither --yes nor `allow` "
        "lifts that. Name others, or have `protect` changed by those it belongs to. Nothing was "
        "connected to"
    )


@pytest.mark.parametrize(
    ("protect", "place"),
    [
        ("127.0.0.1", at("localhost")),
        ("127.0.0.1", at("2130706433")),
        ("localhost:80", at("LOCALHOST")),
        ("::1", at("::1")),
        ("10.0.0.0/8", at("::ffff:10.0.0.1")),
        ("*.prod.invalid", at("db.prod.invalid")),  # known to nobody, and refused all the same
        ("db.prod.invalid", at("DB.prod.invalid.")),
        ("10.0.0.1", at("10.0.0.1", on_path=True)),
        ("10.0.0.1:81", at("10.0.0.1", None)),
    ],
)
def test_no_yes_and_no_allow_lifts_it(protect: str, place: Endpoint) -> None:
    everything = rules((protect, "0.0.0.0/1", "128.0.0.0/1"), (protect,))
    with pytest.raises(UsageError, match="protected by"):
        refuse_unmeant([at("127.0.0.2"), place], True, everything)


def test_all_protected_targets_are_named() -> None:
    with pytest.raises(UsageError, match=r"found 10.0.0.1:80 .*; \[::1\]:80 "):
        refuse_unmeant([at("10.0.0.1"), at("::1")], True, rules(protect=("10.0.0.1", "::1")))


def test_the_name_behind_a_short_one_is_protected() -> None:
    with names({"db": [FAR]}, canonical="db.prod.example"), pytest.raises(UsageError) as caught:
        refuse_unmeant([at("db")], True, rules(protect=("*.prod.example",)))
    assert "which is db.prod.example" in str(caught.value)


def test_a_name_is_asked_for_in_each_spelling_and_with_its_final_dot() -> None:
    with names({"xn--zca.example": [FAR], "ss.example": ["10.0.0.1"], "db.": [FAR]}):
        for place, protect in ((at("ß.example"), FAR), (at("ß.example"), "10.0.0.1")):
            with pytest.raises(UsageError, match="protected by"):
                refuse_unmeant([place], True, rules(protect=(protect,)))
        with pytest.raises(UsageError, match=r"found db\., which is not on this machine"):
            refuse_unmeant([at("db.")], False)


def test_what_lies_on_the_path_of_faults_needs_no_yes() -> None:
    refuse_unmeant([at(FAR, on_path=True)], yes=False)


@given(st.data(), st.lists(st.ip_addresses().map(str), min_size=1, max_size=4), st.booleans())
def test_protect_wins_over_whatever_is_allowed(
    data: st.DataObject, addresses: list[str], yes: bool
) -> None:
    protected = data.draw(st.sampled_from(["db.example", "*.example", *addresses]))
    allowed = data.draw(st.lists(st.sampled_from(["db.example", *addresses]), unique=True))
    host = data.draw(st.sampled_from(["db.example", "DB.Example", "db.example."]))
    known = {"db.example": addresses, "db.example.": addresses}
    with names(known), pytest.raises(UsageError, match="protected by"):
        refuse_unmeant([at(host)], yes, rules(tuple(allowed), (protected,)))


def places(folder: Path, text: str = QUICK, **changed: str) -> list[tuple[str, str, bool]]:
    scenario = load(scenario_with(folder, text), {**DEMO, **changed}).scenario
    found = touched(scenario, scenario.toxiproxy)
    return [(str(place), place.key, place.on_path) for place in found]


@pytest.mark.parametrize(
    ("variable", "key"),
    [
        ("CB_DEMO_TOXIPROXY", "toxiproxy"),
        ("CB_DEMO_CANARY", "traffic.url"),
        ("CB_DEMO_CONTROL", "traffic.control_url"),
        ("CB_DEMO_LISTEN", "proxies.inventory.check"),
    ],
)
def test_every_host_that_gets_requests_or_faults_counts(
    variable: str, key: str, tmp_path: Path
) -> None:
    there = f"http://{FAR}" if variable == "CB_DEMO_TOXIPROXY" else f"{FAR}:80"
    assert (f"{FAR}:80", key, False) in places(tmp_path, **{variable: there})


def test_urls_have_their_usual_ports(tmp_path: Path) -> None:
    text = QUICK.replace("url: http://${CB_DEMO_CANARY}/", "url: https://Shop.example/")
    assert places(tmp_path, text)[0] == ("shop.example:443", "traffic.url", False)
    assert str(host_of("http://[::1]:8474")) == "[::1]:8474"


def test_in_edge_requests_go_to_the_upstream(tmp_path: Path) -> None:
    text = QUICK.replace("topology: canary", "topology: edge")
    found = places(tmp_path, text, CB_DEMO_INVENTORY=f"{FAR}:80")
    assert (f"{FAR}:80", "proxies.inventory.upstream", False) in found
    assert not [key for _, key, on_path in found if on_path or key.endswith("listen")]


def test_in_canary_the_path_of_faults_may_be_protected(tmp_path: Path) -> None:
    found = places(tmp_path, CB_DEMO_INVENTORY="db.example:5432")
    assert ("db.example:5432", "proxies.inventory.upstream", True) in found
    assert ("127.0.0.1:9101", "proxies.inventory.listen", True) in found


@pytest.mark.parametrize("wildcard", ["0.0.0.0:9101", "[::]:9101"])
def test_a_wildcard_listens_at_all_addresses_of_its_server(wildcard: str, tmp_path: Path) -> None:
    text = QUICK.replace("listen: ${CB_DEMO_LISTEN}", f'listen: "{wildcard}"')
    found = places(tmp_path, text, CB_DEMO_TOXIPROXY=f"http://{FAR}:8474")
    assert (wildcard, "proxies.inventory.listen", True) in found
    assert (f"{FAR}:9101", "proxies.inventory.listen", True) in found


def test_the_embedded_server_is_here() -> None:
    assert server_named("embedded") == "embedded"
    assert server_named(None) is None
    assert server_named("http://127.0.0.1:8474/") == "http://127.0.0.1:8474"


@pytest.mark.parametrize(
    "option",
    ["garbage", "https://127.0.0.1:1", "http://", "http://h:99999", "http://[::1:8", "http://h/x"],
)
def test_other_texts_are_no_servers(option: str) -> None:
    with pytest.raises(UsageError, match=r"found --toxiproxy .*, wanted http://host:port"):
        server_named(option)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--toxiproxy", f"http://{FAR}:8474"],
        ["demo", "--toxiproxy", f"http://{FAR}:8474"],
    ],
)
def test_refusals_come_at_once(arguments: list[str], tmp_path: Path) -> None:
    if arguments[0] == "run":
        arguments = [*arguments, str(scenario_with(tmp_path))]
    with socket.create_server(("127.0.0.1", 0)) as canary:
        host, port = canary.getsockname()
        environment = {**DEMO, "CB_DEMO_CANARY": f"{host}:{port}"}
        ended = chaosbandit(tmp_path, *arguments, environment=environment).told(2)
        canary.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            canary.accept()  # nobody has knocked
    assert f"found {FAR}, which is not on this machine" in ended.err
    assert ended.out == ""
