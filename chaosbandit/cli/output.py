"""stdout: the result of a command and nothing else, as text or as one JSON object."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from chaosbandit.errors import ChaosbanditError, HarnessError, ScenarioError
from chaosbandit.hidden_values import masked, masked_json


def show(text: str, *, as_json: bool = False) -> None:
    """Print a result; where nobody reads on (`| head -1`) the exit code still tells.

    Raises:
        HarnessError: it cannot be written, because the disk is full for instance.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        encoding = "utf-8" if as_json else None  # which JSON is, whatever the terminal speaks
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")
    try:
        sys.stdout.write(masked_json(text) if as_json else masked(text))
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        if error.errno not in (errno.EPIPE, errno.EIO):  # a pipe or a terminal that is gone
            raise HarnessError(
                f"the result could not be written to stdout: {error.strerror or error}; a run's "
                "journal holds it as well"
            ) from error


class _Masked(io.TextIOWrapper):
    """A stream that shows nothing of what variables hold, whoever writes to it."""

    def write(self, text: str) -> int:
        super().write(masked(text))
        return len(text)


def mask_stderr() -> None:
    """Progress, logs, errors and tracebacks: from now on all of them are masked."""
    stream = sys.stderr
    if type(stream) is not io.TextIOWrapper:  # masked already, or not ours to replace
        return
    encoding, errors = stream.encoding, stream.errors
    sys.stderr = _Masked(stream.detach(), encoding, errors, line_buffering=True)


@contextmanager
def telling(as_json: bool) -> Iterator[None]:
    """With `--json`, an error is a JSON object on stdout too, beside its sentence on stderr."""
    try:
        yield
    except ChaosbanditError as error:
        if as_json:
            show(_as_json(error), as_json=True)
        raise


def _as_json(error: ChaosbanditError) -> str:
    """The keys that a result has as well mean the same there."""
    problems = error.problems if isinstance(error, ScenarioError) else ()
    found = {
        "schema": 1,
        "answered": False,
        "exit_code": int(error.exit_code),
        "stop_reason": str(error),
        "problems": [asdict(problem) for problem in problems],
    }
    return json.dumps(found, ensure_ascii=False, indent=2) + "\n"
