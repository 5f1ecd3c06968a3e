"""The entry point: answers `--version` before anything heavy is imported, and turns errors into
sentences and exit codes."""

from __future__ import annotations

import errno
import os
import sys

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main() -> None:
    """Run the command line and leave with one of the exit codes of `errors.Exit`."""
    try:
        _have_streams()
        if sys.argv[1:] in (["--version"], ["-V"]):
            _version()
        else:
            _command()
    except OSError as error:
        _leave(error)
    except KeyboardInterrupt:  # before there was anything to end in order
        sys.exit(130)


def _version() -> None:
    from chaosbandit._version import __version__

    try:
        sys.stdout.write(f"chaosbandit {__version__}\n")
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads on
        _drop_unwritten()


def _command() -> None:
    from chaosbandit.cli.interrupts import arm, ignore

    arm()
    from chaosbandit.cli.app import app
    from chaosbandit.errors import ChaosbanditError

    try:
        app(prog_name="chaosbandit")
    except ChaosbanditError as error:
        _say(f"chaosbandit: {error}\n")
        sys.exit(error.exit_code)
    except Exception as error:
        _leave(error)
    finally:
        ignore()


def _leave(error: Exception) -> None:
    """With a sentence about what nobody said anything of: this machine's trouble, or a bug."""
    from chaosbandit.errors import Exit

    code = Exit.HARNESS
    if isinstance(error, OSError) and error.errno in _FULL:
        why = f"found no room to write to ({error.strerror}), wanted some where the output goes"
        code = getattr(error.__context__, "exit_code", code)  # of wrong usage, which was to be told
    elif isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        why = (
            f"found no file descriptor left ({error.strerror}), wanted one more; raise "
            "`ulimit -n`, `chaosbandit doctor` says how many a run needs"
        )
    elif os.environ.get("CHAOSBANDIT_DEBUG"):
        raise error
    else:
        code = Exit.INTERNAL
        why = (
            f"internal error: {type(error).__name__}: {error}\n"
            "This is a bug in chaosbandit. CHAOSBANDIT_DEBUG=1 shows where; `chaosbandit clean` "
            "removes any fault that may be left."
        )
    _say(f"chaosbandit: {why}\n")
    _drop_unwritten()
    sys.exit(code)


def _drop_unwritten() -> None:
    """What cannot be written is not tried again when the interpreter ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say(text: str) -> None:
    """On stderr; a terminal that is gone takes neither the text nor the exit code with it."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        _drop_unwritten()


def _have_streams() -> None:
    """A stream that was closed for us (`2>&-`) is no reason to fail."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  for as long as we live
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123


if __name__ == "__main__":
    main()
