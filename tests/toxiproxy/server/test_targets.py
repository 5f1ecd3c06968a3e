"""Targets as texts in, paths and places out; `test_api` asks the real server the same."""

from __future__ import annotations

import pytest

from chaosbandit.toxiproxy.server.targets import Target, read_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("/", Target("/")),
        ("/proxies/p", Target("/proxies/p")),
        ("/proxies/p/", Target("/proxies/p/")),
        ("/%76ersion?a=//b", Target("/version")),
        ("/proxies/a%20b", Target("/proxies/a b")),
        ("/proxies/%FF", Target("/proxies/\ufffd")),
        ("http://localhost:8474/version", Target("/version")),
        ("//proxies", Target("//proxies", "/proxies")),
        ("//", Target("//", "/")),
        ("/..", Target("/..", "/")),
        ("/a/../b/./c/", Target("/a/../b/./c/", "/b/c/")),
        ("//a%20b?x=%20", Target("//a b", "/a%20b?x=%20")),
        ("//!'()*$&+,:;=@~", Target("//!'()*$&+,:;=@~", "/%21%27%28%29%2A$&+,:;=@~")),
        ("/proxies/p%2F%2Fq", Target("/proxies/p//q", "/proxies/p/q")),
        ("/proxies/%2e%2e/version", Target("/proxies/../version", "/version")),
        ("http://h//version", Target("//version", "http://h/version")),
        ("http://h", Target("", "http://h/")),
        ("*", Target("*", "/%2A")),
        ("", None),
        ("proxies", None),
        ("?x", None),
        ("**", None),
        ("//%zz", None),
        ("/100%", None),
    ],
)
def test_reads(text: str, target: Target | None) -> None:
    assert target == read_target(text)
