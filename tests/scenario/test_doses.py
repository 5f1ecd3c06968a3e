"""Each dose has its file here, and the format says of it what the dose itself does."""

from __future__ import annotations

from typing import Any

import pytest

from chaosbandit.core import doses
from chaosbandit.core.doses.errors import Errors
from chaosbandit.core.doses.latency import Latency
from chaosbandit.scenario import schema, severities
from chaosbandit.scenario.doses import ASSUMED, LADDERS, LadderKeys
from chaosbandit.scenario.quantities import WantedError
from chaosbandit.scenario.schema_and_reference import reference

SPANS: dict[str, dict[str, Any]] = {
    "latency": {"from": "10ms", "to": "1s"},
    "errors": {"from": "1%", "to": 0.5},
}
every_dose = pytest.mark.parametrize("toxic", LADDERS)


def keys_of(toxic: str, **more: Any) -> LadderKeys:
    written = {"name": "a", "proxy": "b", "toxic": toxic, **SPANS[toxic], **more}
    return LADDERS[toxic].model_validate(written)


def test_every_dose_that_puts_something_onto_a_proxy_can_be_written() -> None:
    assert set(LADDERS) == {name for name in doses.names() if doses.dose(name).toxics(0.5)}
    assert list(LADDERS) == ["latency", "errors"]  # the order of messages
    assert LADDERS["latency"] is ASSUMED


@every_dose
def test_keys_make_the_dose_of_their_name(toxic: str) -> None:
    assert keys_of(toxic).dose() == doses.dose(toxic)


def test_keys_are_the_settings_of_the_dose() -> None:
    assert keys_of("latency", jitter="10%", stream="upstream").dose() == Latency(0.1, "upstream")
    assert keys_of("errors", stream="upstream").dose() == Errors("upstream")


@every_dose
def test_an_amount_has_the_unit_of_the_dose_whose_spelling_it_has(toxic: str) -> None:
    keys = LADDERS[toxic]
    found = severities.amount(keys.example)
    assert (found.unit, found.value) == (doses.dose(toxic).unit, keys.read(keys.example))
    with pytest.raises(WantedError, match=r"such as 2s \(latency\) or 10% \(errors\)$"):
        severities.amount("2 elephants")


@every_dose
def test_schema_and_reference_speak_of_it(toxic: str) -> None:
    made = schema()
    assert toxic in made["properties"]["ladders"]["items"]["discriminator"]["mapping"]
    assert LADDERS[toxic].__name__ in made["$defs"]
    assert f"## ladders[] with toxic: {toxic}\n" in reference()


def test_only_what_the_proxy_can_express_is_exact() -> None:
    assert keys_of("latency").inexact(0.0105) == "whole milliseconds"
    assert keys_of("latency").inexact(0.010) is None
    assert keys_of("errors").inexact(0.12345) is None
