"""Whether there is a place for what is written down: the fault ledger and the journals."""

from __future__ import annotations

import os
from pathlib import Path

from chaosbandit.errors import UsageError


def need_home() -> None:
    """Refuse to go on where this user has no folder, as happens in containers.

    Raises:
        UsageError: no folder is named, and the system knows none of this user.
    """
    if os.environ.get("XDG_STATE_HOME", "").startswith("/"):
        return
    try:
        Path.home()
    except RuntimeError:
        raise UsageError(
            f"found neither HOME nor a passwd entry of user {os.geteuid()}, wanted a folder for "
            "the fault ledger and the journals; name one in XDG_STATE_HOME"
        ) from None
