"""`clean`: removes what runs left behind, from any process, with or without their ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def clean(
    toxiproxy: Annotated[
        list[str] | None,
        typer.Option("--toxiproxy", metavar="URL", help="Servers to look at besides the ledger's."),
    ] = None,
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Only this run's faults, even if it lives.")
    ] = None,
    expired: Annotated[
        bool, typer.Option("--expired", help="Only faults whose lease is over.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    ledger: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Another fault ledger than the user's.")
    ] = None,
) -> None:
    """Remove leftover faults, restore the operator's proxies and verify both.

    Looks at the fault ledger and at the servers' own proxy names; touches nothing that is not ours.
    """
    import time

    from chaosbandit.errors import Exit
    from chaosbandit.safety.clean import clean as clean_faults
    from chaosbandit.safety.ledger import FaultLedger

    report = clean_faults(
        FaultLedger(ledger),
        tuple(toxiproxy or ()),
        run=run,
        expired=expired,
        dry_run=dry_run,
        now_epoch_s=time.time(),
    )
    typer.echo(report.text())
    if not report.confirmed:
        raise typer.Exit(Exit.NOT_CLEAN)
