"""The target: asked gently, judged by the scenario's own SLOs."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaosbandit.core.model import Outcome, Sample
from chaosbandit.core.scenario import Proxy, Scenario
from chaosbandit.doctor import target
from chaosbandit.doctor.findings import Finding
from chaosbandit.doctor.target import ODD, at_least, findings, judged
from tests.doctor.looking import levels, one, subject
from tests.fake_api import Answer, constant, fake_api, raw, serving
from tests.operator_path import free_port
from tests.simulated import AVAILABILITY, LATENCY, sample, scenario

HERE = "http://h/{n}"


def samples(good: int, slow: int = 0, broken: int = 0, status: int = 503) -> list[Sample]:
    answers = [sample(n) for n in range(good)]
    answers += [sample(n, latency_s=0.5) for n in range(slow)]
    return answers + [sample(n, bad=True, status=status) for n in range(broken)]


@pytest.mark.parametrize(
    ("sent", "level", "said"),
    [
        (samples(20), "ok", "answers 200 in 20 ms, at worst 20 ms"),
        (samples(19, slow=1), "note", "1 of 20 slower than 300 ms (latency), which may be chance"),
        (samples(18, slow=2), "warn", "2 of 20 slower than 300 ms (latency): steady state would"),
        (samples(10, slow=10), "fail", "10 of 20 slower than 300 ms"),
        (samples(18, broken=2), "warn", "2 of 20 not status in 2xx-3xx (availability)"),
        (samples(0, broken=20), "fail", "answers 503"),
        (samples(19, broken=1, status=401), "fail", "wants other credentials: 1 of 20"),
        (samples(0, broken=20, status=403), "fail", "forbids these requests"),
        (samples(15, broken=5, status=429), "fail", "limits the rate: 5 of 20 answers are 429"),
    ],
)
def test_steady_state(sent: Sequence[Sample], level: str, said: str) -> None:
    found = judged("target", HERE, sent, (AVAILABILITY, LATENCY))
    assert (levels([found]), said in found.found) == ([level], True), found


def test_a_target_that_never_answers() -> None:
    sent = [sample(n, outcome=Outcome.TIMEOUT, latency_s=2.0) for n in range(20)]
    found = judged("target", HERE, sent, (AVAILABILITY,))
    assert (levels([found]), "none of 20 requests (20 timeout)" in found.found) == (["fail"], True)


def test_what_is_wrong_with_every_answer_is_told() -> None:
    why = "Duplicate Content-Length"
    sent = [replace(sample(n, outcome=Outcome.NO_HTTP), why=why) for n in range(20)]
    found = judged("target", HERE, sent, (AVAILABILITY,))
    assert (levels([found]), found.do) == (["fail"], ODD)
    assert why in found.found


def test_what_could_not_be_sent_is_no_fault_of_the_target() -> None:
    sent = [sample(n, outcome=Outcome.OVERLOAD) for n in range(2)] + samples(18)
    found = judged("target", HERE, sent, (AVAILABILITY, LATENCY))
    assert levels([found]) == ["fail"]
    assert found.found == f"{HERE}: 2 of 20 requests could not be sent from this machine"


def test_without_slos_slowness_is_no_matter() -> None:
    assert levels([judged("dependency", HERE, samples(0, slow=20), ())]) == ["ok"]


@pytest.mark.parametrize(
    ("bad", "n", "ratio", "probability"),
    [(1, 20, 0.01, 0.182093), (2, 20, 0.01, 0.016859), (0, 20, 0.5, 1.0), (20, 20, 0.5, 2**-20)],
)
def test_chance(bad: int, n: int, ratio: float, probability: float) -> None:
    assert at_least(bad, n, ratio) == pytest.approx(probability, rel=1e-3)


# --- with servers ---------------------------------------------------------------------------------


def wired(url: str, control: str | None = None, **changes: Any) -> Scenario:
    """A scenario with this target, sending as fast as the look allows."""
    base = scenario(check=False)
    traffic = replace(base.traffic, url=url, control_url=control or url, **changes)
    return replace(base, traffic=traffic)


def looked(
    tmp_path: Path, reply: Answer, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> list[Finding]:
    monkeypatch.setattr(target, "RATE_PER_S", 50.0)

    async def look() -> list[Finding]:
        async with fake_api(reply) as url:
            return await findings(subject(tmp_path, wired(f"{url}/{{n}}", **changes)))

    return asyncio.run(look())


def test_a_healthy_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = looked(tmp_path, constant(raw("200 OK", "x")), monkeypatch)
    assert levels(found) == ["ok"]
    assert "answers 200 in" in one(found, "target").found


def test_a_slow_and_a_silent_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "REQUESTS", 5)
    found = looked(tmp_path, constant(None), monkeypatch, timeout_s=0.3)
    assert one(found, "target").level == "fail"
    assert "5 timeout" in one(found, "target").found


def test_unsafe_methods_are_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def record(method: str, path: str, body: bytes) -> bytes:
        asked.append(path)
        return raw("200 OK")

    found = looked(tmp_path, record, monkeypatch, method="POST")
    assert levels(found) == ["ok"]
    assert "POST may change data" in found[0].found
    assert asked == []


def test_each_request_has_its_number_and_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def record(method: str, path: str, body: bytes) -> bytes:
        asked.append((method, path))
        return raw("200 OK")

    looked(tmp_path, record, monkeypatch)
    assert sorted(asked) == sorted(("GET", f"/{n}") for n in range(20))


def test_the_dependency_of_every_ladder_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "RATE_PER_S", 50.0)
    monkeypatch.setattr(target, "REQUESTS", 5)
    asked: list[str] = []

    async def reply(method: str, path: str, body: bytes) -> bytes:
        asked.append(path)
        return raw("429 Too Many Requests" if path == "/prices" else "200 OK")

    async def look() -> list[Finding]:
        async with fake_api(reply) as url:
            return await findings(subject(tmp_path, _of_three_ladders(url)))

    found = asyncio.run(look())
    assert [finding.check for finding in found] == ["target", "dependency", "dependency"]
    assert levels(found) == ["ok", "ok", "fail"]
    assert "/stock answers 200" in found[1].found
    assert "/prices limits the rate" in found[2].found
    assert Counter(asked) == {
        **{f"/{n}": 1 for n in range(5)},
        "/stock": 5,
        "/prices": 5,
    }


def _of_three_ladders(url: str) -> Scenario:
    """Two of one proxy, one of another, and a proxy without any."""
    base = wired(f"{url}/{{n}}")
    names = {"inventory": "stock", "prices": "prices", "search": "search"}
    proxies = (
        Proxy(name, "127.0.0.1:1", f"127.0.0.1:{port}", f"{url}/{path}")
        for port, (name, path) in enumerate(names.items(), start=2)
    )
    ladders = (
        replace(base.ladder, name=f"slow-{n}", proxy=proxy)
        for n, proxy in enumerate(("inventory", "prices", "inventory"))
    )
    return replace(base, proxies=tuple(proxies), ladders=tuple(ladders))


def test_nobody_there_is_told_apart(tmp_path: Path) -> None:
    refused = wired(f"http://127.0.0.1:{free_port()}/", "http://no-such-host.invalid/")
    found = asyncio.run(findings(subject(tmp_path, refused)))
    assert levels(found) == ["fail", "fail"]
    assert "refused" in one(found, "target").found
    assert "no address for host no-such-host.invalid" in one(found, "control").found


def test_tls_is_told_apart(tmp_path: Path) -> None:
    async def look() -> list[Finding]:
        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(raw("400 Bad Request"))
            await writer.drain()

        async with serving(plain) as address:
            return await findings(subject(tmp_path, wired(f"https://{address}/")))

    found = asyncio.run(look())
    assert levels(found) == ["fail"]
    assert "TLS failure" in one(found, "target").found


def test_what_is_far_is_not_touched(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as service:
        url = f"http://127.0.0.1:{service.getsockname()[1]}/"
        far = subject(tmp_path, wired(url), far=frozenset({"127.0.0.1"}))
        assert asyncio.run(findings(far)) == []
        service.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            service.accept()
