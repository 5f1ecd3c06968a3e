"""The embedded server as a process: `python -m chaosbandit.toxiproxy.server`.

Ends cleanly on SIGINT, SIGTERM or, if asked to, with the process that started it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Sequence

from chaosbandit.errors import ToxiproxyError
from chaosbandit.toxiproxy.server.http import DEFAULT_HOST, DEFAULT_PORT, serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server as a command; returns its exit code."""
    options = _parser().parse_args(arguments)
    if options.exit_with_stdin:
        threading.Thread(target=_stop_at_end_of_stdin, daemon=True).start()
    try:
        asyncio.run(serve(options.host, options.port, seed=options.seed, ready=_say_ready))
    except ToxiproxyError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return int(error.exit_code)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chaosbandit-toxiproxy", description="A Toxiproxy-compatible server."
    )
    parser.add_argument("--host", default=DEFAULT_HOST, help="address of the API (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="port of the API, 0 for any (%(default)s)"
    )
    parser.add_argument("--seed", type=int, help="makes all draws of toxics reproducible")
    parser.add_argument(
        "--exit-with-stdin", action="store_true", help="end when standard input ends"
    )
    return parser


def _say_ready(host: str, port: int) -> None:
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    print(f"toxiproxy listening on http://{place}", flush=True)  # noqa: T201


def _stop_at_end_of_stdin() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
