"""What may not be shown: whole values, their spellings, and what is left alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest

from chaosbandit.hidden_values import (
    forget,
    hide,
    masked,
    masked_json,
    masked_record,
    shell_word,
    variables_in,
)


@pytest.fixture(autouse=True)
def _only_here() -> Iterator[None]:
    yield
    forget()


def hidden(value: str, written: str = "${KEY}") -> None:
    """Hide what `KEY` holds, written like this in the file."""
    hide(written, written.replace("${KEY}", value), {"KEY": value})


def test_nothing_is_hidden_at_first() -> None:
    assert masked("all of it") == "all of it"
    assert masked_json('{"a":1}') == '{"a":1}'
    assert variables_in("all of it") == {}


@pytest.mark.parametrize(
    ("value", "text", "shown"),
    [
        ("s3cr3t", "with s3cr3t in it", "with ${KEY} in it"),
        ("s3cr3t", "xS3CR3Tx", "x${KEY}x"),  # a host is shown in lower case
        ("http://u:pw1@Shop/", "asked http://u:pw1@Shop/", "asked ${KEY}"),
        ("p@ss/w0rd'\"", "/p%40ss%2Fw0rd%27%22", "/${KEY}"),
        ("p@ss/w0rd'\"", "'p@ss/w0rd'\"'\"'\"'", "'${KEY}'"),
        ("http://shop:8/{n}?a=b1cdef", "http://shop:8/0?a=b1cdef", "${KEY}0${KEY}"),
        ("http://user:s3cr3t@shop/", "s3cr3t", "${KEY}"),
        ("Bearer abc.def1", "abc.def1", "${KEY}"),
        ("10.0.0.1", "10.0.0.1 is not 10.0.0.12", "${KEY} is not 10.0.0.12"),
        ("123456", "123456, not 1234567", "${KEY}, not 1234567"),
    ],
)
def test_what_a_variable_held_is_not_shown(value: str, text: str, shown: str) -> None:
    hidden(value)
    assert masked(text) == shown


@pytest.mark.parametrize(
    "value", ["", "a", "x-1", "canary", "95%", "50/s", "> 150ms", "9001", "127.0.0.1", "localhost"]
)
def test_what_is_short_or_plain_is_left_where_it_stands_alone(value: str) -> None:
    hidden(value)
    text = f"a canary at localhost, 127.0.0.1:9001: 95%, 50/s, > 150ms, {value}"
    assert masked(text) == text


@pytest.mark.parametrize("value", ["x-1", "swordfish", "9001"])
def test_what_is_short_or_plain_is_hidden_in_the_text_of_its_key(value: str) -> None:
    hidden(value, "http://shop/{n}?key=${KEY}")
    assert masked(f"GET http://shop/7?key={value}: 500") == "GET http://shop/7?key=${KEY}: 500"


def test_of_two_values_the_longer_one_is_seen_first() -> None:
    hide("${A}", "abc123", {"A": "abc123"})
    hide("${B}", "abc123-456", {"B": "abc123-456"})
    assert masked("abc123-456 and abc123") == "${B} and ${A}"


def test_json_keeps_its_shape_and_its_numbers() -> None:
    hidden('12345678"')
    hide("${N}", "123456", {"N": "123456"})
    text = json.dumps({"seed": 123456, "name": '12345678"', "why": ["123456"]}, indent=2) + "\n"
    again = masked_json(text)
    assert json.loads(again) == {"seed": 123456, "name": "${KEY}", "why": ["${N}"]}
    assert again.endswith("}\n")
    assert masked_json('{"v":3,"x":"123456","y":Infinity}\n') == (
        '{"v":3,"x":"${N}","y":Infinity}\n'
    )


class Kind(StrEnum):
    SECRET = "s3cr3t"


@dataclass(frozen=True, slots=True)
class Record:
    name: str
    kind: Kind
    inner: tuple[dict[str, str], ...] = ()
    number: int = 7


def test_records_are_masked_in_every_text() -> None:
    record = Record("s3cr3t", Kind.SECRET, ({"a s3cr3t": "s3cr3t"},))
    assert masked_record(record) is record
    hidden("s3cr3t")
    assert masked_record(record) == Record("${KEY}", Kind.SECRET, ({"a ${KEY}": "${KEY}"},))


def test_commands_to_paste_ask_the_shell(tmp_path: Path) -> None:
    hidden("10.0.0.7:9001")
    word = shell_word('{"listen": "10.0.0.7:9001", "it\'s": "$x"}')
    assert "10.0.0.7" not in word
    said = subprocess.run(
        ["sh", "-c", f"printf %s {word}"], capture_output=True, text=True, env={"KEY": "there:1"}
    )
    assert said.stdout == '{"listen": "there:1", "it\'s": "$x"}'
    unset = subprocess.run(["sh", "-c", f"printf %s {word}"], capture_output=True, env={})
    assert unset.returncode != 0  # rather than a proxy that listens nowhere
    assert shell_word("plain") == "plain"
    assert shell_word("") == "''"


def test_what_another_process_has_to_hide_is_handed_on() -> None:
    hidden("10.0.0.7:9001")
    assert variables_in("to 10.0.0.7:9001") == {"KEY": "10.0.0.7:9001"}
    assert variables_in("to nobody") == {}
