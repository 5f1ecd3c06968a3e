"""The HTTP API as a table, asked of the embedded and of the real server alike."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.servers import real_server_path, running_server

UPSTREAM = "127.0.0.1:1"


class Caller:
    """Sends requests exactly as told, unlike a convenient client."""

    def __init__(self, url: str) -> None:
        self.place = urlsplit(url)
        assert self.place.hostname is not None
        self._http = http.client.HTTPConnection(self.place.hostname, self.place.port, timeout=10)
        self.headers: dict[str, str] = {}

    def send(
        self, method: str, path: str, body: object = None, agent: str | None = None
    ) -> tuple[int, str]:
        """Return status and body; a body that is no text is sent as JSON."""
        text = body if isinstance(body, str | None) else json.dumps(body)
        headers = {} if agent is None else {"User-Agent": agent}
        self._http.request(method, path, text, headers)
        response = self._http.getresponse()
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, response.read().decode()

    def json(self, method: str, path: str, body: object = None) -> Any:
        """Return the decoded body of a success."""
        status, text = self.send(method, path, body)
        assert 200 <= status < 300, text
        return json.loads(text)

    def close(self) -> None:
        self._http.close()


@pytest.fixture(scope="module", params=["embedded", "real"])
def shared_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of each kind for this whole module, since its tests leave nothing in between."""
    if request.param == "real" and real_server_path() is None:
        pytest.skip("no real Toxiproxy server: run .ci/toxiproxy, which builds it")
    with running_server(request.param) as url:
        yield url


@pytest.fixture
def caller(shared_url: str) -> Iterator[Caller]:
    """A server with one disabled proxy `p`, which has a latency toxic `slow`."""
    with contextlib.closing(Caller(shared_url)) as caller:
        _give_it_a_proxy(caller)
        yield caller
        for name in caller.json("GET", "/proxies"):
            caller.send("DELETE", f"/proxies/{quote(name)}")


@pytest.fixture
def embedded() -> Iterator[Caller]:
    """The embedded server alone, for what it does on purpose as the real one does not."""
    with running_server("embedded") as url, contextlib.closing(Caller(url)) as caller:
        _give_it_a_proxy(caller)
        yield caller


def _give_it_a_proxy(caller: Caller) -> None:
    proxy = {"name": "p", "listen": "127.0.0.1:0", "upstream": UPSTREAM, "enabled": False}
    caller.json("POST", "/proxies", proxy)
    toxic = {"name": "slow", "type": "latency", "attributes": {"latency": 5}}
    caller.json("POST", "/proxies/p/toxics", toxic)


def error(text: str, status: int) -> str:
    return f'{{"error":"{text}","status":{status}}}\n'


NOT_FOUND = "404 page not found\n"
BODY = "bad request body: "

FAILURES = [
    ("GET", "/", None, 404, NOT_FOUND),
    ("GET", "/proxies/", None, 404, NOT_FOUND),
    ("GET", "/proxies/p/", None, 404, NOT_FOUND),
    ("GET", "/proxies/p/toxics/", None, 404, NOT_FOUND),
    ("GET", "/proxies/p/toxics/slow/more", None, 404, NOT_FOUND),
    ("GET", "/proxies/p%2Ftoxics%2Fmore%2Fmore", None, 404, NOT_FOUND),
    ("GET", "/metrics", None, 404, NOT_FOUND),
    ("HEAD", "/version", None, 405, ""),
    ("OPTIONS", "/proxies", None, 405, ""),
    ("PUT", "/proxies/p", "{}", 405, ""),
    ("GET", "/reset", None, 405, ""),
    ("GET", "/populate", None, 405, ""),
    ("DELETE", "/proxies", None, 405, ""),
    ("GET", "/proxies/nope", None, 404, error("proxy not found", 404)),
    ("DELETE", "/proxies/nope", None, 404, error("proxy not found", 404)),
    ("PATCH", "/proxies/nope", "nonsense", 404, error("proxy not found", 404)),
    ("GET", "/proxies/nope/toxics", None, 404, error("proxy not found", 404)),
    ("POST", "/proxies/nope/toxics", "nonsense", 404, error("proxy not found", 404)),
    ("GET", "/proxies/nope/toxics/slow", None, 404, error("proxy not found", 404)),
    ("GET", "/proxies/p/toxics/nope", None, 404, error("toxic not found", 404)),
    ("PATCH", "/proxies/p/toxics/nope", "nonsense", 404, error("toxic not found", 404)),
    ("DELETE", "/proxies/p/toxics/nope", None, 404, error("toxic not found", 404)),
    ("POST", "/proxies", "", 400, error(BODY + "EOF", 400)),
    ("POST", "/proxies", '{"name":', 400, error(BODY + "unexpected EOF", 400)),
    ("POST", "/proxies", {}, 400, error("missing required field: name", 400)),
    ("POST", "/proxies", "null", 400, error("missing required field: name", 400)),
    ("POST", "/proxies", {"name": "q"}, 400, error("missing required field: upstream", 400)),
    (
        "POST",
        "/proxies",
        {"name": "p", "upstream": "x", "listen": "nonsense"},
        409,
        error("proxy already exists", 409),
    ),
    (
        "POST",
        "/proxies",
        {"name": "q", "upstream": "x", "listen": "nonsense"},
        500,
        error("listen tcp: address nonsense: missing port in address", 500),
    ),
    (
        "POST",
        "/proxies",
        {"name": "q", "upstream": "x", "listen": "127.0.0.1:99999"},
        500,
        error("listen tcp: address 99999: invalid port", 500),
    ),
    (
        "POST",
        "/proxies",
        {"name": "q", "upstream": "x", "listen": "1:2:3"},
        500,
        error("listen tcp: address 1:2:3: too many colons in address", 500),
    ),
    (
        "PATCH",
        "/proxies/p",
        {"listen": "nonsense"},
        500,
        error("address nonsense: missing port in address", 500),
    ),
    ("PATCH", "/proxies/p", "", 400, error(BODY + "EOF", 400)),
    ("POST", "/proxies/p/toxics", "", 400, error(BODY + "EOF", 400)),
    ("POST", "/proxies/p/toxics", {}, 400, error("invalid toxic type", 400)),
    ("POST", "/proxies/p/toxics", {"type": "fog"}, 400, error("invalid toxic type", 400)),
    (
        "POST",
        "/proxies/p/toxics",
        {"type": "fog", "stream": "sideways"},
        400,
        error("stream was invalid, can be either upstream or downstream", 400),
    ),
    (
        "POST",
        "/proxies/p/toxics",
        {"type": "latency", "stream": ""},
        400,
        error("stream was invalid, can be either upstream or downstream", 400),
    ),
    (
        "POST",
        "/proxies/p/toxics",
        {"type": "noop", "name": "slow", "stream": "upstream"},
        409,
        error("toxic already exists", 409),
    ),
    ("PATCH", "/proxies/p/toxics/slow", "", 400, error(BODY + "EOF", 400)),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "text"), FAILURES)
def test_refuses(
    caller: Caller, method: str, path: str, body: object, status: int, text: str
) -> None:
    assert (status, text) == caller.send(method, path, body)
    if text:
        assert caller.headers["content-type"] == "text/plain; charset=utf-8"
        assert caller.headers["x-content-type-options"] == "nosniff"
    routed = status != 405 and text != NOT_FOUND
    assert routed == ("x-toxiproxy-request-id" in caller.headers)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "FOO"])
@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("//proxies", "/proxies"),
        ("//", "/"),
        ("/proxies//toxics", "/proxies/toxics"),
        ("/proxies/../version", "/version"),
        ("/proxies/./", "/proxies/"),
        ("/proxies/p/..", "/proxies"),
        ("/proxies/p%2F%2Fq?a=%20", "/proxies/p/q?a=%20"),
        ("//!'()*$&+,:;=@~", "/%21%27%28%29%2A$&+,:;=@~"),
        ("http://localhost//version", "http://localhost/version"),
    ],
)
def test_long_ways_are_moved_permanently(
    caller: Caller, method: str, target: str, location: str
) -> None:
    body = "{}" if method == "POST" else None
    assert caller.send(method, target, body, agent="Mozilla/5.0") == (301, "")
    assert location == caller.headers["location"]
    assert "x-toxiproxy-request-id" not in caller.headers
    assert caller.headers.get("content-length") == (None if method == "HEAD" else "0")


def test_options_of_the_whole_server(caller: Caller) -> None:
    assert caller.send("OPTIONS", "*") == (200, "")
    assert caller.headers["content-length"] == "0"
    assert caller.send("GET", "*") == (301, "")
    assert caller.headers["location"] == "/%2A"


@pytest.mark.parametrize("target", ["proxies", "?x", "//%zz", "/100%"])
def test_refuses_what_is_no_target(caller: Caller, target: str) -> None:
    assert caller.send("GET", target) == (400, "400 Bad Request")
    assert caller.headers["content-type"] == "text/plain; charset=utf-8"
    assert caller.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("path", "status", "length"),
    [("/version", 405, None), ("/proxies/p/toxics/slow", 405, None), ("/nope", 404, "19")],
)
def test_an_answer_to_head_has_the_length_of_a_body_alone(
    caller: Caller, path: str, status: int, length: str | None
) -> None:
    for _ in range(2):  # on one connection
        assert caller.send("HEAD", path) == (status, "")
        assert length == caller.headers.get("content-length")
        assert "transfer-encoding" not in caller.headers


@pytest.mark.parametrize("listen", ["127.0.0.1:2_2", "127.0.0.1:0x50", "127.0.0.1:\u0661"])
def test_a_port_is_decimal_digits(caller: Caller, listen: str) -> None:
    port = listen.rpartition(":")[2]
    unknown = f"lookup tcp/{port}: unknown port"
    proxy = {"name": "q", "upstream": "u:1", "listen": listen}
    assert caller.send("POST", "/proxies", proxy) == (500, error(f"listen tcp: {unknown}", 500))
    assert caller.send("PATCH", "/proxies/p", proxy) == (500, error(unknown, 500))


@pytest.mark.parametrize("host", ["127.1", "127.0.0.01", "2130706433"])
def test_a_short_address_is_a_name_nobody_has(caller: Caller, host: str) -> None:
    proxy = {"name": "q", "upstream": "u:1", "listen": f"{host}:0"}
    wanted = error(f"listen tcp: lookup {host}: no such host", 500)
    assert caller.send("POST", "/proxies", proxy) == (500, wanted)


def test_populate_shows_what_there_is_in_the_end(caller: Caller) -> None:
    one = {"name": "q", "upstream": "u:1", "listen": "127.0.0.1:0"}
    shown = caller.json("POST", "/populate", [one, {**one, "upstream": "u:2"}])["proxies"]
    assert [(proxy["upstream"], proxy["enabled"]) for proxy in shown] == [
        ("u:1", False),
        ("u:2", True),
    ]


WRONG_KINDS = [
    ("POST", "/proxies", '{"name":1,"upstream":"x"}'),
    ("POST", "/proxies", '{"name":"q","upstream":"x","enabled":"yes"}'),
    ("POST", "/proxies", '{"name":"q","upstream":["x"]}'),
    ("POST", "/proxies", "[]"),
    ("POST", "/proxies", "hello"),
    ("POST", "/proxies", '{"name":NaN}'),
    ("POST", "/proxies", "[" * 20000),
    ("PATCH", "/proxies/p", '{"enabled":0}'),
    ("POST", "/proxies/p/toxics", '{"type":"latency","attributes":[1]}'),
    ("POST", "/proxies/p/toxics", '{"type":"latency","attributes":{"latency":1.5}}'),
    ("POST", "/proxies/p/toxics", '{"type":"latency","attributes":{"latency":1.0}}'),
    ("POST", "/proxies/p/toxics", '{"type":"latency","attributes":{"latency":1e3}}'),
    ("POST", "/proxies/p/toxics", '{"type":"latency","attributes":{"latency":"5"}}'),
    ("POST", "/proxies/p/toxics", '{"type":"latency","attributes":{"latency":true}}'),
    (
        "POST",
        "/proxies/p/toxics",
        '{"type":"limit_data","attributes":{"bytes":9223372036854775808}}',
    ),
    ("POST", "/proxies/p/toxics", '{"type":"latency","toxicity":"1"}'),
    ("POST", "/proxies/p/toxics", '{"type":"latency","toxicity":1e39}'),
    ("PATCH", "/proxies/p/toxics/slow", '{"toxicity":[]}'),
    ("PATCH", "/proxies/p/toxics/slow", '{"attributes":{"jitter":{}}}'),
]


@pytest.mark.parametrize(("method", "path", "body"), WRONG_KINDS)
def test_refuses_the_wrong_kind_of_value(caller: Caller, method: str, path: str, body: str) -> None:
    status, text = caller.send(method, path, body)
    answer = json.loads(text)
    assert 400 == status == answer["status"]
    assert answer["error"].startswith(BODY)
    assert [*caller.json("GET", "/proxies")] == ["p"]
    assert len(caller.json("GET", "/proxies/p/toxics")) == 1


def test_lists_and_shows(caller: Caller) -> None:
    toxic = {
        "attributes": {"latency": 5, "jitter": 0},
        "name": "slow",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 1,
    }
    proxy = {
        "name": "p",
        "listen": "127.0.0.1:0",
        "upstream": UPSTREAM,
        "enabled": False,
        "toxics": [toxic],
    }
    assert proxy == _without_logger(caller.json("GET", "/proxies/p"))
    assert {"p": proxy} == {
        name: _without_logger(shown) for name, shown in caller.json("GET", "/proxies").items()
    }
    assert [toxic] == caller.json("GET", "/proxies/p/toxics")
    assert toxic == caller.json("GET", "/proxies/p/toxics/slow")
    assert [*toxic] == [*caller.json("GET", "/proxies/p/toxics/slow")]
    assert caller.headers["content-type"] == "application/json"
    assert len(caller.headers["x-toxiproxy-request-id"]) == 20


def _started(caller: Caller, name: str) -> Any:
    proxy = {"name": name, "upstream": "u:1", "listen": "127.0.0.1:0"}
    return caller.json("POST", "/proxies", proxy)


def _without_logger(proxy: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in proxy.items() if key != "Logger"}


def test_names_its_version(caller: Caller) -> None:
    assert caller.send("GET", "/version") == (200, '{"version": "2.12.0"}\n')
    assert caller.headers["content-type"] == "application/json;charset=utf-8"


@pytest.mark.parametrize(
    ("agent", "path", "status"),
    [
        ("Mozilla/5.0", "/proxies", 403),
        ("Mozilla/", "/version", 403),
        ("mozilla/5.0", "/proxies", 200),
        ("curl (like Mozilla/5.0)", "/proxies", 200),
        ("", "/proxies", 200),
        ("Mozilla/5.0", "/nowhere", 404),
    ],
)
def test_refuses_browsers(caller: Caller, agent: str, path: str, status: int) -> None:
    found, text = caller.send("GET", path, agent=agent)
    assert status == found
    if status == 403:
        assert text == "User agent not allowed\n"


def test_create_answers_with_the_bound_address(caller: Caller) -> None:
    body = '{"NAME":"<&>","Upstream":"u:1","listen":"localhost:0","x":1,"enabled":null} more'
    status, text = caller.send("POST", "/proxies", body)
    assert status == 201
    assert r'"name":"\u003c\u0026\u003e"' in text
    proxy = json.loads(text)
    host, port = proxy["listen"].split(":")
    assert host == "127.0.0.1"
    assert int(port) > 0
    assert proxy["enabled"] is True
    socket.create_connection((host, int(port))).close()


def test_the_last_of_two_equal_keys_wins(caller: Caller) -> None:
    names = '"name":"one","Name":"two","name":null'
    body = f'{{{names},"upstream":"u:1","enabled":false,"listen":"as given"}}'
    _, text = caller.send("POST", "/proxies", body)
    proxy = json.loads(text)
    assert (proxy["name"], proxy["listen"]) == ("two", "as given")


def test_refuses_an_address_in_use(caller: Caller) -> None:
    taken = caller.json(
        "POST", "/proxies", {"name": "q", "upstream": "u:1", "listen": "localhost:0"}
    )
    body = {"name": "r", "upstream": "u:1", "listen": taken["listen"]}
    status, text = caller.send("POST", "/proxies", body)
    wanted = f"listen tcp {taken['listen']}: bind: address already in use"
    assert (500, error(wanted, 500)) == (status, text)
    assert caller.send("GET", "/proxies/r")[0] == 404


def test_update_changes_what_it_names(caller: Caller) -> None:
    proxy = caller.json("PATCH", "/proxies/p", {"name": "other", "upstream": "", "enabled": True})
    assert (proxy["name"], proxy["upstream"], proxy["enabled"]) == ("p", "", True)
    again = caller.json("POST", "/proxies/p", {"enabled": True})
    assert proxy == again
    stopped = caller.json("PATCH", "/proxies/p", {"enabled": False})
    assert proxy["listen"] == stopped["listen"]
    assert [toxic["name"] for toxic in stopped["toxics"]] == ["slow"]
    host, port = proxy["listen"].split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_update_to_an_address_in_use_leaves_it_stopped(caller: Caller) -> None:
    taken = caller.json(
        "POST", "/proxies", {"name": "q", "upstream": "u:1", "listen": "localhost:0"}
    )
    caller.json("PATCH", "/proxies/p", {"enabled": True})
    status, _ = caller.send("PATCH", "/proxies/p", {"listen": taken["listen"]})
    proxy = caller.json("GET", "/proxies/p")
    assert (500, taken["listen"], False) == (status, proxy["listen"], proxy["enabled"])


def test_delete_closes_the_listener(caller: Caller) -> None:
    listen = caller.json("PATCH", "/proxies/p", {"enabled": True})["listen"]
    assert caller.send("DELETE", "/proxies/p") == (204, "")
    host, port = listen.split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))
    assert caller.json("GET", "/proxies") == {}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("1", "1"),
        ("1.0", "1"),
        ("0.1", "0.1"),
        ("0.123456789", "0.12345679"),
        ("-3", "-3"),
        ("7", "7"),
        ("1e-3", "0.001"),
        ("16777217", "16777216"),
        ("null", "1"),
    ],
)
def test_toxicity_is_a_32_bit_float(caller: Caller, given: str, shown: str) -> None:
    body = f'{{"type":"noop","toxicity":{given}}}'
    status, text = caller.send("POST", "/proxies/p/toxics", body)
    assert (200, f'"toxicity":{shown}}}') == (status, text[text.index('"toxicity"') :])


@pytest.mark.parametrize(
    ("type_", "attributes"),
    [
        ("latency", {"latency": 0, "jitter": 0}),
        ("bandwidth", {"rate": 0}),
        ("slow_close", {"delay": 0}),
        ("timeout", {"timeout": 0}),
        ("reset_peer", {"timeout": 0}),
        ("slicer", {"average_size": 0, "size_variation": 0, "delay": 0}),
        ("limit_data", {"bytes": 0}),
        ("noop", {}),
    ],
)
def test_toxics_show_all_their_attributes(
    caller: Caller, type_: str, attributes: dict[str, int]
) -> None:
    toxic = caller.json(
        "POST", "/proxies/p/toxics", {"type": type_, "attributes": {"colour": "blue"}}
    )
    assert attributes == toxic["attributes"]
    assert [*attributes] == [*toxic["attributes"]]
    assert f"{type_}_downstream" == toxic["name"]


def test_toxics_list_upstream_first_and_echo_the_stream(caller: Caller) -> None:
    for stream in ("UPSTREAM", "downstream", "Upstream"):
        caller.json("POST", "/proxies/p/toxics", {"type": "noop", "stream": stream})
    toxics = caller.json("GET", "/proxies/p/toxics")
    assert [toxic["name"] for toxic in toxics] == [
        "noop_UPSTREAM",
        "noop_Upstream",
        "slow",
        "noop_downstream",
    ]
    assert [toxic["stream"] for toxic in toxics] == [
        "UPSTREAM",
        "Upstream",
        "downstream",
        "downstream",
    ]


def test_toxic_update_merges(caller: Caller) -> None:
    body = {
        "name": "x",
        "type": "fog",
        "stream": "upstream",
        "toxicity": 0.5,
        "attributes": {"Jitter": 3, "latency": None},
    }
    toxic = caller.json("PATCH", "/proxies/p/toxics/slow", body)
    assert toxic == {
        "attributes": {"latency": 5, "jitter": 3},
        "name": "slow",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 0.5,
    }
    assert toxic == caller.json("POST", "/proxies/p/toxics/slow", {"attributes": None})
    assert toxic == caller.json("GET", "/proxies/p/toxics/slow")


def test_toxic_delete(caller: Caller) -> None:
    assert caller.send("DELETE", "/proxies/p/toxics/slow") == (204, "")
    assert caller.json("GET", "/proxies/p/toxics") == []


def test_reset_starts_all_and_removes_all_toxics(caller: Caller) -> None:
    assert caller.send("POST", "/reset") == (204, "")
    proxy = caller.json("GET", "/proxies/p")
    assert (proxy["enabled"], proxy["toxics"]) == (True, [])


def test_populate_keeps_what_is_the_same_and_replaces_the_rest(caller: Caller) -> None:
    listen = caller.json("PATCH", "/proxies/p", {"enabled": True})["listen"]
    wanted: list[dict[str, Any]] = [
        {"name": "p", "listen": listen, "upstream": UPSTREAM, "enabled": False},
        {"name": "q", "listen": "127.0.0.1:0", "upstream": "u:1", "toxics": [{"type": "noop"}]},
        {"name": "r", "listen": "nowhere", "upstream": "u:1", "enabled": False},
    ]
    status, text = caller.send("POST", "/populate", wanted)
    assert status == 201
    made = json.loads(text)["proxies"]
    assert [(p["name"], p["enabled"]) for p in made] == [("p", True), ("q", True), ("r", False)]
    assert [[toxic["name"] for toxic in p["toxics"]] for p in made] == [["slow"], [], []]
    wanted[0]["upstream"] = "u:2"
    (replaced,) = caller.json("POST", "/populate", wanted[:1])["proxies"]
    assert (replaced["upstream"], replaced["enabled"], replaced["toxics"]) == ("u:2", False, [])


def test_populate_of_nothing(caller: Caller) -> None:
    assert caller.send("POST", "/populate", "[]") == (201, '{"proxies":null}')
    assert caller.send("POST", "/populate", "null") == (201, '{"proxies":null}')


def test_populate_validates_everything_first(caller: Caller) -> None:
    wanted = [{"name": "q", "upstream": "u:1"}, {"name": "r"}]
    status, text = caller.send("POST", "/populate", wanted)
    refusal = "missing required field: upstream at proxy 2"
    assert (400, f'{{"error":"{refusal}","status":400,"proxies":null}}') == (status, text)
    assert caller.headers["content-type"] == "application/json"
    assert caller.send("GET", "/proxies/q")[0] == 404


def test_populate_stops_at_the_first_failure(caller: Caller) -> None:
    wanted = [
        {"name": "q", "listen": "127.0.0.1:0", "upstream": "u:1"},
        {"name": "r", "listen": "nowhere", "upstream": "u:1"},
        {"name": "s", "listen": "127.0.0.1:0", "upstream": "u:1"},
    ]
    status, text = caller.send("POST", "/populate", wanted)
    answer = json.loads(text)
    assert [*answer] == ["error", "status", "proxies"]
    assert (status, answer["status"]) == (500, 500)
    assert answer["error"] == "listen tcp: address nowhere: missing port in address"
    assert [proxy["name"] for proxy in answer["proxies"]] == ["q"]
    assert [*caller.json("GET", "/proxies")] == ["p", "q"]


def test_a_name_may_need_quoting(caller: Caller) -> None:
    name = "a b?#é"
    caller.json("POST", "/proxies", {"name": name, "upstream": "u:1", "enabled": False})
    assert name == caller.json("GET", "/proxies/a%20b%3F%23%C3%A9")["name"]


# What the embedded server does otherwise, on purpose.


def test_embedded_update_is_atomic(embedded: Caller) -> None:
    body = {"attributes": {"latency": "z", "jitter": 77}, "toxicity": 0.5}
    status, _ = embedded.send("PATCH", "/proxies/p/toxics/slow", body)
    toxic = embedded.json("GET", "/proxies/p/toxics/slow")
    assert status == 400
    assert (toxic["attributes"], toxic["toxicity"]) == ({"latency": 5, "jitter": 0}, 1)


@pytest.mark.parametrize("listen", [":0", "", None])
def test_embedded_listens_on_loopback_unless_told(embedded: Caller, listen: str | None) -> None:
    proxy = embedded.json("POST", "/proxies", {"name": "q", "upstream": "u:1", "listen": listen})
    assert proxy["listen"].startswith("127.0.0.1:")


def test_only_embedded_counts_shortages(caller: Caller, shared_url: str) -> None:
    wanted = (200, '{"shortages":0}')
    if "Logger" in caller.json("GET", "/proxies/p"):
        wanted = (404, "404 page not found\n")
    assert caller.send("GET", "/x/shortages") == wanted


def test_embedded_has_no_logger(embedded: Caller) -> None:
    proxy = embedded.json("GET", "/proxies/p")
    assert [*proxy] == ["name", "listen", "upstream", "enabled", "toxics"]
