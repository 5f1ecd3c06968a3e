"""Text that came from a server, a target or a file of others: bounded, and fit for a terminal.

Standard library only, since the watchdog shows such text, too.
"""

from __future__ import annotations

import re

from chaosbandit.hidden_values import masked

LARGEST_BYTES = 1 << 20  # of one reply
LONGEST = 300  # characters of it that are shown

# Sequences that move a cursor, colour, or name a window: whole, not their first character alone.
_ESCAPES = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?")
_LOOKED_AT = 8  # times the length to be shown: the rest may be control characters


def said(what: object, longest: int = LONGEST) -> str:
    """What somebody said, or an error quotes of it, in at most so many printable characters."""
    try:
        text = str(what)
    except RecursionError:
        return "a nest of lists"
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a huge number"
    text = masked(_ESCAPES.sub("", text[: _LOOKED_AT * longest]))
    return "".join(c for c in text if c.isprintable()).strip()[:longest]
