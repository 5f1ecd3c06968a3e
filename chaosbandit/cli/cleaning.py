"""`clean`: removes what runs left behind, from any process, with or without their ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def clean(
    toxiproxy: Annotated[
        list[str] | None,
        typer.Option(
            "--toxiproxy",
            metavar="URL",
            help="A Toxiproxy API to look at besides the ledger's; may be given more than once.",
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Only this run's faults, even if the run is alive."),
    ] = None,
    expired: Annotated[
        bool,
        typer.Option(
            "--expired", help="Only faults past the expiry in their names, whoever made them."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    ledger: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Another fault ledger than the user's.")
    ] = None,
) -> None:
    """Remove the faults that dead runs left behind.

    Puts the proxies back that they replaced. Looks at the fault ledger, at the servers it names and
    at those of --toxiproxy; what is not ours is not touched. Exit 7 when something may still be
    left; the lines then say what to do by hand.
    """
    import time

    from chaosbandit.cli.interrupts import unwind_from_now_on
    from chaosbandit.cli.output import show
    from chaosbandit.cli.targets import server_url
    from chaosbandit.errors import Exit
    from chaosbandit.safety.clean import clean as clean_faults
    from chaosbandit.safety.ledger import FaultLedger

    servers = tuple(map(server_url, toxiproxy or ()))
    unwind_from_now_on()  # what is being undone is undone to its end
    report = clean_faults(
        FaultLedger(ledger),
        servers,
        run=run,
        expired=expired,
        dry_run=dry_run,
        now_epoch_s=time.time(),
    )
    show(report.text() + "\n")
    if not report.confirmed:
        raise typer.Exit(Exit.NOT_CLEAN)
