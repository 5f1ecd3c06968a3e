"""Scenario files: `load` and `parse` make the core's `Scenario` of YAML or say all that is wrong.

Importing this package costs about 0.2 s (pydantic), so the command line does it only when needed.
"""

from chaosbandit.scenario.reading import Loaded, load, parse, refuse_embedded_canary
from chaosbandit.scenario.schema_and_reference import schema

__all__ = ["Loaded", "load", "parse", "refuse_embedded_canary", "schema"]
