from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields

import pytest

from chaosbandit.core.model import Route
from chaosbandit.core.topology import TOPOLOGIES, Topology, topology

ANSWERS: dict[str, tuple[object, object]] = {
    # question          edge   canary
    "name":            ("edge", "canary"),
    "owns_proxy":      (True,  False),
    "one_proxy":       (True,  False),
    "needs_listen":    (False, True),
    "allows_embedded": (True,  False),
    "on_path":         (False, True),
    "clean_routes":    ((Route.CANARY, Route.CONTROL), ()),
    "needs_control":   (False, True),
    "allows_errors":   (True,  False),
}  # fmt: skip


@pytest.mark.parametrize(("question", "answers"), ANSWERS.items())
def test_each_topology_answers(question: str, answers: tuple[object, object]) -> None:
    found = [asdict(topology(name))[question] for name in ("edge", "canary")]
    assert found == list(answers)


def test_every_question_is_in_the_table() -> None:
    assert [each.name for each in fields(Topology)] == list(ANSWERS)


@pytest.mark.parametrize(
    ("name", "target"), [("edge", "inventory:9001"), ("canary", "shop.example:443")]
)
def test_where_requests_arrive(name: str, target: str) -> None:
    assert topology(name).target("shop.example:443", "inventory:9001") == target


@pytest.mark.parametrize(
    ("name", "addresses", "taken"),
    [
        ("edge", ["127.0.0.1:1", "127.0.0.1:2"], ()),  # a file may name them; a run takes others
        ("edge", [None], ()),
        ("canary", ["127.0.0.1:1", "127.0.0.1:2"], ("127.0.0.1:1", "127.0.0.1:2")),
        ("canary", [None, "127.0.0.1:2"], ("127.0.0.1:2",)),
        ("canary", [], ()),
    ],
)
def test_which_listen_addresses_a_run_takes(
    name: str, addresses: Sequence[str | None], taken: tuple[str, ...]
) -> None:
    assert topology(name).listens(addresses) == taken


def test_topologies_are_known_by_their_names() -> None:
    assert list(TOPOLOGIES) == ["edge", "canary"]
    assert all(topology(name) is each and each.name == name for name, each in TOPOLOGIES.items())


@pytest.mark.parametrize("name", ["", "Edge", "switchback"])
def test_others_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"found '{name}', wanted one of: edge, canary"):
        topology(name)
