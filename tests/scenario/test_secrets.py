"""Variables of the environment: filled in for the run, never shown, never in the source kept."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chaosbandit.errors import ScenarioError
from chaosbandit.scenario import load, parse

SECRET = "s3cr3t 99 http://u:pw@h/ \n"
TEXT = """\
version: 1
name: shop
topology: edge
proxies:
  shop: {upstream: "${ADDRESS:-127.0.0.1:9100}"}
traffic:
  url: http://${ADDRESS:-127.0.0.1:9100}/
  headers:
    Authorization: Bearer ${TOKEN}
    X-Price: 5$$ and $$${CURRENCY:-EUR} $5
slos:
  - {name: availability, good: status in 2xx, objective: 99%}
budget: {requests: 2_000_000}
ladders:
  - {name: slow, proxy: shop, toxic: latency, from: 1ms, to: 1s}
"""


def test_variables_are_filled_in() -> None:
    loaded = parse(TEXT, "f.yaml", {"TOKEN": "abc", "ADDRESS": "127.0.0.1:1"})
    assert loaded.scenario.proxies[0].upstream == "127.0.0.1:1"
    assert loaded.scenario.traffic.url == "http://127.0.0.1:1/"
    assert loaded.scenario.traffic.headers == {
        "Authorization": "Bearer abc",
        "X-Price": "5$ and $EUR $5",
    }


def test_defaults_stand_in_for_what_is_unset_or_empty() -> None:
    for environment in ({"TOKEN": "t"}, {"TOKEN": "t", "ADDRESS": ""}):
        assert parse(TEXT, "f", environment).scenario.proxies[0].upstream == "127.0.0.1:9100"


def test_the_source_keeps_the_variables_and_nothing_prints_the_value(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(TEXT)
    loaded = load(path, {"TOKEN": "s3cr3t"})
    assert loaded.source == TEXT
    assert loaded.path == path
    assert "s3cr3t" not in repr(loaded)
    assert loaded.scenario.traffic.headers["Authorization"] == "Bearer s3cr3t"


@pytest.mark.parametrize("written", ["${TOKEN}", "${", "${1X}", "${A:+b}", "${}"])
def test_what_cannot_be_filled_in_is_a_problem_there(written: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(TEXT.replace("${TOKEN}", written), "f.yaml", {})
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (9, 20)
    assert problem.key == "traffic.headers.Authorization"
    assert "${" in problem.wanted


def test_a_variable_is_text_whatever_it_holds() -> None:
    text = TEXT.replace("Bearer ${TOKEN}", "${TOKEN}")
    for token in ("12", "true", "null", "1e3"):
        scenario = parse(text, "f", {"TOKEN": token}).scenario
        assert scenario.traffic.headers["Authorization"] == token


def test_a_variable_can_be_a_number_where_one_is_wanted() -> None:
    text = TEXT.replace("2_000_000", '"${N}"') + "seed: ${N}\n"
    scenario = parse(text, "f", {"TOKEN": "t", "N": "3000"}).scenario
    assert (scenario.budget.requests, scenario.seed) == (3000, 3000)


@pytest.mark.parametrize("secret", [SECRET, "99", "", "a", "certfy", "http://u:pw@h/", "${X}"])
def test_no_message_shows_what_a_variable_held(secret: str) -> None:
    # Every scalar that is a value, one after the other, holds the secret.
    plain = re.sub(r'"?\$\{[A-Z]+(?::-)?([^}]*)\}"?', r"\1", TEXT)
    values = [match.span(1) for match in re.finditer(r"(?<=: )([^{}\[\],\n]+)", plain)]
    marker = "q7Zq" + secret + "q7Zq"
    refused = 0
    for start, end in values:
        text = plain[:start] + '"${HIDDEN}"' + plain[end:]
        try:
            loaded = parse(text, "f.yaml", {"HIDDEN": marker, "TOKEN": "t"})
        except ScenarioError as error:
            refused += 1
            assert "q7Zq" not in str(error)
            assert "${HIDDEN}" in str(error) or "not shown" in str(error)
            assert error.__cause__ is None
            assert error.__context__ is None or "q7Zq" not in str(error.__context__)
        else:
            assert "q7Zq" not in repr(loaded) + loaded.source
    assert refused >= 10


def test_credentials_written_out_in_a_url_are_masked() -> None:
    text = TEXT.replace("http://${ADDRESS:-127.0.0.1:9100}/", "http://u:hunter2@127.0.0.1/")
    with pytest.raises(ScenarioError) as caught:
        parse(text, "f.yaml", {"TOKEN": "t"})
    assert "hunter2" not in str(caught.value)
    assert "//***@" in str(caught.value)


def test_control_characters_do_not_reach_the_terminal() -> None:
    text = TEXT.replace("name: shop\n", 'name: "\\e[31m\\u202eshop"\n')
    with pytest.raises(ScenarioError) as caught:
        parse(text, "f.yaml", {"TOKEN": "t"})
    assert str(caught.value).isprintable()
