"""Gives the policy tests the loop of `benchmarks/search.py`, so that both drive policies alike."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

_SEARCH = Path(__file__).parents[3] / "benchmarks" / "search.py"


@pytest.fixture(scope="session")
def loop() -> ModuleType:
    """The module `benchmarks/search.py`."""
    spec = importlib.util.spec_from_file_location("benchmark_search", _SEARCH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
