"""Toxiproxy servers: real, embedded, old, slow, frozen and absent ones."""

from __future__ import annotations

import asyncio
import json

import pytest

from chaosbandit.doctor.findings import Finding
from chaosbandit.doctor.lease_holders import Holders
from chaosbandit.doctor.server_answer import ServerAnswer, look
from chaosbandit.doctor.servers import findings, versioned
from tests.doctor.faults import listed
from tests.doctor.looking import URL, levels, one, shown, version
from tests.fake_api import Answer, constant, fake_api, raw
from tests.operator_path import free_port, operator_path


def looked(
    reply: Answer, *names: str, deadline_s: float = 2.0
) -> tuple[ServerAnswer, list[Finding]]:
    async def run() -> ServerAnswer:
        async with fake_api(reply) as url:
            return await look(url, names, deadline_s=deadline_s)

    seen = asyncio.run(run())
    return seen, findings(seen)


def api(proxies: bytes | None, hanging: tuple[str, ...] = (), after_s: float = 0.0) -> Answer:
    """A server whose list of proxies is `proxies`; it never tells of those that hang."""

    async def reply(method: str, path: str, body: bytes) -> bytes | None:
        if path == "/version":
            return raw("200 OK", '{"version": "2.12.0"}')
        await asyncio.sleep(after_s)
        if path == "/proxies":
            return proxies
        return None if path.rpartition("/")[2] in hanging else raw("404 Not Found")

    return reply


def test_a_server_of_each_kind(toxiproxy_url: str) -> None:
    with operator_path(toxiproxy_url) as proxy:
        before = listed(proxy)
        seen = asyncio.run(look(toxiproxy_url, ()))
        assert seen.proxies is not None
        assert seen.proxies["inventory"].listen == proxy.listen
        found = findings(seen)
        assert levels(found) == ["ok", "ok"]
        assert "runs Toxiproxy 2.12.0" in one(found, "toxiproxy").found
        assert listed(proxy) == before


@pytest.mark.parametrize(
    ("text", "level", "said"),
    [
        ('{"version": "2.12.0"}', "ok", "runs Toxiproxy 2.12.0"),
        ('{"version": "2.7.0"}', "ok", "runs Toxiproxy 2.7.0"),
        ('{"version": "git"}', "note", "states no version"),
        ('{"version": "2.6.0"}', "fail", "runs Toxiproxy 2.6.0"),
        ("2.1.4", "fail", "runs Toxiproxy 2.1.4"),
        ("1.2.1", "fail", "runs Toxiproxy 1.2.1"),
    ],
)
def test_versions(text: str, level: str, said: str) -> None:
    found = versioned(URL, version(text))
    assert (levels([found]), said in found.found) == ([level], True), found


def test_nobody_there() -> None:
    seen = asyncio.run(look(f"http://127.0.0.1:{free_port()}", ()))
    assert levels(findings(seen)) == ["fail"]
    assert "refused" in findings(seen)[0].found
    assert "start Toxiproxy" in findings(seen)[0].do
    unknown = asyncio.run(look("http://no-such-host.invalid:8474", ()))
    assert "no address for host" in findings(unknown)[0].found


def test_a_server_that_never_answers() -> None:
    seen, found = looked(constant(None), deadline_s=0.2)
    assert (seen.version, levels(found)) == (None, ["fail"])
    assert "takes connections and does not answer `GET /version`" in found[0].found
    assert found[0].do == "it hangs or is frozen: restart it"


@pytest.mark.parametrize(
    "reply",
    [
        raw("200 OK", "<html>"),
        raw("200 OK", '["2.12.0"]'),
        raw("404 Not Found", "2.12.0"),
        raw("200 OK", '{"version": "2.12.0"}'),  # and the same for /proxies
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
    ],
)
def test_another_service_at_the_port_is_one_failure(reply: bytes) -> None:
    seen, found = looked(constant(reply))
    assert (levels(found), seen.proxies) == (["fail"], None)
    assert "does not speak Toxiproxy's API" in found[0].found
    assert "correct its address" in found[0].do


def test_a_service_with_a_version_and_no_proxies_is_another() -> None:
    for reply in (raw("404 Not Found", "nothing here"), raw("200 OK", json.dumps([]))):
        _, found = looked(api(reply))
        assert levels(found) == ["fail"]
        assert "does not speak Toxiproxy's API" in found[0].found


def test_a_frozen_server_and_the_proxy_that_hangs() -> None:
    seen, found = looked(api(None, ("cart",)), "inventory", "cart", deadline_s=0.3)
    assert (levels(found), seen.hanging) == (["ok", "fail"], ("cart",))
    stuck = one(found, "API latency")
    assert "is frozen" in stuck.found
    assert "cart hangs" in stuck.found
    assert stuck.do.startswith("look again in a minute, since most freezes end by themselves")
    assert "DELETE" not in stuck.do  # of a proxy that hangs: it would take the whole API down


def test_a_frozen_server_on_which_a_dead_run_left_something_is_cleaned() -> None:
    seen, _ = looked(api(raw("503 Unavailable"), ("cart",)), "cart", deadline_s=0.3)
    stuck = one(findings(seen, Holders(dead=("run001",))), "API latency")
    assert stuck.do.startswith(f"run `chaosbandit clean --toxiproxy {seen.url}`; restart")


@pytest.mark.parametrize("mute", [True, False])
def test_no_server_is_restarted_under_a_run(mute: bool) -> None:
    """Wherever the advice would be to restart it."""
    seen, _ = looked(constant(None) if mute else api(None), deadline_s=0.2)
    (found,) = [each for each in findings(seen, Holders(("run001",))) if each.level == "fail"]
    assert found.do.startswith("wait for run run001 of this host, which is at work there")
    (both,) = [
        each for each in findings(seen, Holders(("run001", "run002"))) if each.level == "fail"
    ]
    assert both.do.startswith("wait for runs run001, run002 of this host, which are at work there")


def test_a_frozen_server_of_which_we_know_no_proxy() -> None:
    _, found = looked(api(None), "inventory", deadline_s=0.3)
    assert levels(found) == ["ok", "fail"]
    assert "hangs" not in one(found, "API latency").found


def test_an_address_that_is_none_of_a_server() -> None:
    (found,) = findings(asyncio.run(look("https://127.0.0.1:8474", ())))
    assert levels([found]) == ["fail"]
    assert "https://127.0.0.1:8474" in found.found


def test_another_trouble_with_the_list() -> None:
    _, found = looked(api(raw("500 Oops", '{"error": "out of cheese"}')))
    assert levels(found) == ["ok", "fail"]
    assert "out of cheese" in one(found, "API latency").found


def test_a_slow_server_warns() -> None:
    _, found = looked(api(raw("200 OK", "{}"), after_s=0.12))
    assert levels(found) == ["ok", "warn"]
    assert levels(findings(shown(calls_s=(0.001, 0.001, 0.2)))) == ["ok", "ok"]


def test_a_server_too_slow_for_a_run_fails() -> None:
    _, found = looked(api(raw("200 OK", "{}"), after_s=0.3))
    assert levels(found) == ["ok", "fail"]
    assert "wanted 250 ms or less" in f"{found[1].found}, wanted {found[1].wanted}"
    assert "a run refuses" in found[1].do


def test_our_own_server() -> None:
    assert "embedded server starts" in findings(shown(embedded=True))[0].found
