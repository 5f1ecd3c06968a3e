"""Faults of runs on the operator's proxy, as records and at servers."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.faults.names import Kind, written
from chaosbandit.faults.undo_steps import stand_in
from chaosbandit.toxiproxy.calls import Calls
from tests.operator_path import ORIGINAL, OperatorPath

LATENCY = {"latency": 5000, "jitter": 0}


def fault_of(
    run: str = "run001",
    expires_epoch_s: int = 1,
    *,
    server: str = "http://127.0.0.1:8474",
    proxy: str = ORIGINAL,
    listen: str = "127.0.0.1:2",
    upstream: str = "127.0.0.1:1",
    toxics: int = 1,
) -> Fault:
    """A fault of a run on the operator's proxy."""
    named = [written(Kind.TOXIC, run, expires_epoch_s, n=n + 1) for n in range(toxics)]
    given = tuple(Toxic("latency", LATENCY, name=name) for name in named)
    return Fault(run, server, named[0], proxy, listen, upstream, expires_epoch_s, given)


def put_on(path: OperatorPath, fault: Fault) -> Fault:
    """Have its toxics on the proxy."""
    path.inject(fault)
    return fault


def put_stand_in(path: OperatorPath, fault: Fault) -> str:
    """Close the proxy and have a clean one of the run's serve its address, as in a cut."""
    name = stand_in(fault)
    path.call("POST", f"/proxies/{fault.proxy}", {"enabled": False})
    body = {"name": name, "listen": fault.listen, "upstream": fault.upstream}
    assert path.call("POST", "/proxies", body) == 201
    return name


def listed(path: OperatorPath) -> dict[str, Any]:
    """All that the server shows."""
    with closing(Calls(path.url)) as calls:
        return calls.call("GET", "/proxies", within_s=10.0).record()
