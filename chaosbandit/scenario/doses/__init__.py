"""How each dose is written in a scenario file: its keys, its severities, and where it is refused.

A dose of `core.doses` has a file of its name here, which declares the keys of its ladders and
registers them. All are read at once: the schema and the messages name every one.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import ClassVar, TypeVar, get_args

from pydantic import Field, model_validator

from chaosbandit.core.doses import Dose
from chaosbandit.core.topology import Topology
from chaosbandit.scenario import value_types as f
from chaosbandit.scenario.contradictions import Finding
from chaosbandit.scenario.key_declarations import Keys, key
from chaosbandit.scenario.quantities import WantedError


class LadderKeys(Keys):
    """What the ladders of every dose have; `toxic` and what follows is declared by each dose."""

    noun: ClassVar[str]  # what its severities are: `a duration`
    example: ClassVar[str]  # of one: `2s`
    pattern: ClassVar[str]  # of all, for editors
    bare: ClassVar[bool] = False  # whether they may be numbers without a unit
    assumed: ClassVar[bool] = False  # where `toxic` is missing or unknown, for its messages

    name: f.Name = key("Its name in verdicts, reports and `require`.", "slow-inventory")
    proxy: f.Name = key("The proxy it injects into.", "inventory")
    stream: f.Stream = key(
        "The direction that is hurt: `downstream` are the answers, `upstream` the requests.",
        "upstream",
        "downstream",
    )
    toxic: str
    vary: str
    mild: float = Field(alias="from")
    harsh: float = Field(alias="to")

    @staticmethod
    def read(value: object) -> float:
        """A severity as people write it, or `WantedError`."""
        raise NotImplementedError

    def dose(self) -> Dose:
        """The dose these keys ask for."""
        raise NotImplementedError

    def inexact(self, severity: float) -> str | None:
        """What is wanted instead of a severity that the proxy cannot express."""
        return None

    def refused(self, at: int, topology: Topology, connections: str) -> Iterator[Finding]:
        """Why the dose of ladder number `at` cannot be measured on this path, if so."""
        return iter(())

    @model_validator(mode="after")
    def _leads_to_harsh(self) -> LadderKeys:
        rises = self.dose().rises
        if not (self.mild < self.harsh if rises else self.mild > self.harsh):
            more = "more" if rises else "less"
            wanted = f"{more} than `from`: a ladder leads from mild to harsh"
            raise WantedError(wanted, at=("to",))
        return self


_registry: dict[str, type[LadderKeys]] = {}
_AnyKeys = TypeVar("_AnyKeys", bound=type[LadderKeys])


def register(keys: _AnyKeys) -> _AnyKeys:
    """Class decorator: make the keys known under the one word their `toxic` may be."""
    of_ladders: type[LadderKeys] = keys
    (toxic,) = get_args(of_ladders.model_fields["toxic"].annotation)
    _registry[toxic] = keys
    return keys


def _all() -> dict[str, type[LadderKeys]]:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(_registry.items(), key=lambda item: (not item[1].assumed, item[0])))


LADDERS: Mapping[str, type[LadderKeys]] = MappingProxyType(_all())
ASSUMED = next(iter(LADDERS.values()))
