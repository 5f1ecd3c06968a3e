"""Which tests run when: at once, with every change, or as matrix, on another part or fault.

`make test-quick` takes the folders without servers and leaves out statistics, `make test` leaves
out the matrix, `make test-real` is the matrix.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

# Where the real server is asked in every run of the tests; elsewhere it is part of the matrix.
ONE_OF_EACH = ("e2e/test_run.py", "e2e/test_edge.py", "toxiproxy/test_adapter.py")
# Many seeded campaigns or samples each, and measurements of time.
STATISTICS = (
    "core/policies/test_affordable_bracket.py", "core/policies/test_certify.py",
    "core/test_replay.py", "engine/test_cost.py", "engine/test_hold.py",
)  # fmt: skip


def mark(items: Iterable[pytest.Item]) -> None:
    """Statistics by their files; matrix what is parametrized with the real server, mostly."""
    for item in items:
        if _is_one_of(STATISTICS, item.path):
            item.add_marker(pytest.mark.statistics)
        parameters = getattr(item, "callspec", None)
        values = parameters.params.values() if parameters is not None else ()
        real = any(isinstance(value, str) and value == "real" for value in values)
        if real and not _is_one_of(ONE_OF_EACH, item.path):
            item.add_marker(pytest.mark.matrix)


def first_alone(rows: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Rows of parameters of which all but the first are matrix."""
    first, *rest = rows
    return [pytest.param(*first), *(pytest.param(*row, marks=pytest.mark.matrix) for row in rest)]


def _is_one_of(files: tuple[str, ...], path: Path) -> bool:
    return path.as_posix().endswith(files)
