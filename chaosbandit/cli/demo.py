"""`demo`: the sample storefront, a real proxy and a real search in under a minute."""

from __future__ import annotations

from typing import Annotated

import typer

from chaosbandit.cli.running import AsJson, JournalFolder, Quiet, Seed, Toxiproxy, Yes


def demo(
    prove: Annotated[
        bool,
        typer.Option(
            "--prove", help="Then measure both ends of the bracket with long fixed-latency samples."
        ),
    ] = False,
    prove_samples: Annotated[
        int, typer.Option(metavar="N", help="Requests per end for --prove.", min=50, max=20_000)
    ] = 1500,
    crash: Annotated[
        bool,
        typer.Option(
            "--crash", help="Kill the engine in mid-fault and time how soon users are well again."
        ),
    ] = False,
    as_json: AsJson = False,
    seed: Seed = None,
    toxiproxy: Toxiproxy = None,
    journal: JournalFolder = None,
    yes: Yes = False,
    quiet: Quiet = False,
) -> None:
    """Find the breaking point of a sample storefront whose inventory service gets slow.

    Starts the storefront (a control and a canary instance), its inventory and a Toxiproxy as
    separate processes on free loopback ports, and stops them all at the end.
    """
    from chaosbandit.cli import stage
    from chaosbandit.cli.wiring import RunOptions

    options = RunOptions(
        as_json=as_json, seed=seed, toxiproxy=None, journal=journal, yes=yes, quiet=quiet
    )
    server = None if toxiproxy in (None, "embedded") else toxiproxy
    if crash:
        code = stage.crash(options, server)
    else:
        code = stage.perform(options, server, prove_samples if prove else 0)
    raise typer.Exit(code)
