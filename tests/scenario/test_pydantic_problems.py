"""Every mistake is reported at its own line and column, in a sentence that says what to do."""

from __future__ import annotations

import re

import pytest

from chaosbandit.errors import Problem, ScenarioError
from chaosbandit.scenario import parse

CANARY = """\
version: 1
name: shop
toxiproxy: http://127.0.0.1:8474
topology: canary
proxies:
  stock: {upstream: 127.0.0.1:9001, listen: 127.0.0.1:9101}
traffic:
  url: http://127.0.0.1:9200/p/{n}
  control_url: http://127.0.0.1:9100/p/{n}
  rate: 50/s
  timeout: 2s
slos:
  - {name: latency, good: latency <= 400ms, objective: 99%}
budget: {window: 30d, requests: 2_000_000, spend: 5%}
ladders:
  - {name: slow, proxy: stock, toxic: latency, from: 1ms, to: 10s}
guardrails: {max_severity: 2s, max_exposure: 30s}
require: {slow: "> 150ms"}
seed: 1
"""
EDGE_ERRORS = """\
version: 1
name: shop
topology: edge
proxies:
  shop: {upstream: 127.0.0.1:9100}
traffic:
  url: http://127.0.0.1:9100/
  connections: per-request
slos:
  - {name: availability, good: status in 2xx, objective: 99%}
budget: {requests: 2_000_000}
ladders:
  - {name: broken, proxy: shop, toxic: errors, from: 1%, to: 50%}
"""


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ScenarioError) as caught:
        parse(text, "shop.yaml", {})
    return caught.value.problems


def the_problem(text: str) -> Problem:
    (problem,) = problems(text)
    return problem


def spot(text: str, new: str) -> tuple[int, int]:
    """Line and column, from 1, of `^` in the new text."""
    before = text[: text.index(new) + new.index("^")]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def changed(old: str, new: str, text: str) -> tuple[str, tuple[int, int]]:
    assert text.count(old) == 1, "the text to change is there once"
    marked = text.replace(old, new)
    return marked.replace("^", ""), spot(marked, new)


# What is replaced, by what (`^` marks where the problem is), key, words of the sentence.
CANARY_TABLE = [
    # names and words
    ("name: shop", "name: ^my shop", "name", "letters, digits"),
    ("name: shop", "name: ^12", "name", "letters, digits"),
    ("name: shop", "name:^ ", "name", "wanted text"),
    ("name: shop", "name: ^[shop]", "name", "found a list"),
    ("name: shop", "name: shop\ndescription: ^1.10", "description", "put it in quotes"),
    ("version: 1", "version: ^2", "version", "only version"),
    ("version: 1", "version: ^yes", "version", "whole number"),
    ("topology: canary", "topology: ^canari", "topology", "did you mean `canary`?"),
    # addresses
    ("http://127.0.0.1:8474", "^127.0.0.1:8474", "toxiproxy", "or embedded"),
    ("http://127.0.0.1:8474", "^embeded", "toxiproxy", "or embedded"),
    ("http://127.0.0.1:8474", '^{url: "http://127.0.0.1:8474"}', "toxiproxy",
     "as in `toxiproxy: http://127.0.0.1:8474`"),
    ("127.0.0.1:9001", "^127.0.0.1", "proxies.stock.upstream", "host:port"),
    ("127.0.0.1:9001", "^127.0.0.1:99999", "proxies.stock.upstream", "1 to 65535"),
    ("127.0.0.1:9001", "^http://127.0.0.1:9001", "proxies.stock.upstream", "no scheme"),
    ("127.0.0.1:9101", "^127.0.0.1:9001", "proxies.stock.listen", "another address"),
    ("127.0.0.1:9101", "^25433", "proxies.stock.listen", "host:port, such as 127.0.0.1:9001"),
    ("http://127.0.0.1:9200/p/{n}", "^ftp://127.0.0.1/", "traffic.url", "http or https"),
    ("http://127.0.0.1:9200/p/{n}", "^http:///p", "traffic.url", "http or https"),
    ("http://127.0.0.1:9200/p/{n}", "^http://a:b@127.0.0.1/", "traffic.url", "user:password@"),
    ("http://127.0.0.1:9200/p/{n}", "^http://127.0.0.1:http/", "traffic.url", "host or port"),
    ("http://127.0.0.1:9200/p/{n}", "^http://[::1/", "traffic.url", "host or port"),
    ("http://127.0.0.1:9200/p/{n}", "^http://127.0.0.1/{id}", "traffic.url", "{n}"),
    ("http://127.0.0.1:9200/p/{n}", "^http://127.0.0.1/{n:8..1}", "traffic.url", "lower end first"),
    ("http://127.0.0.1:9200/p/{n}", "^http://127.0.0.1/{n:a..b}", "traffic.url", "{n:1..8}"),
    ("http://127.0.0.1:9200/p/{n}", "^http://h{n}/", "traffic.url", "{n}"),
    ("http://127.0.0.1:9200/p/{n}", '^"http://h/#top"', "traffic.url", "#fragment"),
    ("http://127.0.0.1:9200/p/{n}", '^"http://h/a\\tb"', "traffic.url", "printable"),
    # quantities
    ("rate: 50/s", "rate: ^50", "traffic.rate", "50/s or 300/min"),
    ("rate: 50/s", "rate: ^3000/m", "traffic.rate", "minutes are written `min`"),
    ("rate: 50/s", "^rps: 50", "traffic.rps", "did you mean `rate`?"),
    ("rate: 50/s", "rate: ^50/day", "traffic.rate", "50/s or 300/min"),
    ("rate: 50/s", "rate: ^0/s", "traffic.rate", "6/min to 3000/s"),
    ("rate: 50/s", "rate: ^100000/s", "traffic.rate", "6/min to 3000/s"),
    ("timeout: 2s", "timeout: ^2", "traffic.timeout", "a bare number has no unit"),
    ("timeout: 2s", "timeout: ^1:30", "traffic.timeout", "with its unit"),
    ("timeout: 2s", "timeout: ^012", "traffic.timeout", "a bare number has no unit"),
    ("timeout: 2s", "timeout: ^-2s", "traffic.timeout", "with its unit"),
    ("timeout: 2s", "timeout: ^6m", "traffic.timeout", "10ms to 5m"),
    ("timeout: 2s", "timeout: ^.inf", "traffic.timeout", "with its unit"),
    ("timeout: 2s", "timeout: 2s\n  method: ^get", "traffic.method", "did you mean `GET`"),
    ("timeout: 2s", "timeout: 2s\n  method: ^POST", "traffic.method", "unsafe_methods: true"),
    ("timeout: 2s", "timeout: 2s\n  unsafe_methods: ^yes", "traffic.unsafe_methods", "true or"),
    ("timeout: 2s", "timeout: 2s\n  headers: {^a b: x}", "traffic.headers.a b", "HTTP header"),
    ("timeout: 2s", 'timeout: 2s\n  headers: {^Content-Length: "5"}',
     "traffic.headers.Content-Length", "how requests are framed"),
    ("timeout: 2s", "timeout: 2s\n  headers: {a: ^12}", "traffic.headers.a", "in quotes"),
    ("timeout: 2s", 'timeout: 2s\n  headers: {a: ^"x\\ny"}', "traffic.headers.a", "one line"),
    ("timeout: 2s", "timeout: 2s\n  body: ^x", "traffic.body", "a method that takes one"),
    ("timeout: 2s", "timeout: 2s\n  body: ^12", "traffic.body", "in quotes"),
    ("timeout: 2s", 'timeout: 2s\n  body: ^"{n:9..1}"', "traffic.body", "lower end first"),
    ("timeout: 2s", "timeout: 2s\n  connections: ^pooled", "traffic.connections", "per-request"),
    ("timeout: 2s", "timeout: 2s\n  control_share: ^0", "traffic.control_share", "above 0%"),
    ("99%", "^99", "slos[0].objective", "need the % sign"),
    ("99%", "^1", "slos[0].objective", "need the % sign"),
    ("99%", "^100%", "slos[0].objective", "a perfect objective leaves no error budget"),
    ("99%", "^0.0", "slos[0].objective", "above 0%"),
    ("99%", "^101%", "slos[0].objective", "at most 100%"),
    ("99%", "^.nan", "slos[0].objective", "a share"),
    ("2_000_000", "^2_000_", "budget.requests", "a whole number"),
    ("2_000_000", "^2.5", "budget.requests", "a whole number"),
    ("2_000_000", "^true", "budget.requests", "a whole number"),
    ("2_000_000", "^-5", "budget.requests", "a whole number"),
    ("2_000_000", "^" + "9" * 60, "budget.requests", "a whole number"),
    ("spend: 5%", "spend: ^1", "budget.spend", "need the % sign"),
    ("spend: 5%", "spend: ^0%", "budget.spend", "above 0%"),
    # conditions
    ("latency <= 400ms", "^latency < 400ms", "slos[0].good", "the bound as `latency <= 400ms`"),
    ("latency <= 400ms", "^p99 < 400ms", "slos[0].good", "that p99 keeps it is `objective: 99%`"),
    ("latency <= 400ms", "^status == 200", "slos[0].good", "as `status in 200`"),
    ("latency <= 400ms", "^http_code is 200", "slos[0].good", "as `status in 200`"),
    ("latency <= 400ms", "status in 200-299,^404", "slos[0].404", "quotes around a condition"),
    ("latency <= 400ms", "^latency <= 400", "slos[0].good", "with its unit"),
    ("latency <= 400ms", "^latency <= 0s", "slos[0].good", "above 0"),
    ("latency <= 400ms", '^"status in 2xx,"', "slos[0].good", "statuses"),
    ("latency <= 400ms", "^status in 299-200", "slos[0].good", "lower one first"),
    ("latency <= 400ms", "^status in 6xx", "slos[0].good", "100 to 599"),
    ("latency <= 400ms", "^latency <= 1s and latency <= 2s", "slos[0].good", "each once"),
    ("latency <= 400ms", "^status is fine", "slos[0].good", "status in 2xx-3xx"),
    ("latency <= 400ms", "^latency <= 2s", "slos[0].good", "below traffic.timeout (`2s`)"),
    # ladders
    ("toxic: latency", "toxic: ^latencies", "ladders[0].toxic", "did you mean `latency`"),
    ("toxic: latency", "toxic: ^[latency]", "ladders[0].toxic", "one of latency, errors"),
    ("- {name: slow, proxy: stock, toxic: latency, from: 1ms, to: 10s}", "- ^slow", "ladders[0]",
     "a mapping of keys"),
    ("from: 1ms", "from: ^0ms", "ladders[0].from", "1ms to 10m"),
    ("from: 1ms", "from: ^1.5ms", "ladders[0].from", "whole milliseconds"),
    ("to: 10s", "to: ^11m", "ladders[0].to", "1ms to 10m"),
    ("to: 10s", "to: ^1ms", "ladders[0].to", "more than `from`"),
    ("to: 10s", "to: 10s, jitter: ^110%", "ladders[0].jitter", "at most 100%"),
    ("to: 10s", "to: 10s, vary: ^share", "ladders[0].vary", "'latency'"),
    ("to: 10s", "to: 10s, stream: ^up", "ladders[0].stream", "upstream"),
    ("proxy: stock", "proxy: ^stocks", "ladders[0].proxy", "did you mean `stock`?"),
    ("max_severity: 2s", "^max_latency: 2s", "guardrails.max_latency", "`max_severity`"),
    ("spend: 5%}", "spend: 5%, ^period: 7d}", "budget.period", "did you mean `window`?"),
    # between sections
    ("max_severity: 2s", "max_severity: ^11s", "guardrails.max_severity", "`1ms` to `10s`"),
    ("max_severity: 2s", "max_severity: ^10%", "guardrails.max_severity", "a duration"),
    ("max_severity: 2s", "max_severity: ^1500.5ms", "guardrails.max_severity", "whole milli"),
    ("max_severity: 2s", "max_severity: ^2", "guardrails.max_severity", "2s (latency)"),
    ("max_exposure: 30s", "max_exposure: ^2s", "guardrails.max_exposure", "nothing is measured"),
    ("max_exposure: 30s", "max_exposure: ^17s", "guardrails.max_exposure",
     "at least 17.3s: search.hold (`15s`), the warm-up (warmup, 0.3 s) and one traffic.timeout "
     "(`2s`) together; or a search.hold of at most 14.7s"),
    ("seed: 1", "search: {hold: ^-1s}", "search.hold", "with its unit"),
    ("seed: 1", "search: {hold: ^2h}", "search.hold", "from 0s to 1h"),
    ("seed: 1", "search: {stop: ^gates}", "search.stop", "did you mean `gate`?"),
    ("seed: 1", "search: {max_duration: ^7s}", "search.max_duration",
     "at least 8s: at traffic.rate (`50/s`) that is the time for timing.steady_samples and the "
     "299 good requests that show slos[0].objective to hold; or a traffic.rate of 57/s, or an "
     "objective of at most 98.8%"),
    ('slow: "> 150ms"', '^slo: "> 150ms"', "require.slo", "did you mean `slow`?"),
    ('"> 150ms"', '^"150ms"', "require.slow", "in quotes"),
    ('"> 150ms"', '^">= 150ms"', "require.slow", "without `=`"),
    ('"> 150ms"', '^"> 2s"', "require.slow", "a gate the search can answer"),
    ('"> 150ms"', '^"> 5%"', "require.slow", "a duration"),
    ('"> 150ms"', '^"> 150.4ms"', "require.slow", "whole milli"),
    ("control_url: http://127.0.0.1:9100", "control_url: ^http://127.0.0.1:9200",
     "traffic.control_url", "another instance"),
]  # fmt: skip


def test_what_stands_in_a_header_is_not_shown_even_where_it_is_refused() -> None:
    headers = 'timeout: 2s\n  headers: {Authorization: " Bearer s3cr3t"}'
    problem = the_problem(CANARY.replace("timeout: 2s", headers))
    assert problem.key == "traffic.headers.Authorization"
    assert problem.found == "a value that is not shown"
    assert "s3cr3t" not in str(problem)


def test_what_stands_in_a_body_is_not_shown_even_where_it_is_refused() -> None:
    problem = the_problem(CANARY.replace("timeout: 2s", "timeout: 2s\n  body: s3cr3t"))
    assert problem.key == "traffic.body"
    assert "s3cr3t" not in str(problem)


def test_a_body_is_sent_by_a_method_that_takes_one() -> None:
    order = 'timeout: 2s\n  method: POST\n  unsafe_methods: true\n  body: \'{"id": "{uuid}"}\''
    traffic = parse(CANARY.replace("timeout: 2s", order), "shop.yaml", {}).scenario.traffic
    assert (traffic.method, traffic.body) == ("POST", '{"id": "{uuid}"}')
    assert "uuid" not in repr(traffic)  # it may hold secrets


@pytest.mark.parametrize(("old", "new", "key", "words"), CANARY_TABLE)
def test_a_mistake_is_found_where_it_is(old: str, new: str, key: str, words: str) -> None:
    text, (line, column) = changed(old, new, CANARY)
    problem = the_problem(text)
    assert (problem.line, problem.column, problem.key) == (line, column, key)
    assert words in str(problem)
    assert str(problem).startswith(f"shop.yaml:{line}:{column}: {key}: found ")


def test_the_texts_the_table_changes_are_valid() -> None:
    assert parse(CANARY, "shop.yaml", {}).scenario.name == "shop"
    assert parse(EDGE_ERRORS, "shop.yaml", {}).scenario.ladder.dose.name == "errors"


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("version", "such as 1"),
        ("name", "scenario's name"),
        ("topology", "`canary`"),
        ("proxies", "proxied dependencies"),
        ("traffic", "stand for the users'"),
        ("slos", "hold for users"),
        ("budget", "error budget"),
        ("ladders", "made worse"),
    ],
)
def test_a_missing_section_is_told_at_the_top(section: str, words: str) -> None:
    without = re.sub(rf"(?m)^{section}:.*\n(?:  .*\n)*", "", EDGE_ERRORS)
    problem = the_problem(without)
    assert (problem.line, problem.column, problem.key) == (1, 1, section)
    assert problem.found == "nothing"
    assert words in problem.wanted


def test_a_missing_key_is_told_at_its_section() -> None:
    problem = the_problem(EDGE_ERRORS.replace("  url: http://127.0.0.1:9100/\n", ""))
    assert (problem.line, problem.column, problem.key) == (6, 1, "traffic.url")


@pytest.mark.parametrize("section", ["proxies", "slos", "ladders"])
def test_an_empty_section_is_refused(section: str) -> None:
    empty = "{}" if section == "proxies" else "[]"
    text = re.sub(rf"(?m)^{section}:\n(?:  .*\n)*", f"{section}: {empty}\n", EDGE_ERRORS)
    problem = the_problem(text)
    assert problem.key == section
    assert problem.wanted.startswith(f"at least one entry, such as `{section}: ")
    (example,) = re.findall("`(.*)`", problem.wanted)
    pasted = re.sub(rf"(?m)^{section}:.*$", "", text) + example
    try:
        parse(pasted, "shop.yaml", {})
    except ScenarioError as error:  # its proxy has another name than this file's
        assert not {problem.key for problem in error.problems} & {section, "scenario"}


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("topolgy: edge", "a known key (did you mean `topology`?)"),
        ("jitter: 5%", "`jitter` belongs into `ladders`"),
        ("zzz: 1", "one of version, name,"),
    ],
)
def test_an_unknown_key_is_pointed_at_and_a_better_one_named(line: str, wanted: str) -> None:
    problem = the_problem(EDGE_ERRORS + line + "\n")
    assert (problem.line, problem.column) == (14, 1)
    assert problem.found == "an unknown key"
    assert wanted in problem.wanted


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ("control_url: http", "control: http", ["traffic.control"]),
        ("traffic:", "target:", ["target"]),
        ("objective: 99%", "target: 99%", ["slos[0].target"]),
        ("from: 1ms, to: 10s", "min: 1ms, max: 10s", ["ladders[0].min", "ladders[0].max"]),
    ],
)
def test_what_goes_by_another_name_is_not_missed_as_well(
    old: str, new: str, keys: list[str]
) -> None:
    assert CANARY.count(old) == 1
    found = problems(CANARY.replace(old, new))
    assert [problem.key for problem in found] == keys
    assert all("did you mean" in problem.wanted for problem in found)


@pytest.mark.parametrize(("section", "value"), [("budget", "5%"), ("budget", "[30d, 5%]")])
def test_another_shape_is_answered_with_one_to_paste(section: str, value: str) -> None:
    without = re.sub(rf"(?m)^{section}:.*\n", "", CANARY)
    problem = the_problem(f"{without}{section}: {value}\n")
    (example,) = re.findall("`(.*)`", problem.wanted)
    parse(without + example, "shop.yaml", {})


def test_jitter_is_unknown_on_an_errors_ladder() -> None:
    text, (line, column) = changed("to: 50%", "to: 50%, ^jitter: 5%", EDGE_ERRORS)
    problem = the_problem(text)
    assert (problem.line, problem.column, problem.key) == (line, column, "ladders[0].jitter")


def test_errors_behind_a_pool_are_refused_with_the_reason() -> None:
    text, (line, column) = changed("per-request", "^keep-alive", EDGE_ERRORS)
    problem = the_problem(text)
    assert (problem.line, problem.column, problem.key) == (line, column, "traffic.connections")
    assert "drawn die and the others survive in the pool" in problem.wanted
    assert "the fault fades" in problem.wanted


def test_errors_in_canary_are_refused_with_the_reason() -> None:
    ladder = "toxic: errors, from: 1%, to: 10%}\n"
    text = re.sub(r"toxic: latency.*\n", ladder, CANARY)
    text = text.replace("guardrails: {max_severity: 2s, max_exposure: 30s}\n", "")
    problem = the_problem(text.replace('require: {slow: "> 150ms"}\n', ""))
    assert problem.key == "ladders[0].toxic"
    assert "the fault fades" in problem.wanted


def test_a_budget_without_a_single_bad_sample_is_refused_with_the_arithmetic() -> None:
    text, (line, column) = changed("2_000_000", "^1_000", CANARY)
    problem = the_problem(text)
    assert (problem.line, problem.column, problem.key) == (line, column, "budget.requests")
    assert "`1_000` x (1 - objective `99%`) x spend `5%` is 0.5, less than 1" in problem.wanted
    assert parse(text.replace("1_000", "2_000"), "shop.yaml", {}).scenario.budget.requests == 2000


def test_defaults_are_named_in_the_arithmetic() -> None:
    problem = the_problem(EDGE_ERRORS.replace("2_000_000", "10"))
    assert "spend `5%`" in problem.wanted


# --- what no time, rate or number of samples could show -------------------------------------------


def searching(keys: str) -> str:
    """The canary with keys of `search`."""
    return CANARY.replace("seed: 1", f"search: {{{keys}}}")


def test_a_hold_that_fits_exactly_is_taken_and_none_needs_no_room() -> None:
    exact = CANARY.replace("max_exposure: 30s", "max_exposure: 17300ms")
    assert parse(exact, "f", {}).scenario.search.hold_s == 15.0
    short = searching("hold: 0s").replace("max_exposure: 30s", "max_exposure: 3s")
    assert parse(short, "f", {}).scenario.search.hold_s == 0.0


def test_a_slow_warm_up_takes_its_part_of_an_exposure() -> None:
    problem = the_problem(CANARY.replace("rate: 50/s", "rate: 20/min"))
    assert problem.key == "guardrails.max_exposure"
    assert "at least 32s" in problem.wanted
    assert "the warm-up (warmup_samples at traffic.rate, 15 s)" in problem.wanted
    assert "a search.hold of at most 13s" in problem.wanted


def test_what_is_proposed_for_too_little_time_is_enough_and_just_so() -> None:
    """399 requests have to be sent: 299 good ones and a hundred in steady state."""

    def timed(time: str) -> str:
        return searching(f"max_duration: {time}, hold: 5s").replace("rate: 50/s", "rate: 2/s")

    slow = timed("3m")
    problem = the_problem(slow)
    assert problem.wanted.startswith("at least 200s")
    assert "a traffic.rate of 3/s, or an objective of at most 98.85%" in problem.wanted
    assert the_problem(timed("199s")).key == "search.max_duration"
    assert the_problem(slow.replace("99%", "98.86%")).key == "search.max_duration"
    for enough in (timed("200s"), slow.replace("2/s", "3/s"), slow.replace("99%", "98.85%")):
        parse(enough, "f", {})


def test_the_strictest_objective_needs_the_most_time() -> None:
    slo = "  - {name: strict, good: status in 2xx, objective: 99.9%}\n"
    problem = the_problem(searching("max_duration: 1m").replace("budget:", slo + "budget:"))
    assert problem.wanted.startswith("at least 62s")
    assert "the 2,995 good requests that show slos[1].objective" in problem.wanted


def test_no_objective_is_proposed_where_steady_state_takes_all_the_time() -> None:
    problem = the_problem(searching("max_duration: 2s"))
    assert problem.wanted.endswith("or a traffic.rate of 200/s")


def test_so_few_samples_that_nothing_can_be_shown_are_refused() -> None:
    even = searching("max_samples: 4").replace("99%", "50%")
    problem = the_problem(even)
    assert problem.key == "search.max_samples"
    assert problem.wanted.startswith("at least 5, or nothing can be shown: to hold takes 5 good")
    parse(even.replace("max_samples: 4", "max_samples: 5"), "f", {})
    parse(searching("max_samples: 200"), "f", {})  # never holds at 99 %, but one bad sample breaks


def test_a_budget_may_leave_holding_alone_to_be_shown() -> None:
    lenient = searching("max_samples: 2").replace("99%", "40%").replace("2_000_000", "200")
    problem = the_problem(lenient.replace("5%", "3%"))
    assert problem.wanted.startswith("at least 4, or nothing can be shown")
    assert "to break 6 bad ones, of which the budget allows 3" in problem.wanted


def test_stopping_at_gates_needs_a_gate_for_every_ladder() -> None:
    gated = TWO.replace("seed: 1", "search: {stop: gate}")
    problem = the_problem(gated)
    assert problem.key == "search.stop"
    assert problem.wanted == (
        "bracket, or a gate in `require` for every ladder: there is none for dear"
    )
    both = gated.replace('{slow: "> 150ms"}', '{slow: "> 150ms", dear: "> 30ms"}')
    assert parse(both, "f", {}).scenario.search.stop == "gate"


# --- several ladders ------------------------------------------------------------------------------

TWO = CANARY.replace(
    "traffic:\n", "  prices: {upstream: 127.0.0.1:9002, listen: 127.0.0.1:9102}\ntraffic:\n"
).replace(
    "guardrails:",
    "  - {name: dear, proxy: prices, toxic: latency, from: 20ms, to: 1s}\nguardrails:",
)


def test_several_ladders_are_taken_each_with_its_own_proxy_and_gate() -> None:
    scenario = parse(TWO + "  # more\n", "shop.yaml", {}).scenario
    assert [(ladder.name, ladder.proxy) for ladder in scenario.ladders] == [
        ("slow", "stock"),
        ("dear", "prices"),
    ]
    both = TWO.replace('{slow: "> 150ms"}', '{slow: "> 150ms", dear: "> 30ms"}')
    assert parse(both, "shop.yaml", {}).scenario.require == {"slow": 0.15, "dear": 0.03}


def test_several_ladders_may_share_a_proxy() -> None:
    shared = TWO.replace("name: dear, proxy: prices", "name: dear, proxy: stock")
    assert {ladder.proxy for ladder in parse(shared, "f", {}).scenario.ladders} == {"stock"}
    more = "  - {name: more, proxy: shop, toxic: latency, from: 1ms, to: 1s}\n"
    kinds = [ladder.dose.name for ladder in parse(EDGE_ERRORS + more, "f", {}).scenario.ladders]
    assert kinds == ["errors", "latency"]


def test_in_edge_all_ladders_name_one_proxy() -> None:
    two = EDGE_ERRORS.replace("traffic:\n", "  other: {upstream: 127.0.0.1:9200}\ntraffic:\n")
    two += "  - {name: more, proxy: other, toxic: errors, from: 1%, to: 50%}\n"
    problem = the_problem(two)
    assert (problem.line, problem.column, problem.key) == (15, 25, "ladders[1].proxy")
    assert problem.wanted.startswith("shop, as the first ladder: in `edge` all requests go through")


@pytest.mark.parametrize(
    ("cap", "words"),
    [
        ("10%", "a duration"),  # no ladder of that kind
        ("10ms", "`1ms` to `10s` and of `20ms` to `1s`"),  # nothing of the second is left
        ("11s", "`1ms` to `10s` and of `20ms` to `1s`"),  # no limit to any
    ],
)
def test_max_severity_leaves_something_of_every_ladder_of_its_kind(cap: str, words: str) -> None:
    text = TWO.replace('require: {slow: "> 150ms"}\n', "")
    problem = the_problem(text.replace("max_severity: 2s", f"max_severity: {cap}"))
    assert problem.key == "guardrails.max_severity"
    assert words in problem.wanted


def test_max_severity_is_of_one_kind_and_limits_no_other() -> None:
    more = "  - {name: more, proxy: shop, toxic: latency, from: 1ms, to: 1s}\n"
    limited = EDGE_ERRORS + more + "guardrails: {max_severity: 300ms}\n"
    scenario = parse(limited, "f", {}).scenario
    assert [scenario.cap(ladder) for ladder in scenario.ladders] == [None, 0.3]
    gated = limited + 'require: {broken: "> 40%", more: "> 299ms"}\n'
    assert parse(gated, "f", {}).scenario.require == {"broken": 0.4, "more": 0.299}


@pytest.mark.parametrize(
    ("gates", "key", "words"),
    [
        ('{dear: "> 10ms"}', "require.dear", "`20ms` to `1s`"),  # fine for the first ladder
        ('{slow: "> 1500ms", dear: "> 1500ms"}', "require.dear", "`20ms` to `1s`"),
        ('{slow: "> 2s"}', "require.slow", "`1ms` to `10s`"),  # the cap
        ('{dare: "> 30ms"}', "require.dare", "did you mean `dear`?"),
        ('{dear: "> 5%"}', "require.dear", "a duration"),
    ],
)
def test_each_gate_is_measured_by_its_own_ladder(gates: str, key: str, words: str) -> None:
    problem = the_problem(TWO.replace('{slow: "> 150ms"}', gates))
    assert problem.key == key
    assert words in problem.wanted


def test_ladders_have_names_of_their_own() -> None:
    problem = the_problem(TWO.replace("name: dear", "name: slow"))
    assert (problem.key, problem.wanted) == ("ladders[1].name", "a name no other of ladders has")


def test_names_and_addresses_are_given_once() -> None:
    slo = "  - {name: latency, good: status in 2xx, objective: 99%}\n"
    twice = CANARY.replace("budget:", slo + "budget:")
    proxy = "  other: {upstream: 127.0.0.1:9002, listen: 127.0.0.1:9101}\n"
    twice = twice.replace("traffic:", proxy + "traffic:")
    assert [problem.key for problem in problems(twice)] == ["proxies.other.listen", "slos[1].name"]


def test_a_canary_needs_a_listen_address() -> None:
    problem = the_problem(CANARY.replace(", listen: 127.0.0.1:9101", ""))
    assert (problem.line, problem.column, problem.key) == (6, 3, "proxies.stock.listen")
    assert "the service is wired to" in problem.wanted


def test_a_canary_needs_a_control() -> None:
    problem = the_problem(CANARY.replace("  control_url: http://127.0.0.1:9100/p/{n}\n", ""))
    assert (problem.line, problem.column, problem.key) == (7, 1, "traffic.control_url")


@pytest.mark.parametrize("name", ["cb.run.1", "a b", "é", "x" * 65, "''", "${PROXY}"])
def test_proxy_names_keep_to_letters_digits_and_dashes(name: str) -> None:
    text = EDGE_ERRORS.replace("  shop: {", f"  ? {name}\n  : {{")
    found = {problem.key.partition(".")[0]: problem for problem in problems(text)}
    assert found["proxies"].wanted.startswith("a name of 1 to 64")
    assert (found["proxies"].line, found["proxies"].column) == (5, 5)


def test_everything_wrong_is_told_at_once_in_the_order_of_the_file() -> None:
    text = (
        CANARY.replace("name: shop", "name: my shop")
        .replace("rate: 50/s", "rate: 50")
        .replace("objective: 99%", "objective: 100%, colour: red")
        .replace("proxy: stock", "proxy: stocks")
        .replace("max_exposure: 30s", "max_exposure: forever")
    )
    assert [problem.key for problem in problems(text)] == [
        "name",
        "traffic.rate",
        "slos[0].objective",
        "slos[0].colour",
        "ladders[0].proxy",
        "guardrails.max_exposure",
    ]


def test_sections_that_are_fine_are_compared_though_others_are_not() -> None:
    text = CANARY.replace("2_000_000", "10").replace("rate: 50/s", "rate: fast")
    assert [problem.key for problem in problems(text)] == ["traffic.rate", "budget.requests"]


def test_a_hundred_problems_are_enough() -> None:
    many = "".join(f"unknown{n}: 1\n" for n in range(300))
    found = problems(EDGE_ERRORS + many)
    assert len(found) == 101
    assert found[-1].found == "more problems"
