"""The entry point: answers `--version` before anything heavy is imported, and turns errors into
sentences and exit codes."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and leave with one of the exit codes of `errors.Exit`."""
    try:
        _have_streams()
        if sys.argv[1:] in (["--version"], ["-V"]):
            from chaosbandit._version import __version__

            sys.stdout.write(f"chaosbandit {__version__}\n")
            return
        _command()
    except KeyboardInterrupt:  # before there was anything to end in order
        sys.exit(130)


def _command() -> None:
    from chaosbandit.cli.interrupts import arm, ignore

    arm()
    from chaosbandit.cli.app import app
    from chaosbandit.errors import ChaosbanditError, Exit

    try:
        app(prog_name="chaosbandit")
    except ChaosbanditError as error:
        _say(f"chaosbandit: {error}\n")
        sys.exit(error.exit_code)
    except Exception as error:
        if os.environ.get("CHAOSBANDIT_DEBUG"):
            raise
        _say(
            f"chaosbandit: internal error: {type(error).__name__}: {error}\n"
            "This is a bug in chaosbandit. CHAOSBANDIT_DEBUG=1 shows where; `chaosbandit clean` "
            "removes any fault that may be left.\n"
        )
        sys.exit(Exit.INTERNAL)
    finally:
        ignore()


def _say(text: str) -> None:
    """On stderr; a terminal that is gone takes neither the text nor the exit code with it."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _have_streams() -> None:
    """A stream that was closed for us (`2>&-`) is no reason to fail."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  for as long as we live
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123


if __name__ == "__main__":
    main()
