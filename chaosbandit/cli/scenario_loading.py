"""Scenario files as commands load them: what their variables hold is hidden from then on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaosbandit.scenario import Loaded


def load_hiding(file: Path) -> Loaded:
    """As `scenario.load`, with the environment of this process.

    Raises:
        ScenarioError: the file is wrong.
    """
    import os

    from chaosbandit.cli.output import mask_stderr
    from chaosbandit.hidden_values import hide
    from chaosbandit.scenario import load

    mask_stderr()
    return load(file, os.environ, hide)
