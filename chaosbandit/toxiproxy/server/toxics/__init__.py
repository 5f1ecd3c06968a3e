"""The toxics themselves: what each does to the chunks of one direction of one connection.

Each is one class in a file of its own, entered there under its type; adding one is adding a file.
Toxics know nothing of sockets, links or proxies. Attributes come unchecked, as in Toxiproxy; where
the real server would crash on a value, the class says what happens instead.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import TypeVar

from chaosbandit.toxiproxy.server.stages import Stage

MS = 1e-3
"""Seconds in a millisecond, the unit of most attributes."""

STAGES: dict[str, type[Stage]] = {}
"""The class of each toxic type; a class enters itself with `@toxic`."""

StageClass = TypeVar("StageClass", bound=type[Stage])


def toxic(type_: str) -> Callable[[StageClass], StageClass]:
    """Register a stage class as the toxic of this type."""

    def enter(stage: StageClass) -> StageClass:
        STAGES[type_] = stage
        return stage

    return enter


for _module in pkgutil.iter_modules(__path__):  # last: they need what is defined above
    importlib.import_module(f"{__name__}.{_module.name}")
