"""Which tests run with every change, and which are matrix: the same again on another part or fault.

`make test` leaves the matrix out, `make test-real` is the matrix.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

# Where the real server is asked in every run of the tests; elsewhere it is part of the matrix.
ONE_OF_EACH = ("e2e/test_run.py", "e2e/test_edge.py", "toxiproxy/test_adapter.py")


def mark(items: Iterable[pytest.Item]) -> None:
    """What is parametrized with the real server is matrix, but for one of each kind of test."""
    for item in items:
        parameters = getattr(item, "callspec", None)
        values = parameters.params.values() if parameters is not None else ()
        real = any(isinstance(value, str) and value == "real" for value in values)
        if real and not _is_one_of_each(item.path):
            item.add_marker(pytest.mark.matrix)


def first_alone(rows: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Rows of parameters of which all but the first are matrix."""
    first, *rest = rows
    return [pytest.param(*first), *(pytest.param(*row, marks=pytest.mark.matrix) for row in rest)]


def _is_one_of_each(path: Path) -> bool:
    return path.as_posix().endswith(ONE_OF_EACH)
