"""The record of what must be undone."""

from __future__ import annotations

import dataclasses

import pytest

from chaosbandit.faults.fault import Fault, Toxic


def test_toxic_names_and_no_second_thoughts() -> None:
    toxics = (Toxic("latency", {"latency": 1}, name="a"), Toxic("slicer", {}, name="b"))
    fault = Fault("run001", "http://h:1", "a", "p", "h:2", "h:3", 5, toxics)
    assert fault.toxic_names == {"a", "b"}
    assert not fault.owned
    with pytest.raises(dataclasses.FrozenInstanceError):
        fault.proxy = "other"  # type: ignore[misc]
