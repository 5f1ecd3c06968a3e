"""What the door met, in sentences for an operator."""

from __future__ import annotations

import pytest

from chaosbandit.errors import Exit, ToxiproxyError
from chaosbandit.toxiproxy.adapter import RefusedError
from chaosbandit.toxiproxy.calls import Reply, UnansweredError
from chaosbandit.toxiproxy.error_words import told, unanswered
from chaosbandit.toxiproxy.listing import StrangeError
from tests.without_descriptors import starved

URL = "http://127.0.0.1:8474"


@pytest.mark.parametrize(
    ("error", "words", "status"),
    [
        (
            UnansweredError("GET /proxies", URL, "Connection refused", refused=True),
            f"Toxiproxy at {URL} cannot be reached (Connection refused); is a server running "
            "there?",
            None,
        ),
        (
            UnansweredError("GET /proxies", URL, "no whole answer within 2 s"),
            f"Toxiproxy at {URL} did not answer GET /proxies (no whole answer within 2 s); it "
            "hangs or is frozen, or something else runs there",
            None,
        ),
        (
            RefusedError("POST /proxies", Reply(409, '{"error": "proxy already exists"}')),
            f"Toxiproxy at {URL}: POST /proxies was answered 409 proxy already exists",
            409,
        ),
        (
            StrangeError("wanted a proxy, found '<html>'"),
            f"what runs at {URL} does not speak Toxiproxy's API: wanted a proxy, found '<html>'",
            None,
        ),
    ],
)
def test_whatever_the_door_raises_is_a_sentence(
    error: Exception, words: str, status: int | None
) -> None:
    with pytest.raises(ToxiproxyError) as caught, told(URL):
        raise error
    assert str(caught.value) == words
    assert caught.value.status == status
    assert caught.value.exit_code is Exit.HARNESS
    assert caught.value.__cause__ is error


def test_anything_else_passes_as_it_is() -> None:
    with pytest.raises(KeyError, match="bug"), told(URL):
        raise KeyError("bug")
    with told(URL):
        pass


WITHOUT_DESCRIPTORS = """
from chaosbandit.errors import ToxiproxyError
from chaosbandit.toxiproxy.calls import Calls
from chaosbandit.toxiproxy.error_words import told

use_up_descriptors()
try:
    with told("http://127.0.0.1:8474"):
        Calls("http://127.0.0.1:8474").call("GET", "/version")
except ToxiproxyError as error:
    print(error)
"""


def test_out_of_descriptors_is_no_trouble_of_the_server() -> None:
    ended = starved(WITHOUT_DESCRIPTORS)
    words = "this machine has nothing left to connect with (Too many open files)"
    assert f"{URL} was not asked GET /version: {words}" in ended.stdout, ended.stderr


def test_no_answer_is_told_the_same_way_elsewhere() -> None:
    error = UnansweredError("GET /version", URL, "why", refused=True)
    assert unanswered(URL, error).endswith("is a server running there?")
