"""The entry point: answers `--version` before anything heavy is imported, and turns errors into
sentences and exit codes."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and leave with one of the exit codes of `errors.Exit`."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from chaosbandit._version import __version__

        sys.stdout.write(f"chaosbandit {__version__}\n")
        return
    from chaosbandit.cli.app import app
    from chaosbandit.errors import ChaosbanditError, Exit

    try:
        app()
    except ChaosbanditError as error:
        sys.stderr.write(f"chaosbandit: {error}\n")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.INTERNAL)
    except KeyboardInterrupt:
        sys.exit(Exit.SIGINT)
    except Exception as error:
        if os.environ.get("CHAOSBANDIT_DEBUG"):
            raise
        sys.stderr.write(
            f"chaosbandit: internal error: {type(error).__name__}: {error}\n"
            "This is a bug in chaosbandit. CHAOSBANDIT_DEBUG=1 shows where; `chaosbandit clean` "
            "removes any fault that may be left.\n"
        )
        sys.exit(Exit.INTERNAL)


if __name__ == "__main__":
    main()
