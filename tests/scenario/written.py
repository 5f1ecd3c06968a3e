"""Valid scenarios at random: the data of a file, and the `Scenario` that it means.

What is expected is computed from the numbers that were chosen, never by reading the text again.
All chance comes from a `Random`, so that seeds and hypothesis can both choose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from random import Random
from typing import Any

from chaosbandit.core.doses.errors import Errors
from chaosbandit.core.doses.latency import Latency
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.scenario import Guardrails, Proxy, Scenario, Search, Timing, Traffic
from chaosbandit.core.slo import SLI, SLO, ErrorBudget
from chaosbandit.core.topology import TOPOLOGIES
from chaosbandit.faults.fault import Bypass
from tests.scenario.styled import Quantity, Unquoted

Data = dict[str, Any]
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
DESCRIPTIONS = [
    "", "How slow?", "wie langsam – 慢到什么程度？", "كم هو بطيء؟",
    "two\nlines\n", "a: b # c", "no",
    "null", "👩\u200d👩\u200d👧 ok", "e\u0301 is not é", "100% {n} [x] & *y !z", "5 $ and a \t tab",
    "x" * 4000,
]  # fmt: skip
CONDITIONS: list[tuple[str, tuple[tuple[int, int], ...]]] = [
    ("status in 2xx", ((200, 299),)),
    ("status in 2xx-3xx", ((200, 399),)),
    ("status in 200-299,404", ((200, 299), (404, 404))),
    ("status in 2xx , 418", ((200, 299), (418, 418))),
]
HEADERS = ["1", "null", "Bearer a.b=", "W/\"x\", 'y'", "caf\xe9", "# a", "a\tb"]
FREEZE = ["/etc/freeze", "/tmp/a b/ü", "https://ops.example/freeze?x=1"]
WORDS = ["--around", "it's; rm -rf $PATH | ü", "", "no", "7"]


@dataclass(frozen=True, slots=True)
class Valid:
    """What a file says, what its environment holds, and what both mean."""

    data: Data
    environment: dict[str, str]
    scenario: Scenario


def valid(rng: Random) -> Valid:
    """Any scenario: every key now and then, every topology, ladder, gate, bypass and freeze."""
    topology = rng.choice(["edge", "canary"])
    errors = topology == "edge" and rng.random() < 0.4
    proxies, said_proxies = _proxies(rng, wired=topology == "canary")
    traffic, said_traffic = _traffic(rng, topology == "canary", errors)
    slos, said_slos = _slos(rng)
    budget, said_budget = _budget(rng)
    search, said_search = _search(rng)
    only = [rng.choice(proxies)] if topology == "edge" else proxies
    ladders, said_ladders = _ladders(rng, errors, only, search.resolution)
    guardrails, said_guardrails = _guardrails(rng, ladders)
    timing, said_timing = _timing(rng)
    gates, said_gates = _gates(rng, ladders, guardrails)
    ladders = tuple(_with_arm_at(ladder, gates.get(ladder.name)) for ladder in ladders)
    named, description, seed = name(rng), rng.choice(DESCRIPTIONS), rng.randint(0, 2**63 - 1)
    server = rng.choice(["embedded", "http://127.0.0.1:8474", "https://toxiproxy.example:1/"])
    more, meant = _some(
        rng,
        ("description", description, "description", description),
        ("seed", whole(rng, seed), "seed", seed),
    )
    scenario = Scenario(
        named, server.rstrip("/"), TOPOLOGIES[topology], proxies, traffic, slos, budget, ladders,
        search, guardrails, timing, gates, **meant,
    )  # fmt: skip
    scenario = replace(scenario, search=_that_can_end(rng, scenario, said_search))
    data = {
        "version": Quantity(1),
        "name": named,
        "toxiproxy": server,
        "topology": topology,
        "proxies": said_proxies,
        "traffic": said_traffic,
        "slos": said_slos,
        "budget": said_budget,
        "ladders": said_ladders,
        "guardrails": said_guardrails,
        **{
            key: value for key, value in [("search", said_search), ("timing", said_timing)] if value
        },
        **({"require": said_gates} if said_gates or rng.random() < 0.5 else {}),
        **more,
    }
    data, environment = _with_variables(rng, _shuffled(rng, data))
    return Valid(data, environment, scenario)


def name(rng: Random) -> str:
    """A name, as the format wants them."""
    return "n" + "".join(rng.choices(LETTERS, k=rng.choice([0, 3, 8, 63])))


def whole(rng: Random, number: int) -> str:
    """A whole number in one of its spellings."""
    quantities = [Quantity(number), Quantity(f"{number:_}")]
    return rng.choice([*quantities, Unquoted(f"0x{number:x}"), Unquoted(f"+{number}")])


def share(rng: Random, value: Fraction) -> str:
    """A share of at most six digits in one of its spellings."""
    percent = f"{float(value * 100):.4f}".rstrip("0").rstrip(".")
    spellings = [f"{percent}%", f"{percent} %"]
    if value < 1:
        spellings += [f"{float(value):.6f}", f"{float(value):.6f}".removeprefix("0")]
    return Quantity(rng.choice(spellings))


def duration(rng: Random, milliseconds: int) -> str:
    """A duration in one of its spellings."""
    minutes, rest = divmod(milliseconds, 60_000)
    seconds, part = divmod(rest, 1000)
    pieces = [f"{minutes}m", f"{seconds}s", f"{part}ms"]
    together = rng.choice(["", " "]).join(pieces)
    alone = [f"{milliseconds}ms", f"{milliseconds} ms", f"{milliseconds / 1000:.3f}s"]
    return Quantity(rng.choice([*alone, together]))


def _some(rng: Random, *keys: tuple[str, Any, str, Any]) -> tuple[Data, Data]:
    """Some keys as they are said and as they are meant; defaults stand in for the others."""
    kept = [key for key in keys if rng.random() < 0.7]
    rng.shuffle(kept)
    return {key[0]: key[1] for key in kept}, {key[2]: key[3] for key in kept}


def _shuffled(rng: Random, data: Data) -> Data:
    keys = list(data)
    rng.shuffle(keys)
    return {key: data[key] for key in keys}


def _with_variables(rng: Random, data: Data) -> tuple[Data, dict[str, str]]:
    """A few values taken out of the file and put into its environment."""
    environment: dict[str, str] = {}

    def hidden(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: hidden(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [hidden(inner) for inner in value]
        if not isinstance(value, str) or isinstance(value, Unquoted) or rng.random() < 0.97:
            return value
        if value and "}" not in value and "\n" not in value and rng.random() < 0.3:
            return "${UNSET_:-" + value + "}"
        environment[f"V_{len(environment)}"] = str(value)
        return f"${{V_{len(environment) - 1}}}"

    return hidden(data), environment


def _proxies(rng: Random, wired: bool) -> tuple[tuple[Proxy, ...], Data]:
    proxies, said = [], {}
    for number in range(rng.choice([1, 1, 2, 5, 100])):
        words = ["/bin/route", *rng.choices(WORDS, k=rng.randint(0, 4))]
        bypass: Any = rng.choice([None, "http://127.0.0.1:9/around?x=1", words])
        proxy = Proxy(
            f"{number}-{name(rng)}"[:64],
            rng.choice(["127.0.0.1:9001", "[::1]:65535", "db.example:1", "a_b:443"]),
            f"127.0.0.1:{10_000 + number}" if wired or rng.random() < 0.5 else None,
            rng.choice([None, "http://127.0.0.1:9101/stock/1?a=b&c=%20"]),
            _meant_bypass(bypass),
        )
        keys = {"listen": proxy.listen, "check": proxy.check, "bypass": bypass}
        kept = {key: value for key, value in keys.items() if value is not None}
        said[proxy.name] = _shuffled(rng, {"upstream": proxy.upstream, **kept})
        proxies.append(proxy)
    return tuple(proxies), said


def _meant_bypass(said: Any) -> Bypass | None:
    return tuple(said) if isinstance(said, list) else said


def _traffic(rng: Random, canary: bool, errors: bool) -> tuple[Traffic, Data]:
    per_minute, timeout_ms, percent = (rng.randint(*to) for to in RANGES)
    control_url, url = "https://[::1]:9100/p/{n}", "http://127.0.0.1:9200/p/{n}?q={n}"
    fresh = errors or rng.random() < 0.5
    headers = {f"X-{n}": rng.choice(HEADERS) for n in range(rng.choice([0, 1, 3, 100]))}
    method = rng.choice(["GET", "HEAD", "POST"])
    control = canary or rng.random() < 0.3
    said, meant = _some(
        rng,
        ("method", method, "method", method),
        ("headers", headers, "headers", headers),
        ("control_share", share(rng, Fraction(percent, 100)), "control_share", percent / 100),
    )
    said["url"], said["timeout"] = url, duration(rng, timeout_ms)
    said["rate"] = Quantity(f"{per_minute}{rng.choice(['/min', ' / min'])}")
    said |= {"control_url": control_url} if control else {}
    if fresh or rng.random() < 0.5:
        said["connections"] = "per-request" if fresh else "keep-alive"
    if method == "POST" or rng.random() < 0.5:
        said["unsafe_methods"] = True
    traffic = Traffic(
        url, control_url if control else url, float(Fraction(per_minute, 60)), timeout_ms / 1000,
        fresh_connections=fresh, **meant,
    )  # fmt: skip
    return traffic, _shuffled(rng, said)


RANGES = [(60, 120_000), (6000, 300_000), (1, 100)]  # rate a minute, time-out, control share


def _slos(rng: Random) -> tuple[tuple[SLO, ...], list[Data]]:
    slos, said = [], []
    for number in range(rng.choice([1, 2, 20])):
        condition, statuses = rng.choice(CONDITIONS)
        bound_ms = rng.choice([None, rng.randint(1, 5999)])
        if bound_ms is not None:
            latency = f"latency <= {duration(rng, bound_ms)}"
            parts = rng.choice([(condition, latency), (latency, condition), (latency,)])
            statuses = statuses if len(parts) == 2 else ()
            condition = " and ".join(parts)
        objective = Fraction(rng.randint(1, 9990), 10_000)
        sli = SLI(condition, statuses, None if bound_ms is None else bound_ms / 1000)
        slos.append(SLO(f"s{number}", sli, float(objective)))
        keys = {"name": f"s{number}", "good": condition, "objective": share(rng, objective)}
        said.append(_shuffled(rng, keys))
    return tuple(slos), said


def _budget(rng: Random) -> tuple[ErrorBudget, Data]:
    requests, percent, hours = rng.randint(10**6, 10**9), rng.randint(1, 100), rng.randint(1, 8784)
    said, meant = _some(
        rng,
        ("window", Quantity(f"{hours}h"), "window_s", hours * 3600.0),
        ("spend", share(rng, Fraction(percent, 100)), "spend", percent / 100),
    )
    said["requests"] = whole(rng, requests)
    defaults = {"window_s": 30 * 86400.0, "spend": 0.05}
    return ErrorBudget(requests=requests, **(defaults | meant)), said


def _severity(rng: Random, errors: bool, units: int) -> tuple[float, str]:
    """Of a number of milliseconds, or of millionths."""
    if errors:
        return float(Fraction(units, 10**6)), share(rng, Fraction(units, 10**6))
    return units / 1000, duration(rng, units)


def _ladders(
    rng: Random, errors: bool, proxies: Sequence[Proxy], resolution: float
) -> tuple[tuple[Ladder, ...], list[Data]]:
    """One or several; with `errors` the first is of that kind and the others may be."""
    ladders, said = [], []
    for number in range(rng.choice([1, 1, 1, 2, 3, 20])):
        broken = errors and (number == 0 or rng.random() < 0.5)
        proxy = rng.choice(proxies).name
        ladder, keys = _ladder(rng, f"ladder-{number}", broken, proxy, resolution)
        ladders.append(ladder)
        said.append(keys)
    return tuple(ladders), said


def _ladder(
    rng: Random, named: str, errors: bool, proxy: str, resolution: float
) -> tuple[Ladder, Data]:
    top, kind = (10**6, "errors") if errors else (600_000, "latency")
    units = rng.choice([1, rng.randint(1, top - 100)])
    mild, said_mild = _severity(rng, errors, units)
    harsh, said_harsh = _severity(rng, errors, rng.randint(units + 1, top))
    percent, stream = rng.randint(0, 100), rng.choice(["downstream", "upstream"])
    varied = "share" if errors else "latency"
    said, meant = _some(rng, ("stream", stream, "stream", stream))
    said |= {"name": named, "proxy": proxy, "toxic": kind, "from": said_mild, "to": said_harsh}
    said |= {"vary": varied} if rng.random() < 0.5 else {}
    if not errors and rng.random() < 0.5:
        said["jitter"], meant["jitter"] = share(rng, Fraction(percent, 100)), percent / 100
    dose = Errors(**meant) if errors else Latency(**meant)
    return Ladder(named, proxy, dose, mild, harsh, resolution), _shuffled(rng, said)


def _between(rng: Random, unit: str, mild: float, harsh: float) -> tuple[float, str] | None:
    """A severity from `mild` to below `harsh`, in the steps of its unit."""
    scale = 10**6 if unit == "share" else 1000
    low, high = round(mild * scale), round(harsh * scale) - 1
    return _severity(rng, scale > 1000, rng.randint(low, high)) if low <= high else None


def _guardrails(rng: Random, ladders: Sequence[Ladder]) -> tuple[Guardrails, Data]:
    exposure_ms, bad, unresolved = (rng.randint(*to) for to in ((900_000, 3_600_000), LIMIT, LIMIT))
    freeze = rng.sample(FREEZE, rng.randint(0, 3))
    unit = rng.choice(ladders).dose.unit
    meant_for = [ladder for ladder in ladders if ladder.dose.unit == unit]
    mildest, harshest = max(one.mild for one in meant_for), max(one.harsh for one in meant_for)
    cap = _between(rng, unit, mildest, harshest)
    said, meant = _some(
        rng,
        ("abort_if_bad_in_a_row", whole(rng, bad), "abort_if_bad_in_a_row", bad),
        ("max_unresolved", whole(rng, unresolved), "max_unresolved", unresolved),
        ("freeze", freeze, "freeze", tuple(freeze)),
        *([("max_severity", cap[1], "max_severity", cap[0])] if cap else []),
    )
    said["max_exposure"] = duration(rng, exposure_ms)
    if "max_severity" in meant:
        meant["max_severity_unit"] = unit
    return Guardrails(max_exposure_s=exposure_ms / 1000, **meant), said


LIMIT = (1, 10**4)


def _gates(
    rng: Random, ladders: Sequence[Ladder], guardrails: Guardrails
) -> tuple[dict[str, float], Data]:
    meant, said = {}, {}
    for ladder in ladders:
        unit = ladder.dose.unit
        cap = guardrails.max_severity if guardrails.max_severity_unit == unit else None
        found = _between(rng, unit, ladder.mild, min(ladder.harsh, cap or ladder.harsh))
        if found is not None and rng.random() < 0.6:
            meant[ladder.name] = found[0]
            said[ladder.name] = rng.choice(["> ", ">"]) + found[1]
    return meant, _shuffled(rng, said)


def _with_arm_at(ladder: Ladder, gate: float | None) -> Ladder:
    """The ladder, with an arm where its gate is."""
    given = ladder.name, ladder.proxy, ladder.dose, ladder.mild, ladder.harsh, ladder.resolution
    return Ladder(*given, gate)


def _search(rng: Random) -> tuple[Search, Data]:
    policy, confidence, resolution = rng.choice(POLICIES), rng.randint(50, 99), rng.randint(1, 100)
    tenths, cost = rng.randint(11, 1000), rng.randint(0, 10**6)
    block, most, time_ms = rng.randint(1, 10**7), rng.randint(7, 10**7), rng.randint(1000, 10**8)
    ttl_ms, hold_ms = rng.randint(1000, 10**8), rng.randint(0, 300_000)
    said, meant = _some(
        rng,
        ("policy", policy, "policy", policy),
        ("confidence", share(rng, Fraction(confidence, 100)), "confidence", confidence / 100),
        ("resolution", share(rng, Fraction(resolution, 100)), "resolution", resolution / 100),
        ("escalation", Quantity(tenths / 10), "escalation", tenths / 10),
        ("cost_of_bad", Quantity(cost), "cost_of_bad", float(cost)),
        ("block", whole(rng, block), "block", block),
        ("max_samples", whole(rng, most), "max_samples", most),
        ("max_duration", duration(rng, time_ms), "max_duration_s", time_ms / 1000),
        ("hold", duration(rng, hold_ms), "hold_s", hold_ms / 1000),
        ("evidence_ttl", duration(rng, ttl_ms), "evidence_ttl_s", ttl_ms / 1000),
        ("monotone_check", True, "monotone_check", True),
    )
    return Search(**meant), said


def _that_can_end(rng: Random, plan: Scenario, said: Data) -> Search:
    """With time to hold the strictest objective; stops at gates where all ladders have one."""
    search, delta = plan.search, 1 - plan.search.confidence
    good = max(math.ceil(math.log(delta) / math.log(slo.objective)) for slo in plan.slos)
    least_s = (good + plan.timing.steady_samples) / plan.traffic.rate_per_s
    if search.max_duration_s < least_s:
        time_ms = rng.randint(math.ceil(least_s * 1000), 604_800_000)
        said["max_duration"] = duration(rng, time_ms)
        search = replace(search, max_duration_s=time_ms / 1000)
    stop = rng.choice(["bracket", "gate"])
    if stop == "bracket" or all(ladder.name in plan.require for ladder in plan.ladders):
        said["stop"], search = stop, replace(search, stop=stop)
    return search


POLICIES = [
    "bisect",
    "bisect_sequential",
    "certify",
    "ramp",
    "thompson",
]


def _timing(rng: Random) -> tuple[Timing, Data]:
    warmup_ms, samples = rng.randint(0, 300_000), rng.randint(0, 100)
    washout_ms, steady = rng.randint(1000, 600_000), rng.randint(20, 10**5)
    said, meant = _some(
        rng,
        ("warmup", duration(rng, warmup_ms), "warmup_s", warmup_ms / 1000),
        ("warmup_samples", whole(rng, samples), "warmup_samples", samples),
        ("washout", duration(rng, washout_ms), "washout_s", washout_ms / 1000),
        ("steady_samples", whole(rng, steady), "steady_samples", steady),
    )
    return Timing(**meant), said
