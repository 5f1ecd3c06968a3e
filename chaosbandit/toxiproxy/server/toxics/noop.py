"""The toxic that does nothing."""

from __future__ import annotations

from chaosbandit.toxiproxy.server.stages import Stage
from chaosbandit.toxiproxy.server.toxics import toxic


@toxic("noop")
class Noop(Stage):
    """Passes everything on."""
