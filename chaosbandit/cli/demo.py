"""`demo`: the sample storefront, a real proxy and a real search in under a minute."""

from __future__ import annotations

from typing import Annotated

import typer

from chaosbandit.cli.run import AsJson, JournalFolder, Quiet, Seed, Toxiproxy, Yes


def demo(
    prove: Annotated[
        bool,
        typer.Option(
            "--prove",
            help="Then measure both ends of the answer anew, on stderr, at fixed latencies.",
        ),
    ] = False,
    prove_samples: Annotated[
        int,
        typer.Option(metavar="N", help="Requests for each end with --prove.", min=50, max=20_000),
    ] = 1500,
    crash: Annotated[
        bool,
        typer.Option(
            "--crash",
            help="Instead kill a run in mid-fault, and time how soon users are well again.",
        ),
    ] = False,
    as_json: AsJson = False,
    seed: Seed = None,
    toxiproxy: Toxiproxy = None,
    journal: JournalFolder = None,
    yes: Yes = False,
    quiet: Quiet = False,
) -> None:
    """Try it: find the breaking point of a sample storefront.

    How slow may its inventory service get before the storefront misses its SLOs?
    Starts the storefront (a control and a canary instance), its inventory and a Toxiproxy as
    separate processes on free loopback ports, and stops them all at the end.
    """
    import os

    from chaosbandit.cli.output import telling
    from chaosbandit.cli.state_folder import need_home
    from chaosbandit.cli.target_permission import host_of, refuse_unmeant, server_named
    from chaosbandit.core.scenario import EMBEDDED
    from chaosbandit.errors import UsageError

    with telling(as_json):
        need_home()
        if crash and prove:
            raise UsageError("found --crash and --prove, wanted one of them; run demo twice")
        from chaosbandit.scenario.project_rules import rules_for

        server = None if toxiproxy == EMBEDDED else server_named(toxiproxy)
        rules = rules_for(None, os.environ)
        if server is not None:
            refuse_unmeant([host_of(server)], yes, rules)
        from chaosbandit.cli import demo_crash, demo_proof
        from chaosbandit.cli.wiring import RunOptions

        options = RunOptions(
            as_json=as_json, seed=seed, journal=journal, yes=yes, quiet=quiet, rules=rules
        )
        if crash:
            code = demo_crash.crash(options, server)
        else:
            code = demo_proof.perform(options, server, prove_samples if prove else 0)
    raise typer.Exit(code)
