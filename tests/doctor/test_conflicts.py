"""What a run now would be refused for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaosbandit.doctor.conflicts import conflicts
from chaosbandit.doctor.leftover_search import Trace
from chaosbandit.faults.fault import Fault
from chaosbandit.faults.names import Kind, written
from tests.doctor.faults import fault_of
from tests.simulated import scenario

ASKED = replace(scenario(), toxiproxy="http://127.0.0.1:8474")  # target :1, inventory listens on :2


@pytest.mark.parametrize(
    ("what", "refused"),
    [
        ("target localhost:1", True),
        ("target 127.0.0.1:2", False),  # the address of the proxy is no target
        ("target 127.0.0.1:9", False),
        ("proxy address localhost:2 at http://localhost:8474", True),
        ("proxy address 127.0.0.1:2 at http://127.0.0.1:8475", False),
        ("proxy address 127.0.0.1:9 at http://127.0.0.1:8474", False),
        ("something new", False),
    ],
)
def test_what_runs_of_this_host_have_for_themselves(what: str, refused: bool) -> None:
    assert conflicts((), [{"what": what}], ASKED) == refused


def own(kind: Kind, upstream: str, listen: str = "127.0.0.1:0") -> Fault:
    """A lease or a path of a run."""
    name = written(kind, "run001", 1)
    fault = fault_of(proxy=name, listen=listen, upstream=upstream)
    return replace(fault, name=name, toxics=(), owned=True)


@pytest.mark.parametrize(
    ("fault", "refused"),
    [
        (fault_of(), True),
        (fault_of(proxy="cart", listen="127.0.0.1:3"), False),
        (fault_of(proxy="cart", listen="localhost:2"), True),
        (own(Kind.LEASE, "localhost:1"), True),
        (own(Kind.LEASE, "127.0.0.1:9"), False),
        (own(Kind.LEASE, "127.0.0.1:9", "localhost:2"), True),
        (own(Kind.PATH, "127.0.0.1:1", "127.0.0.1:77"), False),
    ],
)
def test_what_runs_have_at_a_server(fault: Fault, refused: bool) -> None:
    assert conflicts([Trace(fault)], (), ASKED) == refused
    assert not conflicts([Trace(fault)], (), None)
