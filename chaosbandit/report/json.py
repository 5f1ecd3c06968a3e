"""A result as JSON, for `--json` and for files that machines read; the keys keep their order."""

from __future__ import annotations

import json
from dataclasses import asdict

from chaosbandit.report.result import Result


def to_json(result: Result) -> str:
    """One JSON object, indented, ending in a newline; key order is the order of the fields."""
    return json.dumps(asdict(result), ensure_ascii=False, allow_nan=False, indent=2) + "\n"
