"""Texts in, values or Go's complaints out."""

from __future__ import annotations

import pytest

from chaosbandit.toxiproxy.server.go_json import (
    GoJsonError,
    decode_first,
    encode,
    float32,
    read_fields,
)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"1", 1),
        (b' \r\n\t{"a":[1,null]} {"b"', [("a", [1, None])]),
        (b'{"a":1,"a":2}', [("a", 1), ("a", 2)]),
        (b'"\xff"', "�"),
    ],
)
def test_reads_the_first_value(body: bytes, value: object) -> None:
    assert value == decode_first(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "EOF"),
        (b" \n", "EOF"),
        (b'{"a"', "unexpected EOF"),
        (b'{"a":"b', "unexpected EOF"),
        (b"[1,", "unexpected EOF"),
        (b"abc", "invalid character 'a' looking for beginning of value"),
        (b"NaN", "invalid character 'N' looking for beginning of value"),
        (b"[" * 100_000, "exceeded max depth"),
    ],
)
def test_complains_about_what_is_no_json(body: bytes, message: str) -> None:
    with pytest.raises(GoJsonError) as raised:
        decode_first(body)
    assert message == str(raised.value)


def test_fields_match_in_any_case_and_null_keeps() -> None:
    value = decode_first(b'{"NAME":"a","name":null,"Size":7,"other":{}}')
    found = read_fields(value, {"name": "string", "size": "int64", "on": "bool"})
    assert found == {"name": "a", "size": 7}
    assert read_fields(None, {"name": "string"}) == {}


def test_a_field_of_the_wrong_kind_is_named() -> None:
    with pytest.raises(GoJsonError) as raised:
        read_fields(decode_first(b'{"size":"7"}'), {"size": "int64"}, ".attributes")
    wanted = "cannot unmarshal string into Go struct field .attributes.size of type int64"
    assert f"json: {wanted}" == str(raised.value)


def test_integers_have_64_bits() -> None:
    largest = read_fields(decode_first(b'{"n":9223372036854775807}'), {"n": "int64"})
    assert largest == {"n": 2**63 - 1}
    for text in (b'{"n":9223372036854775808}', b'{"n":' + b"9" * 10_000 + b"}"):
        with pytest.raises(GoJsonError):
            read_fields(decode_first(text), {"n": "int64"})


def test_lone_surrogates_cannot_reach_an_answer() -> None:
    found = read_fields(decode_first(rb'{"name":"a\ud800b"}'), {"name": "string"})
    assert encode(found) == b'{"name":"a\xef\xbf\xbdb"}'


def test_encodes_compactly_and_escapes_for_html() -> None:
    assert encode({"a": ["<>&\u2028é", 1]}) == b'{"a":["\\u003c\\u003e\\u0026\\u2028\xc3\xa9",1]}'


@pytest.mark.parametrize(
    ("value", "shortest"),
    [(0.1, 0.1), (0.123456789, 0.12345679), (16777217, 16777216), (1 / 3, 0.33333334), (0, 0)],
)
def test_float32_is_the_shortest_name(value: float, shortest: float) -> None:
    assert shortest == float32(value)
